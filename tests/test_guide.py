"""The guide to measuring: its code runs as printed and gives what the lab gives; its numbers are the theory's."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmdlab.config import NoiseConfig
from dmdlab.diffusion import flow, karras_grid
from dmdlab.laws import make_law
from dmdlab.pairing.files import read_calibration
from dmdlab.pairing.resolution import resolvable

Command = Callable[..., tuple[int, str, str]]
GUIDE = (Path(__file__).parents[1] / "docs" / "measuring.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.S)


def test_the_sampling_code_of_the_guide_gives_the_pairs_of_the_lab(dmdlab: Command, tmp_path: Path) -> None:
    """Its `phi` is our flow, its noise does not depend on the batch, and its file is what `measure` reads."""
    law, small = make_law({"name": "mixture", "dim": 6, "components": 4}), {"labels": None, "np": np, "torch": torch}
    small["net"] = lambda x, sigma, _: law.denoise(x.flatten(1), sigma.item()).view_as(x)
    small["student"] = lambda x: small["net"](x, torch.tensor(80.0), None)  # type: ignore[operator]
    functions, script = (
        block.replace('"cuda"', '"cpu"').replace("1000, (3, 64, 64)", "40, (1, 2, 3)") for block in BLOCKS[:2]
    )
    exec(functions, small)
    exec(script.replace('"pairs.npz"', "path"), small | {"path": tmp_path / "pairs.npz"})
    code, out, _ = dmdlab("measure", tmp_path / "pairs.npz", "--json")
    assert code == 0
    assert json.loads(out)["metrics"]["fidelity"]["value"] is not None
    z = small["noise"](range(40), (1, 2, 3))  # type: ignore[operator]
    torch.testing.assert_close(z[3:5], small["noise"]([3, 4], (1, 2, 3)))  # type: ignore[operator]
    with np.load(tmp_path / "pairs.npz") as saved:
        ours = flow(law.denoise, z.flatten(1), karras_grid(32, NoiseConfig())).numpy()
        np.testing.assert_allclose(saved["teacher"].reshape(40, 6), ours, atol=1e-4)


def test_the_library_code_of_the_guide_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    teacher, other, reference = np.random.default_rng(0).normal(size=(3, 60, 2, 4)).astype(np.float32)
    arrays = {"teacher": teacher, "student": 0.9 * teacher + 0.4 * other, "reference": reference}
    library, calibration, more = (block for block in BLOCKS if "from dmdlab.pairing import" in block)
    exec(library, {key: torch.from_numpy(array) for key, array in arrays.items()})
    assert "60 pairs in 8 dimensions" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    smaller = calibration.replace("(256, 512)", "(40, 80)")
    exec(smaller, {"shape": (2, 4), "sigma_max": 80.0, "teacher_map": lambda x: np.tanh(x / 80)})
    assert read_calibration(tmp_path / "calibration.npz").d == 8
    maps = {"teacher_map": lambda x: np.tanh(x / 80), "student_map": lambda x: np.tanh(x[:, ::-1] / 80)}
    names: dict[str, Any] = {"shape": (2, 4), "sigma_max": 80.0} | maps
    exec(more, names)
    values = names["report"].values()
    assert values["rotation_explained"] > 0.9  # a turn
    assert abs(values["local_cosine"]) < 0.2
    assert abs(values["local_gain"] - 1) < 0.2
    assert values["pair_cosine_gaussian"] > 0.9
    assert names["exactly_turned"].shape == (2, 2)


def test_the_thresholds_of_the_guide_are_those_of_the_theory() -> None:
    rows = re.findall(r"^\| ([\d ]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", GUIDE, re.M)
    assert len(rows) == 5
    for n, d, *told in rows:
        found = resolvable(int(n.replace(" ", "")), int(d))
        expected = (found.almost_all, found.every, found.chance)
        assert [float(x) for x in told] == pytest.approx(expected, rel=0.02)
