"""The words of a figure along a swept setting: its legend, its note, its caption."""

from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D

from dmdlab.pairing import POOR_FIDELITY
from dmdlab.pairing.glossary import LOW_FIDELITY
from dmdlab.plots import captions
from dmdlab.plots.axes import LINEAR_BELOW, TOGETHER
from dmdlab.plots.axis_panels import DASHED, Shown
from dmdlab.plots.calibration import LEVELLED, levels_in_words
from dmdlab.records.cells import (
    STARTS,
    Cell,
    endless,
    laws_of,
    logarithmic,
    parts,
    records_of,
    setting_label,
    short,
    varying,
)
from dmdlab.records.layout import NO_AXES, distinct, usual


def legend_handles(shown: Shown) -> list[Line2D]:
    """An entry for each line, for the ceiling, and for the special marks that occur."""
    scale = shown.scale
    thin = scale.line * 0.8
    entries: list[dict[str, Any]] = [
        {"label": style.label, "color": style.colour, "marker": style.marker, "ls": style.line if shown.joined else ""}
        for style in shown.styles.values()
    ]
    if any(metric.key == "delta_e" for metric in shown.metrics):
        entries.append({"label": r"ceiling of $\Delta_E$: no memory", "ls": DASHED, "lw": thin})
    if any(cell.poor for cell in shown.cells):
        entries.append({"label": "another law, or unknown", "marker": "o", "mfc": "white", "mew": thin, "ls": "none"})
    if any(cell.flagged for cell in shown.cells):
        cross = {"marker": "x", "mew": scale.line, "ms": scale.marker * 1.8, "ls": "none"}
        entries.append({"label": "a teacher failed its check", **cross})
    return [Line2D([], [], **{"color": "black"} | entry) for entry in entries]


def note(shown: Shown, failed: int, places: bool = True) -> str:
    """What is not drawn: failed runs, and unresolved values, with their places if asked."""
    parts = [f"{failed} failed run{'s' if failed > 1 else ''} not drawn"] if failed else []
    gaps: dict[tuple[int, str], list[str]] = {}
    for metric in shown.metrics:
        missing = [(cell, count) for cell in shown.cells if (count := cell.interval(metric.key).missing)]
        if missing:
            where = "; ".join(dict.fromkeys(_place(cell, shown) for cell, _ in missing))
            gaps.setdefault((sum(count for _, count in missing), where), []).append(metric.key)
    for (count, where), keys in gaps.items():
        each = "each of " if len(keys) > 1 else ""
        parts.append(f"{count} unresolved {each}{', '.join(keys)} not drawn{f' ({where})' if places else ''}")
    return "; ".join(parts)


def _place(cell: Cell, shown: Shown) -> str:
    """'teacher d = 2': where a value is missing."""
    by, x = shown.layout.by, shown.layout.x
    if shown.layout.of_dimension:
        return f"{cell.init} d = {cell.dim}"
    return f"{setting_label(by, cell.value(by))}, {setting_label(x, cell.value(x))}"


def caption(shown: Shown, told_beside: str) -> str:
    """What is shown, how it was made, what the marks mean, which runs; `told_beside`: the note."""
    records, groups = records_of(shown.cells), shown.cells
    lines = ", ".join(setting_label(shown.layout.by, value) for value in shown.styles)
    x = shown.layout.x
    along = "dimension" if x == "law.dim" else TOGETHER if shown.together else x
    keys = {metric.key for metric in shown.metrics}
    ceiling = (
        "Dashed: the delta_e of a student with no memory of the pairing (band: over the runs). "
        if "delta_e" in keys
        else ""
    )
    linear = any(metric.scale == "zero_log" for metric in shown.metrics)
    logs = [metric.key for metric in shown.metrics if logarithmic(metric.key)]
    without = "; none where half of the seeds or more read 0" if any(endless(groups, key) for key in logs) else ""
    on_a_log_scale = f" (of {' and '.join(logs)} that of its logarithm, which cannot reach 0{without})" if logs else ""
    linear_part = f"The {'delta_e' if keys & {'delta_e'} else 'ceiling'} axis is linear below {LINEAR_BELOW:g}. "
    bound = "remap_angle" in keys and any(cell.bounded("remap_angle") for cell in groups)
    planted = bool(shown.calibrations) and bool(keys & set(LEVELLED))
    kinds = ["Dashed"] if "delta_e" in keys and not shown.one_ceiling else []
    kinds += ["dotted"] if planted and not shown.shared else []
    coloured = f"{' and '.join(kinds).capitalize()} lines belong to the line of their colour. " if kinds else ""
    flagged, runs = sum(cell.flagged for cell in groups), sum(len(cell.records) for cell in groups)
    crossed = f"Crossed out: a teacher of its runs failed its own check ({flagged} of {runs}). " if flagged else ""
    return (
        f"Copying against {along}: law {', '.join(laws_of(groups))}; {_fixed(shown)}{lines}. {_together(shown)}"
        f"{_marks(groups, on_a_log_scale)}"
        f"{ceiling}{linear_part if linear else ''}"
        f"{'A remap angle of 90 degrees stands for 90 or more. ' if bound else ''}"
        f"{_hollow(groups)}"
        f"{crossed}{levels_in_words(records, shown.angles) if planted else ''}{coloured}{captions.setup(records)} "
        f"{told_beside + '. ' if told_beside else ''}{captions.provenance(records)}"
    )


def _marks(groups: Sequence[Cell], on_a_log_scale: str) -> str:
    """What marks are: means with intervals, or the values of one seed, of which there is no interval."""
    if all(len(cell.records) == 1 for cell in groups):
        return "Marks: one seed each, without an interval. "
    return (
        f"Marks: mean over {captions.seeds(groups)} with its 95 % t-interval{on_a_log_scale}, ended by an arrow where "
        "it goes beyond the measure's range or the panel; dots beside them: the seeds. "
    )


def _fixed(shown: Shown) -> str:
    """Dimension and start where no axis says them, and the values of the rows."""
    keys = [key for key in STARTS if key != "law.name" and key not in shown.layout.keys]
    parts = [", ".join(setting_label(key, v) for v in distinct(c.value(key) for c in shown.cells)) for key in keys]
    if shown.layout.rows not in (None, "law.name"):
        key = str(shown.layout.rows)
        parts.append(f"rows: {key} = {', '.join(map(short, distinct(cell.value(key) for cell in shown.cells)))}")
    return "".join(f"{part}; " for part in parts)


def _together(shown: Shown) -> str:
    """Which settings change together along x, with the values that its names leave out; or which follow from its
    own."""
    keys, values = parts(shown.layout.x), shown.values
    if len(keys) == 1:
        records = records_of(shown.cells)
        also = [key for key in varying(records) if key not in (*NO_AXES, *shown.layout.keys)]
        return f"With these change: {', '.join(also)}. " if also else ""
    common = [next(iter(usual(column)), None) for column in zip(*values, strict=True)]
    named = [key if value is None else setting_label(key, value) for key, value in zip(keys, common, strict=True)]
    where = "" if named == keys else " (where a name does not say another value, it is this)"
    return f"Along x change together{where}: {', '.join(named)}. "


def _hollow(groups: Sequence[Cell]) -> str:
    """By which limits marks are hollow, and what that means."""
    judged = [bool(cell.law_limits) for cell in groups]
    null = (
        "the mean of fidelity, debiased_cost or variance_ratio unresolved, or outside of where 95 % of single runs of "
        "exactly the teacher's law fall at this n and d (by the runs' calibrations)"
    )
    fixed = f"mean fidelity unresolved, or outside {LOW_FIDELITY:g} to {POOR_FIDELITY:g} (a convention"
    fixed += ", for runs without such limits)" if any(judged) else ": these runs do not hold where equal laws fall)"
    by = null if all(judged) else f"{null}; or {fixed}" if any(judged) else fixed
    return (
        f"Hollow marks: {by}: the student's law can be told from that of the teacher's flow, or this n cannot tell, "
        "and no claim of copying or remapping should rest on the mark. "
    )
