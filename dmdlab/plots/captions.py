"""The sentences under a figure that say what was run: they come from the records, never from a caller's memory."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dmdlab.records.cells import Cell, files_in_words
from dmdlab.records.record import Calibrated, Record


def values(records: Iterable[Record | Calibrated], key: str) -> list[str]:
    """The different values of a column as text, in order of first appearance."""
    found = [value for record in records if (value := record.row.get(key)) is not None]
    return list(dict.fromkeys(f"{value:g}" if isinstance(value, float) else str(value) for value in found))


MOST_VALUES, MOST_NAMED = 8, 100
"""Values of a column, and ids of runs, that a caption names: more of them fill pages."""


def column_in_words(records: Sequence[Record | Calibrated], key: str) -> str:
    """A column's value; when it varies its values, joined by 'or', the first of many."""
    found = values(records, key)
    if len(found) > MOST_VALUES:
        found = [*found[: MOST_VALUES - 1], f"one of {len(found) - MOST_VALUES + 1} others"]
    return " or ".join(found) or "unknown"


def setup(records: Sequence[Record | Calibrated]) -> str:
    """Teacher, flow, prior and sample size, in one sentence."""
    kinds = {"exact": "the exact denoiser", "network": "a trained network"}
    teachers = " or ".join(kinds.get(kind, kind) for kind in values(records, "teacher.kind")) or "unknown"
    conditions = values(records, "teacher.condition")
    if "True" in conditions:
        whose = "in some of these runs told the class" if len(conditions) > 1 else "told the class"
        teachers += f", {whose} as its students are (matching across classes can flatter)"
    instances = values(records, "law.seed")
    drawn = f"Law instance: law.seed = {column_in_words(records, 'law.seed')}. " if instances else ""
    files = f"{told} " if (told := files_in_words(records)) else ""
    return (
        f"{files}{drawn}Teacher: {teachers}; its flow takes K = {column_in_words(records, 'teacher.steps')} steps from "
        f"sigma_max = {column_in_words(records, 'noise.sigma_max')}. "
        f"Every measurement uses n = {column_in_words(records, 'measure.samples')} samples."
    )


def flagged(records: Iterable[Record]) -> str:
    """A warning where a teacher failed its own check, else nothing."""
    count = sum(not record.teacher_ok for record in records)
    return f"The teacher failed its own check in {count} of these runs. " if count else ""


def outside(points: Mapping[str, np.ndarray], why: str) -> str:
    """How many points each panel leaves out, where one does; points: by its name whether each lies outside, (n,)."""
    told = "; ".join(f"{name}: {own.sum()} of {len(own)}" for name, own in points.items() if own.any())
    told = told.replace("\n", ", ").replace("$", "")  # names are titles, too
    return f"Points outside of the panels, {why}: {told}. " if told else ""


def seeds(groups: Sequence[Cell]) -> str:
    """'8 seeds', '4 to 8 seeds': how many runs stand behind each mean."""
    counts = sorted({len(cell.records) for cell in groups})
    if counts == [1]:
        return "one seed (no interval)"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def provenance(records: Sequence[Record]) -> str:
    """Hardware, commit and run ids; of many the first and the last, and where all of them are told."""
    ids = [str(record.row["id"]) for record in records]
    named = f": {' '.join(ids)}."
    if len(ids) > MOST_NAMED:
        named = f", from {ids[0]} to {ids[-1]}: `dmdlab table` of their folder tells all ids."
    return f"{made_on(records)} {len(ids)} run{'s' if len(ids) > 1 else ''}{named}"


def made_on(records: Sequence[Record | Calibrated]) -> str:
    """Hardware and commit."""
    return f"Made on {column_in_words(records, 'hardware')}, commit {column_in_words(records, 'commit')}."
