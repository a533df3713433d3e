"""The numbers of a figure along a swept setting, as a table: whoever draws it with other tools needs no run."""

import math
from typing import Any

from dmdlab.plots.axis_panels import Shown
from dmdlab.records.cells import Cell, short

CEILING = "delta_e_ceiling"


def numbers(shown: Shown) -> list[dict[str, Any]]:
    """A row for each mark, panel by panel and along each line; delta_e's ceiling follows delta_e, of each mark's own
    runs, where the figure may draw one for all lines.

    Columns: the settings of rows, lines and x; `measure`; `mean`, `low` and `high` over the seeds that have a value
    (low and high the ends of the 95 % interval; an entry is empty where there is none); `seeds` and `unresolved`, how
    many have a value and how many have not; `bound`, whether the mean is only a lower bound; `other_law`, whether the
    students' law can be told from the teacher's or is unknown (hollow); `teachers_failed`, of how many runs the teacher
    failed its own check.
    """
    keys = [metric.key for metric in shown.metrics]
    if "delta_e" in keys and CEILING not in keys:
        keys.insert(keys.index("delta_e") + 1, CEILING)
    return [
        _row(cell, key, shown)
        for cells in shown.rows().values()
        for key in keys
        for line in shown.styles
        for cell in shown.of_line(cells, line)
    ]


def _row(cell: Cell, key: str, shown: Shown) -> dict[str, Any]:
    """One mark."""
    interval, layout = cell.interval(key), shown.layout
    ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {
        **{name: _said(cell.value(name)) for name in (layout.rows, layout.by, layout.x) if name},
        "measure": key,
        **{name: value if math.isfinite(value) else None for name, value in ends.items()},
        "seeds": interval.n,
        "unresolved": interval.missing,
        "bound": cell.bounded(key),
        "other_law": cell.poor,
        "teachers_failed": cell.flagged,
    }


def _said(value: Any) -> Any:
    """A setting's value: numbers as they are, words and lists as figures name them ('none' of a run without it)."""
    return value if isinstance(value, int | float) else short(value)
