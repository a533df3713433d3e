"""The torch engine of the certified solver computes what the numpy one does, on every device at hand."""

import numpy as np
import pytest
import torch

from dmdlab.pairing import assignment
from dmdlab.transport import on_gpu as transport
from dmdlab.transport.certified import certified_interval
from dmdlab.transport.engine import NUMPY
from dmdlab.transport.on_gpu import torch_engine

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, GPU])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device, with blocks so small that the clouds below need several."""
    monkeypatch.setattr(transport, "BLOCK_NUMBERS", {"cpu": 2000, "cuda": 2000})
    return torch.device(request.param)


def clouds(n: int, m: int, d: int, dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + m)
    return (
        rng.standard_normal((n, d)).astype(dtype),
        rng.standard_normal((m, d)).astype(dtype),
        rng.standard_normal(m).astype(dtype),
    )


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (70, 90, 3), (129, 64, 17)])
def test_the_soft_minimum_is_numpys(n: int, m: int, d: int, device: torch.device) -> None:
    rows, columns, v = clouds(n, m, d, np.float32)
    found = torch_engine(device).soft(rows, columns, v, 0.3)
    np.testing.assert_allclose(found, NUMPY.soft(rows, columns, v, 0.3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n", "m", "d", "k"), [(70, 90, 3, 12), (129, 65, 17, 5), (5, 3, 2, 3)])
def test_the_nearest_columns_hold_the_nearest(n: int, m: int, d: int, k: int, device: torch.device) -> None:
    rows, columns, v = clouds(n, m, d, np.float64)
    smallest, chosen = torch_engine(device).nearest(rows, columns, v, k)
    reduced = ((rows[:, None] - columns) ** 2).sum(-1) - v
    np.testing.assert_allclose(smallest, reduced.min(axis=1), atol=1e-10)
    assert chosen.shape == (n, k)
    assert all(len(set(row)) == k for row in chosen.tolist())
    np.testing.assert_array_equal(chosen[:, 0], reduced.argmin(axis=1))


def test_its_interval_holds_the_exact_cost(device: torch.device) -> None:
    P, G, _ = clouds(300, 300, 4, np.float64)
    exact = assignment(P, G).cost
    found = certified_interval(P, G, relative_gap=1e-3, engine=torch_engine(device))
    assert found.lower <= exact * (1 + 1e-12)
    assert exact <= found.upper * (1 + 1e-12)
    assert found.gap <= 1e-3
