"""The page's data: finished runs in one JSON document of bounded size, and sentences on what it leaves out."""

import datetime
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmdlab.config import InputError, fingerprint
from dmdlab.pages.explorer.fitting import cut_to_size
from dmdlab.pages.explorer.runs import Maps, packed_row, run_section, unknown_maps
from dmdlab.pages.explorer.shared import View, calibration_section, glossary, pairs_section
from dmdlab.pages.templates import embedded
from dmdlab.pairing.measured import jsonable
from dmdlab.pairing.words import dimensions
from dmdlab.records.cells import setting, short, varying
from dmdlab.records.layout import NO_AXES, distinct
from dmdlab.records.record import Record, ordered
from dmdlab.trouble import first_names

FORMAT = 1
"""Of the payload, as `numerics/scene.js` reads it."""

MOST_BYTES = 3_000_000
"""Of the whole page."""

MOST_RUNS = 400
"""Runs that are looked at, at most."""

ROWS = 300
"""Rows of each run: an assignment of so many takes a browser a tenth of a second."""

ALWAYS = ("law.name", "law.dim", "student.init", "seed")
"""Settings that every run has beside its axes."""

MOST_SAID = 20
"""Reasons for leaving out runs that are told, at most."""

LAWS = {
    "gaussian": "a Gaussian",
    "mixture": "a mixture of {components} Gaussians",
    "ring": "{components} Gaussians on a circle",
    "chessboard": "the dark squares of a board of {cells} by {cells}",
    "moons": "two half moons",
    "spiral": "a spiral",
    "cube": "a uniform cube",
    "sphere": "a uniform sphere",
    "digits": "handwritten digits",
}
"""Laws in plain words; others have their names."""

SHORT = {"law.name": "law", "student.learning_rate": "rate", "noise.sigma_max": "sigma_max"}
"""Of axes in labels of runs; others have the last two parts of their keys."""

LABELS = {
    "student.init": "Start",
    "noise.sigma_max": "Size of the prior, sigma_max",
    "student.learning_rate": "Learning rate",
    "law.dim": "Dimension d",
    "law.name": "Law",
}
"""What axes are called; others have their keys' names."""


@dataclass
class Contents:
    """What goes into a page.

    Attributes:
        records: runs, failed ones among them.
        maps: what is known of a run's maps; may raise `InputError`.
        title, command, version: for the page's head.
        rows: of each run, at most.
        most: bytes of the whole page; taken: those of the page without its data.
    """

    records: Sequence[Record]
    maps: Callable[[Record], Maps]
    title: str = "Does the student copy its teacher?"
    command: str = ""
    version: str = ""
    rows: int = ROWS
    most: int = MOST_BYTES
    taken: int = 0
    notes: list[str] = field(default_factory=list)


def payload(contents: Contents) -> dict[str, Any]:
    """The payload of a page, within its bytes. Raises `InputError` where no run fits, or none can be shown."""
    said, skipped = list(contents.notes), dict[str, list[str]]()
    records = _chosen(contents.records, skipped)
    found: dict[str, Any] = {
        "format": FORMAT,
        "title": contents.title,
        "glossary": {key: own | {"label": _plain(own["label"])} for key, own in glossary().items()},
        **{name: {} for name in ("laws", "pairs", "networks", "calibrations")},
        "runs": [],
    }
    kept = []
    for record in records:
        try:
            _add(found, record, contents)
            kept.append(record)
        except InputError as error:
            skipped.setdefault(str(error).removeprefix(f"{record.folder}: "), []).append(record.folder.name)
    if not kept:
        raise InputError(f"no run to show: {_told(skipped)}")
    found["made"] = _made(contents, kept[0])
    axes = _axes(kept)
    found["axes"] = [_axis(key, kept) for key in axes]
    for run, record in zip(found["runs"], kept, strict=True):
        run["settings"] = {key: setting(record, key) for key in dict.fromkeys((*axes, *ALWAYS))}
        run["label"] = _label(run["settings"], axes)
    _tell_apart(found["runs"], kept)
    found["opening"] = _opening(found["runs"], axes)["id"]
    said += [f"Left out: {sentence}" for sentence in _sentences(skipped)][:MOST_SAID]
    found = jsonable(found)
    said += cut_to_size(found, contents.most - contents.taken)
    found["left_out"] = said
    size = len(embedded(found | {"bytes": {"limit": contents.most, "payload": 9_999_999}}))
    return found | {"bytes": {"limit": contents.most, "payload": size}}


def _chosen(records: Sequence[Record], skipped: dict[str, list[str]]) -> list[Record]:
    """The finished runs, each once, in order."""
    for record in records:
        if not record.done:
            skipped.setdefault("the run failed and left no student", []).append(record.folder.name)
    done = ordered({record.summary["id"]: record for record in records if record.done}.values())
    for record in done[MOST_RUNS:]:
        skipped.setdefault(f"more than {MOST_RUNS} runs; choose some", []).append(record.folder.name)
    return done[:MOST_RUNS]


def _add(found: dict[str, Any], record: Record, contents: Contents) -> None:
    """Add one run and what it shares, or nothing. Raises `InputError` for what is lost or damaged."""
    try:
        maps = contents.maps(record)
    except InputError as error:  # its law's file may be elsewhere; its arrays are here
        maps = unknown_maps(record, str(error).removeprefix(f"{record.folder}: "))
    arrays, calibration = record.arrays(), record.calibration()
    view = View(record, arrays)
    run = run_section(record, arrays, view, maps, calibration, contents.rows)
    settings = {key: value for key, value in record.settings.items() if key.startswith("law.")}
    name = record.config["law.name"]
    law = f"{name}-d{record.config['law.dim']}-{fingerprint(settings)}"
    pairs = str(record.summary.get("pairs") or record.folder.name).removesuffix(".npz")
    network = None
    if maps["network"]:
        layout, start = [], 0
        for parameter, shape in maps["order"].items():
            layout.append({"name": parameter, "shape": shape, "start": start})
            start += math.prod(shape)
        spec = {**maps["network"], "sigma_data": maps["law"]["sigma_data"], "layout": layout}
        network = f"{spec['kind']}-{fingerprint({'spec': json.dumps(spec)})}"
        found["networks"].setdefault(network, spec)
    shared = found["pairs"].get(pairs) or {
        **pairs_section(record, arrays, view, contents.rows),
        "teacher_network": None,
    }
    if maps["teacher"] and shared["teacher_network"] is None:  # a run whose maps are unknown may have come first
        shared["teacher_network"] = packed_row(maps["teacher"], maps["order"])
    found["pairs"][pairs] = shared
    if law not in found["laws"] or maps["law"]["exact"] is not None:
        found["laws"][law] = {**maps["law"], "words": _law_words(record)}
    key = None
    if calibration is not None:
        key = str(record.summary["calibration"]).removesuffix(".npz")
        if key not in found["calibrations"]:
            found["calibrations"][key] = calibration_section(calibration)
    found["runs"].append(run | {"law": law, "pairs": pairs, "calibration": key, "network": network})


def _law_words(record: Record) -> str:
    own = {key.removeprefix("law."): value for key, value in record.settings.items() if key.startswith("law.")}
    try:
        words = LAWS.get(own["name"], "the law {name}").format(**own)
    except KeyError:  # a parameter that an older record lacks
        words = f"the law {own['name']}"
    return f"{words} in {dimensions(own['dim'])}"


def _axes(records: Sequence[Record]) -> list[str]:
    """The settings in which the runs differ, but those of measuring and those that follow from others."""
    keys = [key for key in varying(records) if key not in NO_AXES or key == "seed"]
    return [key for key in keys if not key.startswith("measure.") and not _follows(key, records)]


def _follows(key: str, records: Sequence[Record]) -> bool:
    """Whether the name or kind in its own section decides a setting, as a law's parameters; never the dimension."""
    heads = [f"{key.partition('.')[0]}.{head}" for head in ("name", "kind")]
    found = {(repr([setting(r, head) for head in heads]), repr(setting(r, key))) for r in records}
    return key not in (*heads, "law.dim") and len(found) == len(dict(found))


def _axis(key: str, records: Sequence[Record]) -> dict[str, Any]:
    """An axis with its values, None first where a run has no such setting, and these in words."""
    held = [setting(record, key) for record in records]
    values = [None] * (None in held) + distinct(value for value in held if value is not None)
    words = ["none" if value is None else short(value) for value in values]
    return {"key": key, "label": LABELS.get(key, key), "values": values, "words": words}


def _label(settings: Mapping[str, Any], axes: Sequence[str]) -> str:
    """A run by its start, what it has of the other axes, and its dimension."""
    others = {key: settings[key] for key in axes if key not in ("student.init", "law.dim")}
    told = [
        f"{SHORT.get(key, ' '.join(key.split('.')[-2:]))} {short(value)}"
        for key, value in others.items()
        if value is not None
    ]
    return ", ".join([f"{settings['student.init']} start", *told, f"d = {settings['law.dim']}"])


def _tell_apart(runs: Sequence[dict[str, Any]], records: Sequence[Record]) -> None:
    """Add to labels that several runs share what these differ in besides the axes: how they were measured, say."""
    alike: dict[str, list[tuple[dict[str, Any], Record]]] = {}
    for run, record in zip(runs, records, strict=True):
        alike.setdefault(run["label"], []).append((run, record))
    for held in alike.values():
        keys = varying([record for _, record in held])
        for run, record in held:
            told = (f"{key.rpartition('.')[2].replace('_', ' ')} {short(setting(record, key))}" for key in keys)
            run["label"] = ", ".join([run["label"], *told])


def _opening(runs: Sequence[dict[str, Any]], axes: Sequence[str]) -> dict[str, Any]:
    """The run to open with: in the plane, its networks with it, from the teacher's start, of most common settings."""

    def rank(run: dict[str, Any]) -> tuple[Any, ...]:
        common = sum(sum(other["settings"].get(key) == run["settings"].get(key) for other in runs) for key in axes)
        kept = any(moment["fake"] for moment in run["moments"])
        return bool(run["network"]), kept, run["settings"]["student.init"] == "teacher", len(run["moments"]), common

    return max(runs, key=rank)


def _sentences(skipped: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{first_names(names)}: {why}" for why, names in skipped.items()]


def _told(skipped: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(_sentences(skipped)) or "there is none"


def _made(contents: Contents, first: Record) -> dict[str, Any]:
    return {
        "version": contents.version,
        "command": contents.command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **{key: first.environment.get(key) for key in ("commit", "hardware", "device")},
    }


def _plain(label: str) -> str:
    """An axis label without TeX."""
    return re.sub(r"[${}\\]", "", label.replace("\\Delta", "Δ"))
