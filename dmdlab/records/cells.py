"""Many records as few numbers: which keys vary, and each cell's mean and interval over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmdlab.lab.store import Record
from dmdlab.pairing import METRICS, Interval, mean_interval, paired_difference


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed only.

    keys: the varying keys' values; seeds: runs; failed: how many of them failed; flagged: how many teachers failed
    their check; metrics: each metric's interval over seeds; bounded: metrics with a value that is only a bound, as
    ">= 90" of remap_angle, so that their mean is one, too.
    """

    keys: dict[str, Any]
    seeds: int
    failed: int
    flagged: int
    metrics: dict[str, Interval]
    bounded: frozenset[str] = frozenset()


def varying(records: Sequence[Record], also: Sequence[str] = ()) -> list[str]:
    """The config keys in which the records differ, `also` among them, in the order of the configuration."""
    keys = list(dict.fromkeys(key for record in records for key in record.config))
    return [k for k in keys if k in also or len({repr(r.config.get(k)) for r in records}) > 1]


def cells(records: Sequence[Record]) -> list[Cell]:
    """The records grouped by everything but the seed, in their order."""
    keys = [k for k in varying(records, also=("law.name", "law.dim", "student.init")) if k != "seed"]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(repr(record.config.get(k)) for k in keys), []).append(record)
    return [_cell(keys, group) for group in groups.values()]


def paired(records: Sequence[Record], key: str, a: object, b: object, metric: str) -> list[tuple[str, Interval]]:
    """The mean difference of `metric` between runs with `key` = a and with `key` = b, paired over seeds.

    One entry (law and dimension, interval) for each setting that both have finished; runs are paired when they differ
    in nothing but `key`. A seed that either side lacks, or has unresolved, counts as missing.
    """
    sides: dict[tuple[str, str], dict[object, dict[int, float]]] = {}
    for r in records:
        rest = {k: v for k, v in r.config.items() if k not in (key, "seed")}
        value = r.row.get(metric)
        side = sides.setdefault((f"{rest['law.name']} d={rest['law.dim']}", repr(rest)), {})
        side.setdefault(r.config[key], {})[r.config["seed"]] = np.nan if value is None else float(value)
    found = []
    for (name, _), side in sides.items():
        if a in side and b in side:
            seeds = sorted(set(side[a]) | set(side[b]))
            left, right = ([side[s].get(seed, np.nan) for seed in seeds] for s in (a, b))
            found.append((name, paired_difference(left, right)))
    return found


def _cell(keys: Sequence[str], group: Sequence[Record]) -> Cell:
    rows = [r.row for r in group if r.summary["status"] == "done"]

    def interval(key: str) -> Interval:
        return mean_interval(np.array([np.nan if row[key] is None else row[key] for row in rows], dtype=float))

    return Cell(
        keys={k: group[0].config.get(k) for k in keys},
        seeds=len(group),
        failed=len(group) - len(rows),
        flagged=sum(not r.summary["teacher"]["ok"] for r in group),
        metrics={key: interval(key) for key in METRICS},
        bounded=frozenset(key for r in group for key, m in r.summary.get("metrics", {}).items() if _is_bound(m)),
    )


def _is_bound(measured: Mapping[str, Any]) -> bool:
    """Whether a stored measurement has a value and a reason to read it as a bound."""
    return measured["value"] is not None and bool(measured.get("reason"))
