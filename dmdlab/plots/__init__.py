"""Figures from records: numpy and matplotlib in, a figure and its caption out, never torch.

`PLOTS` is the catalogue; `draw(name, records)` makes one, `save` writes it, `save_plot` does both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmdlab.config import InputError, nearest
from dmdlab.plots.calibration import calibration_figure
from dmdlab.plots.curve import curve_figure
from dmdlab.plots.dimension import dimension_figure
from dmdlab.plots.displacement import displacement_figure
from dmdlab.plots.heatmap import heatmap_figure
from dmdlab.plots.panels import panels_figure
from dmdlab.plots.ranks import ranks_figure
from dmdlab.plots.style import SIZES, Drawing, save
from dmdlab.records.record import Record

__all__ = ["PLOTS", "Drawing", "Plot", "draw", "save", "save_plot"]


@dataclass(frozen=True)
class Plot:
    """An entry of the catalogue: what it shows, and the function (records, scale) that draws it."""

    summary: str
    function: Callable[..., Drawing]


PLOTS: dict[str, Plot] = {
    "dimension": Plot("copying against dimension, with ceiling and control", dimension_figure),
    "panels": Plot("noise, teacher, one step and student, coloured by the noise", panels_figure),
    "curve": Plot("losses, variance and pairing over training", curve_figure),
    "calibration": Plot("what each measure reads under known remaps, one line a dimension", calibration_figure),
    "heatmap": Plot("squared distances teacher x student with the optimal assignment", heatmap_figure),
    "ranks": Plot("rank of the true partner among all teacher outputs", ranks_figure),
    "displacement": Plot("how far training moved each output from the teacher's", displacement_figure),
}


def draw(name: str, records: Sequence[Record], size: str = "paper") -> Drawing:
    """Draw the figure `name` of the catalogue from `records`, for 'paper' or 'slide'.

    Raises `InputError` for an unknown plot or size, and where the records do not make that figure.
    """
    if name not in PLOTS:
        raise InputError(f"unknown plot {name!r}{nearest(name, PLOTS)}")
    if size not in SIZES:
        raise InputError(f"unknown figure size {size!r}; expected one of: {', '.join(SIZES)}")
    return PLOTS[name].function(records, SIZES[size])


def save_plot(name: str, records: Sequence[Record], path: Path, size: str = "paper") -> list[Path]:
    """Draw one figure to `path` with the suffixes .pdf and .png, and its caption to .txt; returns the three paths.

    Raises `InputError` as `draw`, and where the folder is not writable.
    """
    return save(draw(name, records, size), path)
