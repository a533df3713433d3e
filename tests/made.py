"""Runs that were never made, for the tests of what reads runs: in memory, and as folders of both formats.

Their numbers follow what copying looks like (high from a teacher start, near 0 from a rotated one), and are nobody's
result.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dmdlab.config import experiment_from, flatten
from dmdlab.pairing import METRICS
from dmdlab.records.record import ARRAYS, SHARED, Record, folder_name

PLACE = {"seconds": 1.0, "device": "cpu", "hardware": "Example CPU, 2 threads", "commit": "0123456789ab"}


class Made(Record):
    """A run in memory, with its arrays and its curve."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Each (40, d) float32; the one-step outputs are small, as those from much noise are."""
        seed, shape = [self.config["law.dim"], self.config["seed"]], (len(ARRAYS), 40, self.config["law.dim"])
        arrays = dict(zip(ARRAYS, np.random.default_rng(seed).normal(size=shape).astype(np.float32), strict=True))
        return arrays | {"one_step": 0.01 * arrays["one_step"]}

    def student(self) -> np.ndarray:
        """(40, d) float32, of these arrays."""
        return self.arrays()["student"]

    def curve(self) -> dict[str, np.ndarray]:
        steps = np.array([1.0, 10.0, 100.0])
        shown = ("dm_loss", "score_loss", "variance_ratio", "pair_cosine")
        curve = {"iteration": steps, **dict.fromkeys(shown, steps + self.config["seed"])}
        none = ("dm_loss", "score_loss") if self.config["fake_score.kind"] == "none" else ()
        return curve | dict.fromkeys(none, np.full(3, np.nan))


def made(
    law: str = "mixture", dim: int = 8, init: str = "teacher", seed: int = 0, status: str = "done", ok: bool = True,
    result_version: int = 2, reason: str | None = None, null: dict[str, tuple[float, float]] | None = None,
    **values: Any,
) -> Made:  # fmt: skip
    """One run; `values` are metrics, and settings with '__' for the dot; `reason` belongs to remap_angle; `null`:
    where equal laws fall by its calibration, for some of the measures of the law."""
    settings = {"law.name": law, "law.dim": dim, "student.init": init, "seed": seed}
    settings |= {k.replace("__", "."): v for k, v in values.items() if "__" in k}
    config = flatten(experiment_from(settings))
    drawn = np.random.default_rng([dim, seed, len(init)]).standard_normal() / np.sqrt(dim)
    copied = (0.7 if init == "teacher" else 0.0) + 0.1 * drawn
    found = {"delta_e": 120.0 / dim * (1 - copied), "delta_e_ceiling": 120.0 / dim, "remap_angle": 90 * (1 - copied)}
    found |= {"copy_index": copied, "pair_cosine": copied, "pair_auc": 0.5 + 0.5 * copied, "fidelity": 1.1}
    found |= {"variance_ratio": 0.97, "debiased_cost": 0.001} | {k: v for k, v in values.items() if "__" not in k}
    summary = {
        "format": 2,
        "result_version": result_version,
        "id": f"{law[:3]}{dim:03d}{init[:2]}{seed:02d}v{result_version}",
        "status": status,
        "failed_at": None if status == "done" else 40,
        "teacher": {"ok": ok, "reasons": []},
        "metrics": {key: {"value": found.get(key)} for key in METRICS} if status == "done" else {},
        "student": {},
    }
    if status == "done" and null is not None:
        wide = {"fidelity": (0.5, 2.0), "debiased_cost": (-0.1, 0.1), "variance_ratio": (0.5, 2.0)} | null
        summary["law"] = {key: [*limits, "inside"] for key, limits in wide.items()} | {"limits": "calibration"}
    if status == "done" and reason:
        summary["metrics"]["remap_angle"]["reason"] = reason
    return Made(Path("nowhere"), summary, config, PLACE)


def write_run(out: Path, record: Made, layout: int = 2) -> Path:
    """A run's folder by hand, in the layout of format 1 or 2."""
    arrays = record.arrays()
    folder = out / "runs" / folder_name(experiment_from(record.config))
    folder.mkdir(parents=True)
    summary = record.summary | {"format": layout, "result_version": layout}
    if layout == 1:
        np.savez(folder / "pairs.npz", **arrays)
    else:
        summary["pairs"] = f"{record.config['law.name']}-s{record.config['seed']}.npz"
        (out / "pairs").mkdir(exist_ok=True)
        np.savez(out / "pairs" / summary["pairs"], **{name: arrays[name] for name in SHARED})
        if record.done:
            np.save(folder / "student.npy", arrays["student"])
    (folder / "curve.csv").write_text("iteration,dm_loss\n1,0.5\n10,0.25\n")
    for name, part in (("experiment", record.config), ("environment", record.environment), ("summary", summary)):
        (folder / f"{name}.json").write_text(json.dumps(part))
    return folder
