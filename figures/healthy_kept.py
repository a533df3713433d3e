"""What docs/healthy-runs.md rests on: the curve of every run, kept in the repository with four digits, as one csv.

`healthy.csv` has a row for each checkpoint of each run: experiment, kind, seed, broke, the columns that a diagnosis
knows, and for the figure gap, the networks' gradient norms and the calibrated angle. `stability.csv` has a row for each
run of the map, with the evidence of its curve. How they were made is in `healthy.json`.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmdlab.diagnosis import COLUMNS, Curve, evidence, of_record
from dmdlab.pairing import remap_angle
from dmdlab.records.record import Record

SHOWN = ("gap", "student_gradient_norm", "score_gradient_norm", "angle")
HEAD = ("experiment", "kind", "seed", "broke")

KINDS = {
    "healthy": "healthy",
    "learning-rate": "rate too high",
    "lagging": "fake score lags",
    "few-updates": "too few updates",
    "collapsed": "collapsed",
    "mode-lost": "modes lost",
    "gan-weight": "GAN too heavy",
    "teacher-bad": "teacher bad",
}
"""What runs were made to be, and the short names in the figure; the names are those of verdicts."""

CUT = "cut-levels"
"""How the kinds of runs without high noise begin, which were expected to be collapsed or to lose modes."""

TUNED = ("mixture-8", "lost-8")
"""Experiments of whose runs bounds were read off seeds 0 to 2."""

MAP_KEYS = ("student.learning_rate", "fake_score.updates", "terms.gan.weight")


@dataclass(frozen=True, eq=False)
class Kept:
    """One run: the experiment's name, what it was made to be, its seed and its curve, `SHOWN` among the columns."""

    experiment: str
    kind: str
    seed: int
    curve: Curve

    @property
    def tuned_on(self) -> bool:
        """Whether bounds were read off it."""
        return self.experiment in TUNED and self.seed < 3


def kind_of(config: dict[str, Any]) -> str:
    """What a run of experiments/healthy was made to be, by the setting in which it differs from a healthy one."""
    cut = config["student.levels"][1] < 0.9
    differs = {
        "teacher-bad": config["teacher.kind"] == "network",
        "gan-weight": bool(config.get("terms.gan.weight")),
        "few-updates": config["fake_score.updates"] == 1,
        "lagging": config["fake_score.learning_rate"] < 1e-3,
        "learning-rate": config["student.learning_rate"] > 1e-3,
        "collapsed": config["student.learning_rate"] < 1e-5,
        "mode-lost": cut and config.get("law.components") == 8,
        f"{CUT} {config['student.levels'][1]:g}": cut,
    }
    return next((kind for kind, so in differs.items() if so), "healthy")


def kept(runs: Sequence[tuple[str, Record]]) -> str:
    """healthy.csv of these runs, each with its experiment's name."""
    columns = [name for name in COLUMNS if name != "iteration"]
    lines = [[*HEAD, "iteration", *columns, *SHOWN]]
    for name, record in runs:
        curve, own = of_record(record), record.curve()
        calibration = record.calibration() if record.done else None
        angles = [remap_angle(calibration, c).value if calibration else math.nan for c in own["pair_cosine"]]
        table = own | dict(curve.columns) | {"angle": np.array(angles)}
        about = [name, kind_of(record.config), str(record.config["seed"]), _short(curve.broke)]
        for i, iteration in enumerate(table["iteration"]):
            values = [_short(table[c][i]) if c in table else "" for c in (*columns, *SHOWN)]
            lines.append([*about, f"{iteration:g}", *values])
    return _csv(lines)


def read(text: str) -> list[Kept]:
    """The runs of healthy.csv, in its order."""
    rows = list(csv.DictReader(io.StringIO(text)))
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in HEAD), []).append(row)
    runs = []
    for (name, kind, seed, broke), own in found.items():
        table = {c: np.array([float(r[c] or "nan") for r in own]) for c in own[0] if c not in HEAD}
        table = {c: values for c, values in table.items() if np.isfinite(values).any()}
        runs.append(Kept(name, kind, int(seed), Curve(f"{name} {kind} {seed}", table, float(broke) if broke else None)))
    return runs


def kept_map(records: Sequence[Record]) -> str:
    """stability.csv of these runs."""
    found = [(record, of_record(record)) for record in records]
    at = [evidence(curve) for _, curve in found]
    names = sorted(set().union(*at))
    lines = [[*MAP_KEYS, "seed", "broke", *names, "remap_angle"]]
    for (record, curve), own in zip(found, at, strict=True):
        keys = [_short(float(record.config.get(key) or 0.0)) for key in MAP_KEYS]
        angle = record.row.get("remap_angle")
        values = [_short(own.get(name)) for name in names] + [_short(angle)]
        lines.append([*keys, str(record.config["seed"]), _short(curve.broke), *values])
    return _csv(lines)


def read_map(text: str) -> list[dict[str, float]]:
    """The rows of stability.csv; NaN for what is not there."""
    return [{k: float(v) if v else math.nan for k, v in row.items()} for row in csv.DictReader(io.StringIO(text))]


def provenance(found: dict[str, Sequence[Record]]) -> str:
    """healthy.json: how each experiment was made."""
    about = {}
    for name, records in found.items():
        about[name] = {
            "runs": len(records),
            "hardware": sorted({str(r.row["hardware"]) for r in records}),
            "commit": sorted({str(r.row["commit"]) for r in records}),
            "seeds": sorted({int(r.config["seed"]) for r in records}),
            "samples": sorted({int(r.config["measure.samples"]) for r in records}),
            "minutes": round(sum(float(r.row["seconds"] or 0) for r in records) / 60, 1),
        }
    return json.dumps(about, indent=1) + "\n"


def read_provenance(path: Path) -> dict[str, Any]:
    """What `provenance` wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _short(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _csv(lines: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
