"""What the page rests on: a summary of every run, kept as JSON and read back as records, without arrays.

One file an experiment, <name>.json (`dmdlab.records.kept_runs`), which says how it was made, too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing import pair_cosine_of
from dmdlab.pairing.analysis import boundary, memorised
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.pairing.statistics import pearson
from dmdlab.paper.catalogue import CLAIMED
from dmdlab.records.further import further
from dmdlab.records.kept_runs import identity, measures_of, read_runs, runs_text
from dmdlab.records.record import Record
from dmdlab.records.writing import prepare, write_text

MEASURES = ("delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "remap_angle", "local_cosine", *LAW_KEYS)

HALF = 45.0
"""Degrees of the planted turn that is half-way between a copy (0) and no memory of the pairing (90)."""

SECTION = "paper"
"""Of a kept summary: `derived`."""


@dataclass(frozen=True)
class Kept:
    """The runs of each experiment that was made, by its name, and the commands that made them."""

    runs: dict[str, list[Record]]
    commands: dict[str, str]

    @property
    def all(self) -> list[Record]:
        """Every run once."""
        return list({str(r.summary["id"]): r for own in self.runs.values() for r in own}.values())


def keep(found: Mapping[str, Sequence[Record]], folder: Path, command: str) -> None:
    """Write a file for each of these experiments, in place of the one that is there."""
    prepare(folder)
    for name, records in found.items():
        write_text(folder / f"{name}.json", kept_text(records, command))


def read_kept(folder: Path) -> Kept:
    """What a folder keeps, in the order of our experiments. Raises `InputError` for a file that is none of ours."""
    runs, commands = dict[str, list[Record]](), dict[str, str]()
    for path in [folder / f"{name}.json" for name in CLAIMED]:
        if not path.is_file():
            continue
        try:
            head, runs[path.stem] = read_runs(path)
            commands[path.stem] = head["command"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: no kept summaries ({error}); `dmdlab reproduce all` writes them") from None
    return Kept(runs, commands)


def kept_text(records: Sequence[Record], command: str) -> str:
    """The file of these runs."""
    return runs_text(records, _summary, command=command)


def _summary(record: Record) -> dict[str, Any]:
    summary = record.summary
    within = summary.get("within_classes", {}).get("means", {})
    return {
        **identity(record),
        "teacher": {key: summary["teacher"].get(key) for key in ("ok", "excess_risk", "transport_ratio")},
        "metrics": measures_of(summary.get("metrics", {}), MEASURES),
        "law": summary.get("law", {}),
        "within_classes": {"means": {k: v for k, v in within.items() if k in ("pair_cosine", "copy_index")}},
        "student": {"transport_ratio": summary.get("student", {}).get("transport_ratio")},
        SECTION: summary[SECTION] if SECTION in summary else derived(record),
    }


def derived(record: Record) -> dict[str, float | None]:
    """What the claims need beside a run's own measures, from its arrays and its curve; None where it has no answer.

    boundary: correlation of delta(z) = abs(G - Phi_K) - abs(Phi_1 - Phi_K) with the mean distance of Phi_K(z) to the
    training set, boundary_copy: that of a student that is the teacher, boundary_error: that of abs(G - Phi_K) alone.
    memorised, memorised_data: shares of the teacher's outputs, and of fresh data, that are memorised.
    pair_cosine_32, pair_cosine_k: with Phi_32 and with Phi_K, of the first rows, those that have it.
    local_cosine_half, pair_cosine_half: what the teacher itself reads after a turn by `HALF` degrees. loss_first,
    loss_peak, loss_last: of the DM loss's curve.
    """
    if not record.done:
        return {}
    pairs, more, found = record.pairs(), further(record), dict[str, float]()
    for key, name in (("memorised", "training"), ("memorised_data", "training_of_data")):
        if name in more:
            found[key] = memorised(more[name], pairs.d).share
    if "training" in more:
        own = boundary(pairs, distance=more["training"][:, 2])
        found |= {"boundary": own.pearson.value, "boundary_copy": pearson(own.distance, -own.start).value}
        found["boundary_error"] = pearson(own.distance, own.student).value
    if "phi_32" in more:
        rows = slice(len(more["phi_32"]))
        for key, teacher in (("pair_cosine_32", more["phi_32"]), ("pair_cosine_k", pairs.teacher[rows])):
            found[key] = pair_cosine_of(teacher, pairs.student[rows]).value
    if (planted := record.calibration()) is not None:
        found |= {f"{key}_half": planted.at(key, HALF) for key in ("local_cosine", "pair_cosine")}
    loss = record.curve()["dm_loss"]
    found |= {"loss_first": loss[0], "loss_peak": np.max(loss), "loss_last": loss[-1]}
    return {key: float(v) if math.isfinite(v) else None for key, v in found.items()}
