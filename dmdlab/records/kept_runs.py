"""Runs without their arrays in one file, small enough to be kept in a repository and read back as records.

`shared` settings, `environment`, and for each run what differs. Numbers are kept to the last digit, so that a page or
figure comes out the same from such a file as from the runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmdlab.config import without_places
from dmdlab.records.kept_json import read_json
from dmdlab.records.record import Record

PLACE = ("hardware", "device", "commit")
"""Of an environment, what a page tells."""


def runs_text(records: Sequence[Record], summary: Callable[[Record], dict[str, Any]], **head: Any) -> str:
    """The file of these runs. summary: what is kept of one's summary; head: what else the file says, first."""
    configs = [without_places(record.config) for record in records]  # where somebody's files lay is nobody else's
    places = [{k: record.environment.get(k) for k in PLACE} for record in records]
    shared, place = alike(configs), alike(places)
    runs = [
        {
            "config": {k: v for k, v in config.items() if k not in shared},
            "environment": {k: v for k, v in own.items() if k not in place}
            | {"seconds": record.environment.get("seconds")},
            "summary": summary(record),
        }
        for record, config, own in zip(records, configs, places, strict=True)
    ]
    begin = json.dumps({**head, "shared": shared, "environment": place}, indent=1)
    return begin[:-2] + ',\n "runs": [\n' + ",\n".join(json.dumps(run) for run in runs) + "\n]\n}\n"


def read_runs(path: Path) -> tuple[dict[str, Any], list[Record]]:
    """What else the file says, and its runs in their order; they have no arrays, curves or calibrations.

    Raises ValueError, KeyError, TypeError or RecursionError for a file of another kind.
    """
    held = read_json(path)
    shared, place, runs = (held.pop(key) for key in ("shared", "environment", "runs"))
    return held, [Record(path, r["summary"], shared | r["config"], place | r["environment"]) for r in runs]


def alike(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all rows have, and have the same."""
    return {k: v for k, v in rows[0].items() if all(k in row and row[k] == v for row in rows)} if rows else {}


def identity(record: Record) -> dict[str, Any]:
    """Which run it is and how it ended."""
    return {key: record.summary[key] for key in ("id", "status", "failed_at", "result_version")}


def measures_of(found: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Values, and the reasons of those that are bounds or missing."""
    held = {key: own for key in keys if (own := found.get(key))}
    return {
        key: {"value": own.get("value")} | ({"reason": own["reason"]} if own.get("reason") else {})
        for key, own in held.items()
    }
