"""The sentences under a figure that say what was run: they come from the records, never from a caller's memory."""

from collections.abc import Iterable, Mapping, Sequence

from dmdlab.records.cells import Cell
from dmdlab.records.record import Calibrated, Record


def common(records: Iterable[Record | Calibrated], key: str) -> Mapping[str, int]:
    """How often each value of a column occurs, as text, in order of first appearance."""
    counts: dict[str, int] = {}
    for record in records:
        value = record.row.get(key)
        if value is not None:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            counts[text] = counts.get(text, 0) + 1
    return counts


def shared(records: Sequence[Record | Calibrated], key: str) -> str:
    """A column's value; when it varies its values, joined by 'or'."""
    return " or ".join(common(records, key)) or "unknown"


def setting(records: Sequence[Record | Calibrated]) -> str:
    """Teacher, flow, prior and sample size, in one sentence."""
    kinds = {"exact": "the exact denoiser", "network": "a trained network"}
    teachers = " or ".join(kinds.get(kind, kind) for kind in common(records, "teacher.kind")) or "unknown"
    instances = common(records, "law.seed")
    drawn = f"Law instance: law.seed = {' or '.join(instances)}. " if instances else ""
    return (
        f"{drawn}Teacher: {teachers}; its flow takes K = {shared(records, 'teacher.steps')} steps from "
        f"sigma_max = {shared(records, 'noise.sigma_max')}. "
        f"Every measurement uses n = {shared(records, 'measure.samples')} samples."
    )


def flagged(records: Iterable[Record]) -> str:
    """A warning where a teacher failed its own check, else nothing."""
    count = sum(not record.teacher_ok for record in records)
    return f"The teacher failed its own check in {count} of these runs. " if count else ""


def seeds(groups: Sequence[Cell]) -> str:
    """'8 seeds', '4 to 8 seeds': how many runs stand behind each mean."""
    counts = sorted({len(cell.records) for cell in groups})
    if counts == [1]:
        return "one seed (no interval)"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def provenance(records: Sequence[Record]) -> str:
    """Hardware, commit and run ids."""
    ids = [str(record.row["id"]) for record in records]
    return f"{made_on(records)} {len(ids)} run{'s' if len(ids) > 1 else ''}: {' '.join(ids)}."


def made_on(records: Sequence[Record | Calibrated]) -> str:
    """Hardware and commit."""
    return f"Made on {shared(records, 'hardware')}, commit {shared(records, 'commit')}."
