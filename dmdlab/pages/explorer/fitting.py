"""A payload within its bytes: what does not fit is left out, the least wanted first, and said."""

import json
from collections.abc import Sequence
from typing import Any

from dmdlab.config import InputError
from dmdlab.pages.templates import embedded

SENTENCES = 20_000
"""Bytes that are kept free for what is said."""

NAMED = 5
"""Runs that are named one by one where they are left out for one reason."""

CHOOSE = "name fewer runs, or choose some by their settings, as in law.dim=2 student.init=teacher"

SHARED = {"laws": "law", "pairs": "pairs", "networks": "network", "calibrations": "calibration"}
"""Parts of a payload that runs share, and the runs' keys for them."""


def fitted(found: dict[str, Any], most: int) -> list[str]:
    """Leave out of a payload what `most` bytes do not hold: networks on the way of trainings, then whole runs. Returns
    sentences on it. Raises `InputError` where not even the opening run fits."""
    room, said = most - SENTENCES, list[str]()
    opening = next(run for run in found["runs"] if run["id"] == found["opening"])
    extras = sorted(_extras(found["runs"], opening), key=lambda extra: extra[0])
    held = [(moment, name, moment[name]) for *_, moment, name in extras]
    for moment, name, _ in held:
        moment[name] = None
    size = len(embedded(found))
    dropped = _drop_runs(found, size - room)
    if dropped:
        said.append(_too_many(dropped, len(found["runs"])))
        size = len(embedded(found))
    there = {run["id"] for run in found["runs"]}
    left = 0
    for (_, run, _, _), (moment, name, value) in zip(extras, held, strict=True):
        more = len(json.dumps(value))
        if run["id"] not in there:
            continue
        if size + more > room:
            left += 1
            continue
        moment[name] = value
        size += more
    for run in found["runs"]:
        run["moments"] = [moment for moment in run["moments"] if moment["student"]]
    if left:
        said.append(
            f"{left} networks on the way of trainings, and fake scores, were left out to keep the page small enough to "
            f"hand round: {CHOOSE}"
        )
    return said


def _extras(
    runs: Sequence[dict[str, Any]], opening: dict[str, Any]
) -> list[tuple[tuple[int, int, int], dict[str, Any], dict[str, Any], str]]:
    """(rank, run, moment, "student" or "fake") of every network but students at their end, the most wanted first: those
    of the opening run, students of its other starts, fake scores at the end, then the rest."""
    found = []
    for at, run in enumerate(runs):
        differs = [key for key, value in run["settings"].items() if opening["settings"].get(key) != value]
        kin = set(differs) <= {"student.init"}
        for i, moment in enumerate(run["moments"]):
            last = i == len(run["moments"]) - 1
            for name in ("student", "fake"):
                if moment[name] is None or (last and name == "student"):
                    continue
                own = run is opening
                rank = 0 if own and (last or name == "student") else 1 if own else 2 if kin and name == "student" else 9
                rank = 3 if rank == 9 and last else 4 if rank == 9 and name == "student" else 5 if rank == 9 else rank
                found.append(((rank, at, i), run, moment, name))
    return found


def _drop_runs(found: dict[str, Any], over: int) -> list[str]:
    """Take runs away, from the end of their order but never the opening one, until so many bytes are saved; their
    names."""
    dropped, position = [], len(found["runs"]) - 1
    while over > 0:
        while position >= 0 and found["runs"][position]["id"] == found["opening"]:
            position -= 1
        if position < 0:
            raise InputError(f"one run alone is {over / 1e6:.1f} MB too large for a page; give fewer rows (--rows)")
        run = found["runs"].pop(position)
        position -= 1
        dropped.append(run["name"])
        over -= len(json.dumps(run))
        for part, key in (
            ("laws", "law"),
            ("pairs", "pairs"),
            ("networks", "network"),
            ("calibrations", "calibration"),
        ):
            if run[key] is not None and all(other[key] != run[key] for other in found["runs"]):
                over -= len(json.dumps(found[part].pop(run[key])))
    used = {json.dumps(value) for run in found["runs"] for value in run["settings"].items()}
    for axis in found["axes"]:
        axis["values"] = [value for value in axis["values"] if json.dumps((axis["key"], value)) in used]
    found["axes"] = [axis for axis in found["axes"] if len(axis["values"]) > 1]
    return dropped


def _too_many(dropped: Sequence[str], left: int) -> str:
    return (
        f"{len(dropped)} of {left + len(dropped)} runs do not fit into one page and were left out "
        f"({named(sorted(dropped))}): {CHOOSE}, or give fewer rows (--rows)"
    )


def named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
