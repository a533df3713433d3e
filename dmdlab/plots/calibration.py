"""Calibration: what each measure reads when the remapping is known, against the planted angle, one line a dimension.

The student is the teacher after turning the noise by theta in d/2 random planes, so its law is exact and the amount of
remapping is the same at every d. Lines that lie on each other mean that the measure says the same at every dimension;
their spread, the *drift*, is what a sweep over d would mistake for an effect.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dmdlab.config import InputError
from dmdlab.pairing import METRICS, Metric
from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.glossary import PAIRING_KEYS
from dmdlab.plots import captions
from dmdlab.plots.axes import LINEAR_BELOW, across, guide_lines, line_name, zero_log_axis
from dmdlab.plots.names import clear_names
from dmdlab.plots.style import GREY, PAPER, Drawing, Size, new_figure
from dmdlab.records.record import Calibrated, Record

LEVELS_DEGREES = (90.0, 15.0, 30.0, 60.0)
"""Planted angles that a figure along a setting shows behind its values; 0 degrees is the best value itself.
The first ones get their names first."""

LEVELLED = (*PAIRING_KEYS, "local_cosine")
"""Measures that a turn of the noise changes."""

DRIFT_DEGREES = 90.0
"""The drift is taken up to here; beyond a right angle nothing of the pairing is left to measure."""

PANELS = ("delta_e", "copy_index", "pair_cosine", "pair_auc", "local_cosine", "recall_at_1", "identity_fraction")
"""The first six of these that a calibration holds are shown: older ones know nothing of local_cosine."""


def calibration_figure(records: Sequence[Record | Calibrated], scale: Size = PAPER) -> Drawing:
    """Six measures against the planted angle for one law, a line a dimension, the band from basis to basis.

    Raises `InputError`: no calibration among `records`, or more than one law, flow or sample size.
    """
    distinct = once(records)
    if not distinct:
        raise InputError(
            "nothing to draw: no calibration in these records; `dmdlab calibrate FILE` makes it without training"
        )
    _same_setting(distinct)
    found = by_dimension(distinct)
    with new_figure(scale.double, min(scale.height, 0.62 * scale.double), scale) as figure:
        grid = figure.subplots(2, 3, sharex=True)
        for axes, key, letter in zip(grid.flat, panels(found), "abcdef", strict=True):
            _draw(axes, METRICS[key], found, scale)
            share = drift_over_dimension(key, found)
            told = "unknown" if np.isnan(share) else f"{100 * share:.0f} %"
            axes.set_title(f"({letter})" if len(found) == 1 else f"({letter}) drift over $d$: {told}", loc="left")
        for axes in grid[-1]:
            axes.set_xlabel(r"planted angle $\theta$ (degrees)")
        handles = [Line2D([], [], color=colour, label=f"$d = {d}$") for d, colour in _colours(found).items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=9, handlelength=1.1, columnspacing=1.0)
    clear_names(figure)
    return Drawing(figure, _caption(distinct, found))


def draw_levels(
    axes: Axes,
    found: Mapping[float, Sequence[Calibration]],
    key: str,
    scale: Size,
    angles: Sequence[float] = LEVELS_DEGREES,
    colour: str = GREY,
    named: list[float] | None = None,
    course: str = "default",
) -> None:
    """The values of a measure at planted `angles` along an axis of settings, a dotted line each with its angle at the
    right: what a sweep's values would be under known remaps. Nothing where no calibration holds the measure, and for
    one of the law alone, which the remaps leave as it is.

    Call it when the axis has its scale and limits: an angle whose place another one takes stays without a name. Where
    chance is a number, the right angle is that number's own line and is left out.

    found: the calibrations at each place of the x axis.
    named: the heights, in points, of the names that stand in the panel; it grows.
    course: matplotlib's drawstyle, of the lines from place to place.
    """
    held = {place: [c for c in own if key in LEVELLED and key in c.planted] for place, own in found.items()}
    at, named = [place for place, own in held.items() if own], [] if named is None else named
    for angle in angles if at else ():
        if angle == DRIFT_DEGREES and METRICS[key].chance_at(2) is not None:
            continue
        values = [float(np.mean([c.at(key, angle) for c in held[place]])) for place in at]
        style = {"color": colour, "lw": 0.5 * scale.line, "ls": (0, (1, 1)), "zorder": 1, "gid": f"planted {angle:g}"}
        axes.plot(*across(axes, at, values), ds=course, scalex=False, scaley=False, **style)  # type: ignore[arg-type]
        height = float(axes.transData.transform((at[-1], values[-1]))[1]) * 72 / axes.figure.dpi  # points
        if all(abs(height - other) > 1.1 * scale.small for other in named):
            named.append(height)
            small = {"fontsize": scale.small, "va": "center", "annotation_clip": True, "color": colour}
            line_name(axes, f"{angle:g}°", values[-1], (0.2 * scale.font, 0), **small)


def levels_in_words(records: Sequence[Record | Calibrated], angles: Sequence[float]) -> str:
    """What the lines of `draw_levels` at these angles are, for the caption; empty where there are none."""
    if all(r.row.get("calibration") is None for r in records):
        return ""
    listed = ", ".join(f"{angle:g}" for angle in sorted(angles))
    return (
        f"Dotted: the same measure for the teacher itself after turning its noise by {listed} degrees in d/2 random "
        "planes, no student trained. "
    )


def once(records: Sequence[Record | Calibrated]) -> list[Calibrated]:
    """The calibrations that the records hold, one of each, by dimension."""
    distinct = {r.row["calibration"]: r for r in records if r.row.get("calibration") is not None}
    held = [(r.row, r.calibration()) for r in distinct.values()]
    return sorted((Calibrated(row, c) for row, c in held if c is not None), key=lambda c: int(c.row["law.dim"]))


def by_dimension(calibrated: Sequence[Calibrated]) -> dict[int, list[Calibration]]:
    """The same by dimension, ascending: one each, or one for each trained teacher."""
    dims = dict.fromkeys(int(c.row["law.dim"]) for c in calibrated)
    return {dim: [c.found for c in calibrated if c.row["law.dim"] == dim] for dim in dims}


def curve(key: str, calibrations: Sequence[Calibration]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A measure's lowest, mean and highest value over bases and teachers at each planted angle, each (a,), of those
    that hold it, one or more."""
    values = np.concatenate([c.planted[key] for c in calibrations if key in c.planted], axis=1)  # (a, bases of all)
    return values.min(axis=1), values.mean(axis=1), values.max(axis=1)


def panels(found: Mapping[int, Sequence[Calibration]]) -> list[str]:
    """The six measures to show: of `PANELS`, those that a calibration holds come first."""
    held = {key for key in PANELS for own in found.values() for c in own if np.isfinite(c.curve(key)).any()}
    return sorted(PANELS, key=lambda key: key not in held)[:6]


def drift_over_dimension(key: str, found: Mapping[int, Sequence[Calibration]]) -> float:
    """How far a measure depends on d at the same remapping: its largest spread over d at one angle up to 90 degrees,
    as a share of its range over these angles at all d; NaN where only one of several holds it."""
    held = [own for own in found.values() if not _lacks(key, own)]
    if len(held) < min(2, len(found)):
        return float("nan")
    angles = held[0][0].angles_degrees
    means = np.array([curve(key, c)[1][angles <= DRIFT_DEGREES] for c in held])  # (dims, angles)
    whole = np.nanmax(means) - np.nanmin(means)
    return float(np.nanmax(np.nanmax(means, axis=0) - np.nanmin(means, axis=0)) / whole) if whole > 0 else 0.0


def _lacks(key: str, calibrations: Sequence[Calibration]) -> bool:
    """Whether none of them holds the measure."""
    return all(key not in c.planted for c in calibrations)


def _same_setting(records: Sequence[Calibrated]) -> None:
    """Raises InputError unless the calibrations differ in dimension and seed only."""
    keys = dict.fromkeys(key for record in records for key in record.row if "." in key)
    for key in (key for key in keys if key not in ("law.dim", "law.side")):
        values = list(dict.fromkeys(str(r.row.get(key)) for r in records))
        if len(values) > 1:
            raise InputError(
                f"the calibrations differ in {key} ({', '.join(values)}), and one figure compares dimensions only; "
                f"choose one with {key}=VALUE"
            )


def _colours(found: Mapping[int, object]) -> dict[int, Any]:
    """A colour a dimension, from light to dark along a map that grey printers keep in order."""
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.12, 1.0, len(found)))
    return dict(zip(found, shades, strict=True))


def _draw(axes: Axes, metric: Metric, found: Mapping[int, Sequence[Calibration]], scale: Size) -> None:
    """One measure: the mean over bases with the band from the lowest to the highest, for every dimension."""
    guide_lines(axes, metric, scale)
    largest = 0.0
    for d, colour in _colours(found).items():
        angles = found[d][0].angles_degrees
        if _lacks(metric.key, found[d]):
            continue
        low, mean, high = curve(metric.key, found[d])
        axes.fill_between(angles, low, high, color=colour, alpha=0.2, linewidth=0, gid="bases")
        axes.plot(angles, mean, color=colour, gid=f"d = {d} line")
        largest = max(largest, float(np.nanmax(high, initial=0.0)))
    if metric.scale == "zero_log":
        zero_log_axis(axes, largest)
    axes.set_ylabel(metric.label)
    axes.set_xlim(0, 180)
    axes.set_xticks([0, 30, 60, 90, 120, 150, 180])
    axes.axvline(DRIFT_DEGREES, color="#BBBBBB", lw=0.5 * scale.line, zorder=0, gid="right angle")


def _caption(records: Sequence[Calibrated], found: Mapping[int, Sequence[Calibration]]) -> str:
    lacking = {key: [str(d) for d, own in found.items() if _lacks(key, own)] for key in panels(found)}
    without = "".join(
        f"No line of {key} for d = {', '.join(dims)}, whose calibration lacks it. "
        for key, dims in lacking.items()
        if dims
    )
    compared = (
        f"Drift over d: the largest difference between dimensions at one angle up to {DRIFT_DEGREES:.0f} degrees, as a "
        "share of the measure's range; 0 % means that the measure says the same at every dimension. remap_angle reads "
        "the angle off the curve of pair_cosine at the run's own d, so it has no drift."
    )
    compared = compared if len(found) > 1 else f"One dimension, d = {next(iter(found))}, has no drift over d."
    bases = sum(c.planted["delta_e"].shape[1] for c in next(iter(found.values())))
    return (
        f"Calibration by planted remaps, law {captions.column_in_words(records, 'law.name')}, no student trained: the "
        "student is the teacher after turning the noise by theta in d/2 random planes, so its law is the teacher's "
        f"at every theta. Lines: mean over {bases} random bases; bands: lowest to highest. {compared} The delta_e axis "
        f"is linear below {LINEAR_BELOW:g}. {without}{captions.setup(records)} {captions.made_on(records)} "
        f"Calibrations: {' '.join(str(r.row['calibration']) for r in records)}."
    )
