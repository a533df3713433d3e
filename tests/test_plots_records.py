"""Synthetic runs for the plots' tests, and the laws of grouping them.

The runs are made up: their shapes follow what copying looks like (rising with d from a teacher start, near 0 from a
rotated one), their numbers are nobody's result.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from dmdlab.config import InputError
from dmdlab.plots.records import cells, failed, finished, number

STRENGTH = {2: 0.35, 4: 0.5, 8: 0.7, 16: 0.78, 32: 0.85, 64: 0.87, 128: 0.88, 256: 0.9, 512: 0.91}
CEILING = {2: 120.0, 4: 25.0, 8: 6.1, 16: 5.5, 32: 6.5, 64: 5.8, 128: 5.2, 256: 4.0, 512: 3.1}


@dataclass
class FakeRecord:
    """A run that was never made."""

    row: dict[str, Any]
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    log: dict[str, np.ndarray] = field(default_factory=dict)

    def arrays(self) -> dict[str, np.ndarray]:
        return self.outputs

    def curve(self) -> dict[str, np.ndarray]:
        return self.log


def fake_record(law: str = "mixture", dim: int = 8, init: str = "teacher", seed: int = 0, **row: Any) -> FakeRecord:
    """One finished run; `row` overrides columns, with '__' for the dot of a configuration key."""
    rng = np.random.default_rng([dim, seed, len(init), len(law)])
    spread = 0.35 / np.sqrt(dim)
    strength = STRENGTH[dim] if init == "teacher" else -0.04
    copy_index = strength + spread * rng.standard_normal()
    ceiling = CEILING[dim] * np.exp(0.08 * rng.standard_normal())
    columns: dict[str, Any] = {
        "id": f"{law[:3]}{dim:03d}{init[:2]}{seed:02d}",
        "status": "done",
        "failed_at": None,
        "law.name": law,
        "law.dim": dim,
        "student.init": init,
        "seed": seed,
        "noise.sigma_max": 80.0,
        "teacher.kind": "exact",
        "teacher.steps": 32,
        "measure.samples": 1000,
        "student.learning_rate": 5e-4,
        "delta_e": max(0.0, ceiling * (1.0 - copy_index)),
        "delta_e_ceiling": ceiling,
        "copy_index": copy_index,
        "pair_cosine": float(np.tanh(1.4 * strength) + 0.5 * spread * rng.standard_normal()),
        "pair_auc": 0.5 + 0.5 * strength**1.3 if strength > 0 else 0.48 + 0.1 * spread * rng.standard_normal(),
        "fidelity": (2.4 if dim == 2 else 1.15) + 0.05 * rng.standard_normal(),
        "variance_ratio": 0.97,
        "teacher_ok": True,
        "device": "cpu",
        "hardware": "Example CPU, 2 threads",
        "commit": "0123456789ab",
    }
    columns.update({key.replace("__", "."): value for key, value in row.items()})
    return FakeRecord(columns, _arrays(dim, init, seed), _curve(dim, init, seed))


def fake_sweep(
    dims: Iterable[int] = (2, 8, 32, 128),
    inits: Iterable[str] = ("teacher", "rotated"),
    seeds: int = 4,
    law: str = "mixture",
) -> list[FakeRecord]:
    """Every combination, finished."""
    return [fake_record(law, d, init, seed) for d in dims for init in inits for seed in range(seeds)]


def _chessboard(z: np.ndarray) -> np.ndarray:
    """A map of unit noise (n, 2) onto a 4x4 chessboard of side 4, continuous inside each square."""
    u = 1 / (1 + np.exp(-1.702 * z))  # (n, 2), nearly uniform
    x = 4 * u[:, 0]
    y = 2 * u[:, 1]
    return np.stack([x, 2 * np.floor(y) + y % 1 + np.floor(x) % 2], axis=1) - 2.0


def _arrays(dim: int, init: str, seed: int, n: int = 600) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, dim])
    noise = 80.0 * rng.standard_normal((n, dim))
    flat = noise[:, :2] / 80 if dim > 1 else np.repeat(noise / 80, 2, axis=1)
    angle = {"teacher": 0.35, "rotated": 1.9, "random": -2.4}[init]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outputs = {"teacher": _chessboard(flat), "student": _chessboard(flat @ turn), "one_step": 0.02 * flat}
    fresh = rng.standard_normal((2, n, 2))
    outputs |= {"reference": _chessboard(fresh[0]), "data": _chessboard(fresh[1])}
    padded = {name: np.pad(x, ((0, 0), (0, max(0, dim - 2))))[:, :dim] for name, x in outputs.items()}
    return {"noise": noise, **padded}


def _curve(dim: int, init: str, seed: int, points: int = 24) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, dim, 7])
    iteration = np.unique(np.geomspace(1, 10_000, points).round())
    rise = 1 / (1 + (iteration / 120) ** -1.5)
    loss = 2e-3 + (1 + 0.1 * np.log2(dim)) * iteration / 150 / (1 + (iteration / 250) ** 2.1)
    end = {"teacher": STRENGTH[dim], "rotated": -0.03, "random": 0.02}[init]
    wobble = np.exp(0.18 * rng.standard_normal((3, len(iteration))))
    return {
        "iteration": iteration,
        "dm_loss": loss * wobble[0],
        "score_loss": (0.3 + 2 * (1 - rise)) * wobble[1] ** 0.3,
        "gap": loss * wobble[2],
        "student_gradient_norm": loss,
        "score_gradient_norm": loss,
        "variance_ratio": 0.98 * rise * wobble[2] ** 0.2,
        "pair_cosine": (0.9 + (end - 0.9) * rise if init == "teacher" else end * rise)
        + 0.03 * rng.standard_normal(len(iteration)),
    }


def test_failed_runs_are_set_apart_and_no_run_counts_twice() -> None:
    done, again = fake_record(seed=0), fake_record(seed=0)
    broken = fake_record(seed=1, status="failed", failed_at=40)
    assert finished([done, again, broken]) == [again]
    assert failed([done, broken, broken]) == 1


def test_nothing_finished_is_an_error() -> None:
    with pytest.raises(InputError, match="none of the 1 runs given is finished"):
        finished([fake_record(status="failed")])


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_value_that_is_not_there_is_nan(value: float | None) -> None:
    assert np.isnan(number(fake_record(copy_index=value), "copy_index"))


def test_cells_hold_the_seeds_of_one_setting_in_order() -> None:
    groups = cells(list(reversed(fake_sweep(dims=(8, 2), seeds=3))))
    assert [(c.dim, c.init) for c in groups] == [(2, "teacher"), (2, "rotated"), (8, "teacher"), (8, "rotated")]
    assert all([r.row["seed"] for r in c.records] == [0, 1, 2] for c in groups)


def test_an_interval_counts_what_is_missing() -> None:
    (cell,) = cells([fake_record(seed=0, copy_index=0.2), fake_record(seed=1, copy_index=0.4),
                     fake_record(seed=2, copy_index=None)])  # fmt: skip
    interval = cell.interval("copy_index")
    assert (interval.mean, interval.n, interval.missing) == (pytest.approx(0.3), 2, 1)


def test_different_experiments_are_never_averaged() -> None:
    mixed = [fake_record(seed=0), fake_record(seed=1, noise__sigma_max=5.0)]
    with pytest.raises(InputError, match=r"differ in noise\.sigma_max \(5\.0, 80\.0\).*noise\.sigma_max=VALUE"):
        cells(mixed)
