"""Axes that several figures share: a swept setting, values with an honest zero, a measure's guide lines."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from dmdlab.config import known_keys
from dmdlab.pairing.glossary import Metric
from dmdlab.plots.names import NAME
from dmdlab.plots.style import GREY, LETTER, Size
from dmdlab.records.cells import SHORT, parts, short
from dmdlab.records.layout import numeric, usual

LINEAR_BELOW = 0.1
"""`zero_log_axis` is logarithmic above this value and linear from there down to 0, which a logarithm cannot show."""


DEGREES = (0, 30, 60, 90)


def guide_lines(axes: Axes, metric: Metric, scale: Size) -> None:
    """The measure's guides, each a thin line with its name at the right end: above the best and the highest value, else
    below, since values that mean nothing gather on the line of chance. Where two lie close together, the second has
    no name."""
    readable, named = 0.1 * abs(float(np.subtract(*axes.get_ylim()))), list[float]()
    for value, name in metric.guides:
        axes.axhline(value, color=GREY, linewidth=scale.line * 0.5, zorder=1, gid="guide")
        lift, side = (
            (0.12 if value == metric.best else 0.5, "bottom")
            if value in (metric.best, metric.highest)
            else (-0.35, "top")
        )
        if name and all(abs(value - other) >= readable for other in named):
            named.append(value)
            style = {"ha": "right", "va": side, "fontsize": scale.small, "gid": NAME}
            line_name(axes, name, value, (0, lift * scale.font), **style)


def line_name(axes: Axes, text: str, value: float, shift: tuple[float, float], **style: Any) -> None:
    """A line's name at the right edge of the panel, at the height of `value`, shifted by so many points."""
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "color": GREY}
    axes.annotate(text, (1, value), shift, **where | style)


NAMED_BELOW = 0.17
"""The share of a panel of a row of a figure that the name below a line takes."""

LONE = 0.12
"""Half the length, as a share of the panel, of a line that has a value at one of several places only."""


def across(axes: Axes, at: Sequence[float], *values: Sequence[float]) -> tuple[Sequence[float], ...]:
    """Places and values of lines along an axis of settings, as they are where places are several. A lone place would
    give a line without length: it runs across the panel where it is the axis's only one, and a little way beside its
    place else."""
    if len(at) != 1:
        return (at, *values)
    left, right = axes.transAxes.transform([(0, 0), (1, 0)])[:, 0]
    place = axes.transData.transform((at[0], axes.get_ylim()[1]))[0]
    if len(axes.get_xticks()) > 1:
        half = LONE * (right - left)
        left, right = place - half, place + half
    ends = axes.transData.inverted().transform([(left, 0), (right, 0)])[:, 0]
    return (ends.tolist(), *([*own, *own] for own in values))


def fit_label(axes: Axes, height: float, scale: Size) -> None:
    """Make the name of the y axis fit into so many inches, in two lines where one would be too small to read."""
    label, words = axes.yaxis.label, axes.get_ylabel().split(" ")

    def fitting(text: str) -> float:
        longest = max(len(line.replace("$", "").replace("\\Delta", "D")) for line in text.split("\n"))
        return min(float(label.get_fontsize()), 72 * height / (LETTER * longest))

    if fitting(label.get_text()) < scale.small:
        breaks = (" ".join(words[:at]) + "\n" + " ".join(words[at:]) for at in range(1, len(words)))
        label.set_text(max(breaks, key=fitting, default=label.get_text()))
    label.set_fontsize(fitting(label.get_text()))


KEPT = "\N{NO-BREAK SPACE}"

MARGIN = 0.19
"""The share of an axis of settings that is free at either end."""

ASIDE = 0.6
"""Places of settings that change together that an axis leaves free at either end."""

LINE = 1.2
"""The height of a line of text, in font sizes."""

DECADE = 10
"""A setting whose largest value is at least so many times its smallest stands on a logarithmic axis (ours)."""


def places(values: Sequence[Any]) -> dict[Any, float]:
    """Where each value of a setting stands on its axis: a number at itself, words in their order at 0, 1, 2 ..."""
    return {value: float(value) if numeric(values) else float(place) for place, value in enumerate(values)}


TOGETHER = "settings that change together"
"""What stands along such an axis."""

BASE = "base"
"""The name of the place where each of them has its usual value."""

STANDING = 5
"""Lines of a place's name that stands level, at most."""


class Names(NamedTuple):
    """Names of places in lines: the texts, their rotation in degrees, their height in inches."""

    texts: list[str]
    rotation: float
    height: float


def place_names(key: str, values: Sequence[Any]) -> list[list[str]]:
    """What names each place of an axis, piece by piece: its value; of settings that change together, those that are
    not as `usual`, without their section where no other setting is called so."""
    if len(keys := parts(key)) == 1:
        return [[short(value)] for value in values]
    columns = list(zip(*values, strict=True))
    common, names = [usual(column) for column in columns], _called(keys)

    def piece(name: str, value: object) -> str:
        return f"no {name}" if value is None else f"{name} {short(value)}"

    found = [
        [piece(name, v) for name, v, own in zip(names, value, common, strict=True) if v not in (own or [None])]
        for value in values
    ]
    return [pieces or [BASE] for pieces in found]


def _called(keys: Sequence[str]) -> list[str]:
    """Settings without their sections: the student's where no other of these is called so, others' where none at all
    is: 'warmup', 'fake_score.iterations', 'gan.weight'."""
    all_ends, ends = ([key.rpartition(".")[2] for key in found] for found in ({*known_keys(), *keys}, keys))
    found = []
    for key, end in zip(keys, ends, strict=True):
        alone = (ends if key.startswith("student.") else all_ends).count(end) == 1
        found.append(SHORT.get(key, end if alone else key.removeprefix("terms.")))
    return found


def wrapped_names(names: Sequence[Sequence[str]], room: float, font: float, high: float) -> Names:
    """Names of places that stand so many inches apart, each a list of pieces: level where `STANDING` lines hold each;
    else upright, in one line, or in more where one is longer than `high` inches and there is room."""
    letters, most = (max(1, int(72 * room / (share * font))) for share in (1.1 * LETTER, LINE))
    level = [_standing(pieces, letters) for pieces in names]
    if max(map(len, level)) <= STANDING and max(len(line) for lines in level for line in lines) <= letters:
        return Names(["\n".join(lines) for lines in level], 0.0, max(map(len, level)) * LINE * font / 72)
    texts = [", ".join(piece.replace(" ", KEPT) for piece in pieces) for pieces in names]
    for count in range(1, most + 1):
        upright = [_in_lines(text, count) for text in texts]
        height = max(len(line) for lines in upright for line in lines) * LETTER * font / 72
        if height <= high:
            break
    return Names(["\n".join(lines).replace(KEPT, " ") for lines in upright], 90.0, height)


def _standing(pieces: Sequence[str], letters: int) -> list[str]:
    """The pieces one below the other, in lines of so many letters where that can be: broken after a section, too."""
    found = []
    for place, piece in enumerate(pieces, 1):
        words = re.sub(r"\.(?=[a-z])", ". ", piece) + ("," if place < len(pieces) else "")
        found += [line.replace(". ", ".") for line in _lines(words, letters)]
    return found


def _in_lines(text: str, count: int) -> list[str]:
    """The text in at most so many lines, as short as they can be."""
    return next(lines for width in range(1, len(text) + 1) if len(lines := _lines(text, width)) <= count)


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def swept_axis(axes: Axes, key: str, values: Sequence[Any], aside: float = MARGIN) -> None:
    """An x axis with a tick at each of `values` (as of `distinct`) and nowhere else; logarithmic for dimensions, and
    for positive numbers that span a factor of `DECADE`.

    A number stands at the first, the last, and at those between that keep a readable distance. aside: the share of the
    axis that is free at either end, for what stands beside a place.
    """
    at = np.array(list(places(values).values()))
    log = numeric(values) and at[0] > 0 and (key == "law.dim" or at[-1] >= DECADE * at[0])
    steps = np.log2(at) if log else at  # readable distances are those on the page
    span = float(np.ptp(steps)) or 1.0
    margin = aside * max(1.0, span) if log else ASIDE if len(parts(key)) > 1 else aside * span
    numbered, names = [0], [", ".join(pieces) for pieces in place_names(key, values)]

    def apart(a: int, b: int) -> bool:
        letters = (len(names[a]) + len(names[b])) / 2
        wider = (1 + 2 * aside) / (1 + 2 * MARGIN)
        return bool(steps[b] - steps[a] >= max(0.17, 0.055 * (letters + 1)) * wider * span)  # of four panels in a row

    for place in range(1, len(at) - 1):
        if not numeric(values) or (apart(numbered[-1], place) and apart(place, len(at) - 1)):
            numbered.append(place)
    shown = {*numbered, len(at) - 1}
    ends = np.array([steps[0] - margin, steps[-1] + margin])
    if log:
        axes.set_xscale("log", base=2)
    left, right = (float(2.0**end if log else end) for end in ends)
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(FixedLocator(list(at)))
    axes.xaxis.set_major_formatter(FixedFormatter([name if i in shown else "" for i, name in enumerate(names)]))
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


def log_ticks(axis: Axis) -> None:
    """Numbers along a logarithmic axis, as far as it is in view, that stay apart: powers of ten where it holds two of
    them, else 1 and 3 times these, or 1, 2 and 5 times, or a few round ones. (Matplotlib's own touch over one
    decade.)"""
    low, high = axis.get_view_interval()
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    between = [np.outer(powers, steps).ravel() for steps in ((1, 3), (1, 2, 5))]
    for at in (powers, *between, np.asarray(MaxNLocator(4).tick_values(low, high))):
        seen = at[(at >= low) & (at <= high)]
        if len(seen) > 1:
            break
    if at is not powers:
        axis.set_major_locator(FixedLocator(seen.tolist()))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def value_axis(axes: Axes, metric: Metric, values: np.ndarray, ends: np.ndarray) -> None:
    """A linear y axis that holds every finite value, the measure's guides with their names, and the ends of intervals.

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
    bottom, top = shown.min() - margin, shown.max() + margin
    below = [value for value, name in metric.guides if name and value not in (metric.best, metric.highest)]
    for value in below:  # its name stands above the axis
        bottom = min(bottom, value - NAMED_BELOW / (1 - NAMED_BELOW) * (top - value))
    axes.set_ylim(bottom, top)
    if metric.key == "remap_angle":
        degree_axis(axes)


def degree_axis(axes: Axes) -> None:
    """A y axis from 0 to 90 degrees, with room for the name of its upper guide."""
    axes.set_ylim(-0.1 * DEGREES[-1], 1.18 * DEGREES[-1])
    axes.yaxis.set_major_locator(FixedLocator(DEGREES))
