"""What the answers rest on: of every run what their page and figure need (`dmdlab.records.kept_runs`), one file an
experiment, `answers-<name>.json`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmdlab.pairing.calibration import remap_angle
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.records.kept_runs import identity, measures_of, read_runs, runs_text
from dmdlab.records.record import Record

MEASURES = ("delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "remap_angle", "local_cosine", "local_gain")
MEASURES = (*MEASURES, *LAW_KEYS)


def kept(records: Sequence[Record]) -> str:
    """The file of these runs."""
    return runs_text(records, _summary)


def read(path: Path) -> list[Record]:
    """The runs of a file, in its order; they have no arrays, curves or calibrations."""
    return read_runs(path)[1]


def _summary(record: Record) -> dict[str, Any]:
    summary, own = record.summary, record.summary.get("own", {})
    return {
        **identity(record),
        "teacher": {key: summary["teacher"].get(key) for key in ("ok", "transport_ratio")},
        "metrics": measures_of(summary.get("metrics", {}), MEASURES),
        "law": summary.get("law", {}),
        "student": summary.get("student", {}),
        "own": measures_of(own, tuple(own)),
        "begun": summary["begun"] if "begun" in summary else _begun(record),
    }


def _begun(record: Record) -> dict[str, float | None]:
    """What a start has of its teacher's pairing and law before distillation, nearly: after its first update; and the
    lowest variance ratio of all checkpoints, on the way from there."""
    curve, calibration = record.curve(), record.calibration()
    first = {key: float(curve[key][0]) for key in ("pair_cosine", "variance_ratio")}
    angle = remap_angle(calibration, first["pair_cosine"]).value if calibration else None
    return {**first, "angle": angle, "lowest_variance_ratio": float(curve["variance_ratio"].min())}
