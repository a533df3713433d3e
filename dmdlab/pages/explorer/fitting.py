"""A payload within its bytes: what does not fit is left out, the least wanted first, and said."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dmdlab.config import InputError
from dmdlab.pages.templates import embedded
from dmdlab.trouble import first_names

SENTENCES = 20_000
"""Bytes that are kept free for what is said."""

CHOOSE = "name fewer runs, or choose some by their settings, as in law.dim=2 student.init=teacher"

SHARED = {"laws": "law", "pairs": "pairs", "networks": "network", "calibrations": "calibration"}
"""Parts of a payload that runs share, and the runs' keys for them."""


def cut_to_size(found: dict[str, Any], most: int) -> list[str]:
    """Leave out of a payload what `most` bytes do not hold: networks on the way of trainings, then whole runs. Returns
    sentences on it. Raises `InputError` where not even the opening run fits."""
    room, said = most - SENTENCES, list[str]()
    parts = _parts(found["runs"], found["opening"])
    for part in parts:
        for moment, name, _ in part.networks:
            moment[name] = None
    size = len(embedded(found))
    dropped = _drop_runs(found, size - room)
    if dropped:
        said.append(_too_many(dropped, len(found["runs"])))
        size = len(embedded(found))
    there, left = {run["id"] for run in found["runs"]}, 0
    for part in parts:
        if part.run not in there:
            continue
        if size + part.bytes > room:
            left += len(part.networks)
            continue
        for moment, name, packed in part.networks:
            moment[name] = packed
        size += part.bytes
    for run in found["runs"]:
        run["moments"] = [moment for moment in run["moments"] if moment["student"]]
    if left:
        said.append(
            f"{left} networks on the way of trainings, and fake scores, were left out to keep the page small enough to "
            f"hand round: {CHOOSE}"
        )
    return said


@dataclass
class _Part:
    """Networks of a run that travel together or not at all: (moment, "student" or "fake", packed) each."""

    run: str
    networks: list[tuple[dict[str, Any], str, dict[str, Any]]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(len(json.dumps(packed)) for *_, packed in self.networks)


def _parts(runs: Sequence[dict[str, Any]], opening: str) -> list[_Part]:
    """Every network but students at their end, which always travel, the most wanted first."""
    first = next(run for run in runs if run["id"] == opening)
    found: dict[tuple[int, int], _Part] = {}
    for at, run in enumerate(runs):
        differs = {key for key, value in run["settings"].items() if first["settings"].get(key) != value}
        for moment in run["moments"]:
            last = moment is run["moments"][-1]
            for name in ("student", "fake"):
                if moment[name] is not None and not (last and name == "student"):
                    place = _wish(name, last, run is first, differs <= {"student.init"}), at
                    found.setdefault(place, _Part(run["id"])).networks.append((moment, name, moment[name]))
    return [found[place] for place in sorted(found)]


def _wish(name: str, last: bool, opening: bool, kin: bool) -> int:
    """The place of a network among those that one would like to have. kin: its run differs from the opening one in its
    start alone."""
    if opening:
        return 1 if last else 0 if name == "student" else 2
    if kin and name == "student":
        return 3
    return 4 if last else 5 if name == "student" else 6


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
        for part, key in SHARED.items():
            if run[key] is not None and all(other[key] != run[key] for other in found["runs"]):
                over -= len(json.dumps(found[part].pop(run[key])))
    used = {json.dumps(value) for run in found["runs"] for value in run["settings"].items()}
    for axis in found["axes"]:
        kept = [json.dumps((axis["key"], value)) in used for value in axis["values"]]
        axis |= {part: list(itertools.compress(axis[part], kept)) for part in ("values", "words")}
    found["axes"] = [axis for axis in found["axes"] if len(axis["values"]) > 1]
    return dropped


def _too_many(dropped: Sequence[str], left: int) -> str:
    return (
        f"{len(dropped)} of {left + len(dropped)} runs do not fit into one page and were left out "
        f"({first_names(sorted(dropped))}): {CHOOSE}, or give fewer rows (--rows)"
    )
