"""What the page rests on: a summary of every run, kept as JSON and read back as records, without arrays.

One file an experiment, <name>.json: how it was made, `shared` settings, `environment`, and for each run what differs.
Numbers are kept to the last digit, so that the page comes out the same from these files as from the runs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmdlab.config import InputError, without_places
from dmdlab.pairing import pair_cosine_of
from dmdlab.pairing.analysis import boundary, memorised
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.pairing.statistics import pearson
from dmdlab.paper.catalogue import CLAIMED
from dmdlab.records.further import further
from dmdlab.records.kept_json import read_json
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
            held = read_json(path)
            shared, place, commands[path.stem] = held["shared"], held["environment"], held["command"]
            runs[path.stem] = [
                Record(path, run["summary"], shared | run["config"], place | run["environment"]) for run in held["runs"]
            ]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: no kept summaries ({error}); `dmdlab reproduce all` writes them") from None
    return Kept(runs, commands)


def kept_text(records: Sequence[Record], command: str) -> str:
    """The file of these runs."""
    configs = [without_places(record.config) for record in records]  # where somebody's files lay is nobody else's
    places = [{k: record.environment.get(k) for k in ("hardware", "device", "commit")} for record in records]
    shared, place = alike(configs), alike(places)
    runs = [
        {
            "config": {k: v for k, v in config.items() if k not in shared},
            "environment": {k: v for k, v in own.items() if k not in place}
            | {"seconds": record.environment.get("seconds")},
            "summary": _summary(record),
        }
        for record, config, own in zip(records, configs, places, strict=True)
    ]
    head = json.dumps({"command": command, "shared": shared, "environment": place}, indent=1)
    return head[:-2] + ',\n "runs": [\n' + ",\n".join(json.dumps(run) for run in runs) + "\n]\n}\n"


def alike(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all rows have, and have the same."""
    return {k: v for k, v in rows[0].items() if all(k in row and row[k] == v for row in rows)} if rows else {}


def _summary(record: Record) -> dict[str, Any]:
    held, summary = ("id", "status", "failed_at", "result_version"), record.summary
    found = {key: summary.get("metrics", {}).get(key) for key in MEASURES}
    within = summary.get("within_classes", {}).get("means", {})
    return {
        **{key: summary[key] for key in held},
        "teacher": {key: summary["teacher"].get(key) for key in ("ok", "excess_risk", "transport_ratio")},
        "metrics": {
            k: {f: own[f] for f in ("value", "reason") if own.get(f) is not None} for k, own in found.items() if own
        },
        "law": summary.get("law", {}),
        "within_classes": {"means": {k: v for k, v in within.items() if k in ("pair_cosine", "copy_index")}},
        "student": {"transport_ratio": summary.get("student", {}).get("transport_ratio")},
        SECTION: summary[SECTION] if SECTION in summary else derived(record),
    }


def _value(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The value, and the reason of one that is a bound or missing."""
    return {"value": measured.get("value")} | ({"reason": measured["reason"]} if measured.get("reason") else {})


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
