"""Axes that several figures share: dimension, values with an honest zero, a measure's guide lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dmdlab.pairing.glossary import Metric
from dmdlab.plots.style import GREY, Size

LINEAR_BELOW = 0.1
"""`zero_log_axis` is logarithmic above this value and linear from there down to 0, which a logarithm cannot show."""


def guide_lines(axes: Axes, metric: Metric, scale: Size) -> None:
    """The measure's guides, each a thin line with its name at the right end: above the best value, else below, since
    values that mean nothing gather on the line of chance."""
    for value, name in metric.guides:
        axes.axhline(value, color=GREY, linewidth=scale.line * 0.5, zorder=1, gid="guide")
        lift, side = (0.12, "bottom") if value == metric.best else (-0.35, "top")
        line_name(axes, name, value, (0, lift * scale.font), ha="right", va=side, fontsize=0.8 * scale.font)


def line_name(axes: Axes, text: str, value: float, shift: tuple[float, float], **style: Any) -> None:
    """A line's name at the right edge of the panel, at the height of `value`, shifted by so many points."""
    places: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(text, (1, value), shift, color=GREY, **places, **style)


def dimension_axis(axes: Axes, dims: Sequence[int]) -> None:
    """A base-2 logarithmic x axis with a tick at each of `dims` (ascending) and nowhere else.

    A number stands at the first, the last, and at those between that keep a readable distance.
    """
    octaves = max(1.0, float(np.log2(dims[-1] / dims[0])))
    numbered = [dims[0]]
    for dim in dims[1:-1]:
        if min(np.log2(dim / numbered[-1]), np.log2(dims[-1] / dim)) >= 0.17 * octaves:
            numbered.append(dim)
    numbered.append(dims[-1])
    margin = 2.0 ** (0.19 * octaves)
    axes.set_xscale("log", base=2)
    axes.set_xlim(dims[0] / margin, dims[-1] * margin)
    axes.xaxis.set_major_locator(FixedLocator(list(dims)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda d, _: f"{d:.0f}" if round(d) in numbered else ""))
    axes.xaxis.set_minor_locator(NullLocator())


def zero_log_axis(axes: Axes, largest: float) -> None:
    """A y axis from 0 to `largest`: linear up to `LINEAR_BELOW` (shaded), logarithmic above."""
    top = max(1.0, 1.7 * largest)
    axes.set_yscale("symlog", linthresh=LINEAR_BELOW, linscale=0.6)
    axes.set_ylim(-0.012, top)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *10.0 ** np.arange(-1, np.floor(np.log10(top)) + 1)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axhspan(-0.012, LINEAR_BELOW, color="#F2F2F2", zorder=0, linewidth=0, gid="linear part")


def value_axis(axes: Axes, metric: Metric, values: np.ndarray, ends: np.ndarray) -> None:
    """A linear y axis that holds every finite value, the measure's guides, and the ends of intervals.

    An end counts up to the measure's range, and no further than half the extent of the values beyond them: a long
    interval may leave the panel, a value never does.
    """
    shown = np.append(values[np.isfinite(values)], [value for value, _ in metric.guides])
    if not len(shown):
        return
    beyond = 0.5 * float(np.ptp(shown))
    lowest, highest = max(metric.lowest, shown.min() - beyond), min(metric.highest, shown.max() + beyond)
    shown = np.append(shown, np.clip(ends[np.isfinite(ends)], lowest, highest))
    margin = 0.1 * float(np.ptp(shown)) or 0.1
    axes.set_ylim(shown.min() - margin, shown.max() + margin)
