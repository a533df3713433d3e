"""Many runs as few numbers: which settings vary, and each cell's mean and interval over seeds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmdlab.config import PLACES, InputError
from dmdlab.pairing import METRICS, POOR_FIDELITY, Interval, mean_interval, paired_difference
from dmdlab.pairing.glossary import LOW_FIDELITY
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.pairing.words import ends, interval, number
from dmdlab.records.record import Calibrated, Record, ordered

CELL_METRICS = ("delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "pair_auc", "remap_angle", "fidelity")
"""The measures that every table shows."""

STARTS = ("law.name", "law.dim", "student.init")
"""The settings that every table and figure names."""

SHORT = dict(zip(STARTS, ("law", "d", "init"), strict=True))
"""Column heads that are shorter than their keys."""


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed only: what a mean and an interval are taken over.

    Attributes:
        keys: the values of the settings in which this cell may differ from others.
        records: its runs, seeds ascending, failed ones among them.
        law, dim, init: of the keys: the law's name, the ambient dimension d, the students' start.
    """

    keys: dict[str, Any]
    records: tuple[Record, ...]

    @property
    def law(self) -> str:
        return str(self.keys["law.name"])

    @property
    def dim(self) -> int:
        return int(self.keys["law.dim"])

    @property
    def init(self) -> str:
        return str(self.keys["student.init"])

    def value(self, key: str) -> Any:
        """The value of a setting, as of `setting`."""
        return setting(self.records[0], key)

    @property
    def failed(self) -> int:
        """How many runs did not come to their end."""
        return sum(not record.done for record in self.records)

    @property
    def flagged(self) -> int:
        """How many runs have a teacher that failed its own check."""
        return sum(not record.teacher_ok for record in self.records)

    @property
    def poor(self) -> bool:
        """Whether the students' law is not seen to be the teacher's, so that nothing is said about copying."""
        return bool(self.outside)

    @property
    def outside(self) -> list[str]:
        """The measures of the law whose mean is unresolved, or lies outside `law_limits`; without these, fidelity
        where its mean is not within `LOW_FIDELITY` to `POOR_FIDELITY`."""
        limits = self.law_limits or {"fidelity": (LOW_FIDELITY, POOR_FIDELITY)}
        return [key for key, (low, high) in limits.items() if not low <= self.interval(key).mean <= high]

    @property
    def law_limits(self) -> dict[str, tuple[float, float]]:
        """(low, high) of each measure of the law, between which 95 % of single runs of the teacher's own law fall by
        their calibrations, averaged over the finished runs; empty where one of them lacks it."""
        judged = [record.summary.get("law", {}) for record in self.records if record.done]
        if not judged or any(law.get("limits") != "calibration" for law in judged):
            return {}
        ends = {key: np.mean([law[key][:2] for law in judged], axis=0) for key in LAW_KEYS}
        return {key: (float(low), float(high)) for key, (low, high) in ends.items()}

    def column(self, key: str) -> np.ndarray:
        """(runs,) one column of the finished runs, NaN where the sample could not resolve it."""
        values = [record.row.get(key) for record in self.records if record.done]
        return np.array([v if v is not None and math.isfinite(v) else math.nan for v in values], dtype=float)

    def interval(self, key: str) -> Interval:
        """Mean and 95 % interval over the seeds that have a value: Student's, on a log scale where `logarithmic`."""
        return mean_interval(self.column(key), method="log" if logarithmic(key) else "t")

    def bounded(self, key: str) -> bool:
        """Whether one of the values is only a bound, as remap_angle's 90 and more, so that their mean is one, too."""
        part, name = ("own", key.removeprefix("own_")) if key.startswith("own_") else ("metrics", key)
        measured = [record.summary.get(part, {}).get(name, {}) for record in self.records]
        return any(m.get("value") is not None and m.get("reason") for m in measured)


def logarithmic(key: str) -> bool:
    """Whether the interval over seeds of this column is made on a logarithmic scale: those of delta_e and of its
    ceiling, which cannot be below 0 and are far from symmetric where seeds disagree."""
    plain = next((key.removeprefix(part) for part in ("own_", "within_", "steps_") if key.startswith(part)), key)
    return plain in METRICS and METRICS[plain].scale == "zero_log"


def parts(key: str) -> list[str]:
    """The settings behind a key: one, or those that change together, with commas between them."""
    return [part.strip() for part in key.split(",")]


def setting(record: Record, key: str) -> Any:
    """The value of a setting, a list as a tuple; None where the run has no such setting. Of several that change
    together (`parts`), the tuple of theirs."""
    if len(keys := parts(key)) > 1:
        return tuple(setting(record, own) for own in keys)
    found = record.settings.get(key)
    return tuple(found) if isinstance(found, list) else found


def varying(records: Sequence[Record], also: Sequence[str] = ()) -> list[str]:
    """The settings in which the records differ, `also` among them, in the order of the configuration; not the age of
    teachers that are all taken at the end."""
    settings = [record.settings for record in records]
    keys = list(dict.fromkeys(key for own in settings for key in own))
    if all(own.get("teacher.snapshot") == own.get("teacher.iterations") for own in settings):
        keys = [key for key in keys if key != "teacher.snapshot"]
    return [k for k in keys if k in also or differs(k, settings)]


def differs(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these say different things by `key`. That a run has no such setting says something, too, but for the
    further settings of a loss term, whose weight says it already."""
    follows = key.startswith("terms.") and not key.endswith(".weight")
    said = [own.get(key) for own in settings if not follows or own.get(key) is not None]
    kinds = set(map(type, said))
    if len(kinds) == 1 and kinds <= {str, int, float, bool, type(None)}:  # as of thousands of runs, quickly
        return said.count(said[0]) < len(said)
    return len({repr(value) for value in said}) > 1


def cells(records: Sequence[Record], also: Sequence[str] = ()) -> list[Cell]:
    """The records grouped by everything but the seed, in order of first appearance; every cell has the keys `also`."""
    keys = [k for k in varying(records, also=(*STARTS, *also)) if k != "seed"]
    groups: dict[str, tuple[dict[str, Any], list[Record]]] = {}
    for record in records:
        values = {k: record.settings.get(k) for k in keys}
        groups.setdefault(repr(values), (values, []))[1].append(record)
    return [
        Cell(values, tuple(sorted(group, key=lambda r: int(r.config["seed"])))) for values, group in groups.values()
    ]


def finished(records: Iterable[Record]) -> list[Record]:
    """The finished runs, ordered, each of them once. Raises `InputError` when there is none."""
    given = list(records)
    done = {record.row["id"]: record for record in given if record.done}
    if not done:
        raise InputError(
            f"nothing to draw: none of the {len(given)} runs given is finished (status 'done'); "
            "run the sweep first, or look at the failed runs with `dmdlab table`"
        )
    return ordered(done.values())


def cells_along(records: Iterable[Record], keys: Sequence[str]) -> list[Cell]:
    """The finished runs, one cell for each combination of values of `keys`: what a figure can tell apart.

    A run that is given twice counts once. Raises `InputError` when no run is finished, and when two cells agree in
    `keys`: their mean would be a mean over different experiments.
    """
    found = cells(finished(records), also=keys)
    for cell in found:
        place = [cell.value(key) for key in keys]
        alike = [other.keys for other in found if [other.value(key) for key in keys] == place]
        for key in cell.keys:
            values = sorted({repr(own[key]) for own in alike})
            if len(values) > 1:
                raise InputError(
                    f"runs of {', '.join(map(setting_label, keys, place))} differ in {key} ({', '.join(values)}); "
                    f"a figure averages over seeds only: choose one with {key}=VALUE"
                )
    return found


def cells_of_starts(records: Iterable[Record]) -> list[Cell]:
    """`cells_along` law, dimension and start."""
    return cells_along(records, STARTS)


def setting_label(key: str, value: object) -> str:
    """A setting with its value, as a figure names it: 'ring', 'd = 8', 'teacher init', 'student.clip = 10'; each of
    several that change together, but for those that a run does not have."""
    if len(keys := parts(key)) > 1 and isinstance(value, tuple):
        return ", ".join(setting_label(own, v) for own, v in zip(keys, value, strict=True) if v is not None)
    if key == "law.name":
        return str(value)
    if key == "student.init":
        return f"{value} init"
    return f"{SHORT.get(key, key)} = {short(value)}"


def short(value: object) -> str:
    """A setting's value as one would type it: '0.002', '5e-5', '16, 32'; 'none' of a run that does not have it."""
    if value is None:
        return "none"
    if isinstance(value, float):
        text = f"{value:.6g}" if value == 0 or 1e-3 <= abs(value) < 1e6 else np.format_float_scientific(value, trim="-")
        return text.replace("e-0", "e-").replace("e+0", "e")
    return ", ".join(map(short, value)) if isinstance(value, list | tuple) else str(value)


def paired_differences(
    records: Sequence[Record], key: str, a: object, b: object, metric: str
) -> list[tuple[str, Interval]]:
    """The mean difference of `metric` between runs with `key` = a and with `key` = b, paired over seeds.

    One entry (its name, interval) for each setting that both have finished: law, dimension, and what else varies; runs
    are paired when they differ in nothing but `key`. A seed that either side lacks, or has unresolved, counts as
    missing.
    """
    sides: dict[tuple[str, str], dict[object, dict[int, float]]] = {}
    besides = {key, "seed"} | ({"teacher.snapshot"} if key == "teacher.iterations" else set())  # the end moves with it
    others = [k for k in varying(records) if k not in besides | {"law.name", "law.dim"}]
    for r in records:
        rest = {k: v for k, v in r.settings.items() if k not in besides}
        name = ", ".join(
            [f"{rest['law.name']} d={rest['law.dim']}", *(setting_label(k, setting(r, k)) for k in others)]
        )
        value = r.row.get(metric)
        side = sides.setdefault((name, repr(rest)), {})
        side.setdefault(r.config[key], {})[r.config["seed"]] = np.nan if value is None else float(value)
    found = []
    for (name, _), side in sides.items():
        if a in side and b in side:
            seeds = sorted(set(side[a]) | set(side[b]))
            left, right = ([side[s].get(seed, np.nan) for seed in seeds] for s in (a, b))
            found.append((name, paired_difference(left, right)))
    return found


def records_of(found: Iterable[Cell]) -> list[Record]:
    """The runs behind these cells, cell by cell."""
    return [record for cell in found for record in cell.records]


def laws_of(found: Iterable[Cell]) -> list[str]:
    """The laws present, in order."""
    return list(dict.fromkeys(cell.law for cell in found))


def dims_of(found: Iterable[Cell]) -> list[int]:
    """The dimensions present, ascending."""
    return sorted({cell.dim for cell in found})


def endless(cells: Iterable[Cell], key: str = "delta_e") -> bool:
    """Whether one of several seeds has no interval of delta_e, or of another `logarithmic` column, since half of them
    or more read 0 (`mean_interval`)."""
    found = (cell.interval(key) for cell in cells)
    return any(i.n > 1 and math.isnan(i.low) for i in found)


def files_in_words(records: Sequence[Record | Calibrated]) -> str:
    """Which file each law.digest is of, where the records have several; else nothing."""
    named: dict[str, str] = {}
    for record in records:
        files = [Path(str(file)).name for key in PLACES if (file := record.row.get(key))]
        if digest := record.row.get("law.digest"):
            named.setdefault(str(digest), " with labels ".join(files))
    if len(named) < 2:
        return ""
    told = [f"{digest} is of {files}" for digest, files in named.items() if files]
    return f"law.digest, the content of files: {', '.join(told)}." if told else ""


def legend(cells: Sequence[Cell]) -> list[str]:
    """How to read a table of these cells, in sentences."""
    told = [
        "Mean ± half the 95 % interval over seeds; of delta_e and its ceiling (the delta_e of a student that pairs at "
        "random) both ends, as these are made on a logarithmic scale, which ends above 0."
    ]
    if endless(cells):
        told.append("A delta_e of which half of the seeds or more read 0, but not all, has no interval on that scale.")
    if any(cell.poor for cell in cells):
        told.append(
            "(poor): the student's law can be told from that of the teacher's flow at this n, by fidelity or by the "
            "measures named, so no claim of copying or remapping should rest on that line alone."
        )
    if any(cell.flagged for cell in cells):
        told.append("teacher!: a teacher failed its own check, so its students may have another law than the data.")
    if files := files_in_words([record for cell in cells for record in cell.records]):
        told.append(files)
    return told


def cell_value(cell: Cell, metric: str) -> str:
    """A cell's entry for one metric: mean and half the interval, or both ends of a logarithmic one, '≥' for a bound,
    the seeds behind it if some lack it, and '(poor)' beside the fidelity where no claim should rest on the law, with
    the measures that say so alone."""
    i = cell.interval(metric)
    text = (ends if logarithmic(metric) else interval)(i.mean, i.low, i.high)
    text = f"≥ {text}" if cell.bounded(metric) else text
    if i.missing:
        text += f" (n = {i.n})"
    if metric != "fidelity" or not i.n or not cell.poor:
        return text
    return f"{text} (poor)" if "fidelity" in cell.outside else f"{text} (poor: {', '.join(cell.outside)})"


def cell_row(cell: Cell) -> list[str]:
    """A cell's line in a table: its keys, `runs_of` it, and `CELL_METRICS`."""
    return [*map(number, cell.keys.values()), runs_of(cell), *(cell_value(cell, metric) for metric in CELL_METRICS)]


def runs_of(cell: Cell) -> str:
    """How many runs a cell has, and what is wrong with them: '3 (1 failed) teacher!'."""
    failed, flagged = f" ({cell.failed} failed)" if cell.failed else "", " teacher!" if cell.flagged else ""
    return f"{len(cell.records)}{failed}{flagged}"
