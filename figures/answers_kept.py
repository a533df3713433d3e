"""What the answers rest on: a summary of every run, kept in the repository and read back as records.

One file an experiment, `answers-<name>.json`: `shared` settings, `environment`, and for each run what differs. Numbers
are kept to the last digit, so that page and figure come out the same from these files as from the runs.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmdlab.config import without_places
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.records.record import Record

MEASURES = ("delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "remap_angle", "local_cosine", "local_gain")
MEASURES = (*MEASURES, *LAW_KEYS)


def kept(records: Sequence[Record]) -> str:
    """The file of these runs."""
    configs = [
        without_places(record.config) for record in records
    ]  # where somebody's files lay is nobody else's matter
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
    head = json.dumps({"shared": shared, "environment": place}, indent=1)
    return head[:-2] + ',\n "runs": [\n' + ",\n".join(json.dumps(run) for run in runs) + "\n]\n}\n"


def read(path: Path) -> list[Record]:
    """The runs of a file, in its order; they have no arrays, curves or calibrations."""
    held = json.loads(path.read_text(encoding="utf-8"))
    return [
        Record(path, run["summary"], held["shared"] | run["config"], held["environment"] | run["environment"])
        for run in held["runs"]
    ]


def alike(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all rows have, and have the same."""
    return {k: v for k, v in rows[0].items() if all(k in row and row[k] == v for row in rows)} if rows else {}


def _summary(record: Record) -> dict[str, Any]:
    held, summary = ("id", "status", "failed_at", "result_version"), record.summary
    return {
        **{key: summary[key] for key in held},
        "teacher": {"ok": summary["teacher"]["ok"]},
        "metrics": _measures({key: summary.get("metrics", {}).get(key) for key in MEASURES}),
        "law": summary.get("law", {}),
        "student": summary.get("student", {}),
        "own": _measures(summary.get("own", {})),
    }


def _measures(found: Mapping[str, Any]) -> dict[str, Any]:
    """Values, and the reasons of those that are bounds or missing."""
    held = {key: {k: own.get(k) for k in ("value", "reason")} for key, own in found.items() if own}
    return {key: {k: v for k, v in own.items() if k == "value" or v} for key, own in held.items()}
