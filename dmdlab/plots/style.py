"""How every figure looks, and how it becomes a file.

Colours are those of Okabe and Ito ("Color Universal Design", 2008): told apart with every common colour vision. The
meaning of a colour is fixed, and a marker and a line style always say the same, so a figure survives a grey printer.
Type is STIX, which matplotlib ships, embedded as TrueType (Type 42): many journals refuse matplotlib's default Type 3.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dmdlab.config import InputError
from dmdlab.records.cells import setting_label, short
from dmdlab.records.layout import MOST_LINES
from dmdlab.records.writing import prepare, replacing, write_csv, write_text

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
GREY, PALE = "#6E6E6E", "#D9D9D9"


LETTER = 0.45
"""The width of a letter, in font sizes, roughly."""


NARROWEST = 0.7
"""Of a column, the width of the narrowest figure (ours)."""

MOST_INCHES = 40.0
"""The width of the widest, a poster's (ours)."""


@dataclass(frozen=True)
class Size:
    """Where a figure will stand.

    Attributes:
        slide: whether a slide and not a page.
        single, double: widths in inches of one column and of the page (on a slide: of a half and of the whole).
        height: greatest height in inches.
        row: wanted height in inches of one row of panels.
        rows: greatest number of rows of panels that stay legible.
        font, line, marker: text, line width and marker size in points.
        dpi: resolution of the PNG.
    """

    slide: bool
    single: float
    double: float
    height: float
    row: float
    rows: int
    font: float
    line: float
    marker: float
    dpi: int

    @property
    def small(self) -> float:
        """The smallest type in points: 7 on a page, as journals ask for; the same share of a slide's."""
        return 0.875 * self.font

    def at(self, width: str | None) -> "Size":
        """The same for figures of one width, whatever they show: inches as text, 'column' or 'text' (`single`,
        `double`); None: each figure's own. Type and lines keep their sizes. Raises `InputError` for another word."""
        if width is None:
            return self
        try:
            inches = {"column": self.single, "text": self.double}.get(width) or float(width)
        except ValueError:
            inches = math.nan
        least = self.single * NARROWEST
        if not least <= inches <= MOST_INCHES:
            raise InputError(
                f"--width {width}: expected column ({self.single:g} inches), text ({self.double:g}), or inches from "
                f"{least:g} to {MOST_INCHES:g}"
            )
        return replace(self, single=inches, double=inches)


PAPER = Size(False, 3.25, 6.75, 9.0, 1.55, 8, 8.0, 1.1, 4.2, 300)
"""Column widths of the two-column conference styles (ICML 3.25 / 6.75 in); captions there are 9 pt."""

SLIDE = Size(True, 6.6, 13.333, 7.5, 3.4, 3, 18.0, 2.4, 9.5, 144)
"""16:9 as presentation programs lay it out; 18 pt is read from the last row."""

SIZES = {"paper": PAPER, "slide": SLIDE}


@dataclass(frozen=True)
class LineStyle:
    """How the runs of one value are drawn, and its name in a legend."""

    label: str
    colour: str
    marker: str
    line: Any


INIT_STYLES: dict[str, LineStyle] = {
    "teacher": LineStyle("teacher init", BLUE, "o", "-"),
    "turned": LineStyle("turned init", "#E69F00", "D", (0, (6, 1.5, 1, 1.5))),
    "twisted": LineStyle("twisted init", "#CC79A7", "v", (0, (3, 1, 1, 1, 1, 1))),
    "rotated": LineStyle("rotated init", VERMILLION, "s", (0, (4, 1.5))),
    "other": LineStyle("another teacher's init", "#56B4E9", "P", (0, (8, 2))),
    "regressed": LineStyle("regressed init", "#8A6D00", "h", (0, (2, 2))),
    "transport": LineStyle("optimal transport init", "#6E4A9E", "X", (0, (5, 1.2, 1, 1.2, 1, 1.2))),
    "random": LineStyle("random init", GREEN, "^", (0, (1, 1.2))),
}
"""A student's start, everywhere."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "h")  # MOST_LINES of them
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 2)))


def line_styles(key: str, values: Sequence[Any]) -> dict[Any, LineStyle]:
    """A style for each value of a setting: a start has its own; others go from dark to light in their order.

    Raises `InputError` for more values than `MOST_LINES`.
    """
    if key == "student.init":
        return {init: INIT_STYLES[init] for init in values}
    if len(values) > MOST_LINES:
        listed = "; ".join(map(short, values))
        raise InputError(f"{len(values)} lines, one for each {key} ({listed}), do not fit; choose at most {MOST_LINES}")
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.78, len(values)))
    styles = zip(map(to_hex, shades), _MARKERS, _LINES, strict=False)
    return {value: LineStyle(in_figure(key, value), *style) for value, style in zip(values, styles, strict=False)}


def in_figure(key: str, value: object) -> str:
    """A setting with its value in a figure's type."""
    return f"${setting_label(key, value)}$" if key == "law.dim" else setting_label(key, value)


@dataclass(frozen=True)
class Drawing:
    """A figure and the plain text that belongs under it.

    Attributes:
        figure: it.
        caption: the text.
        numbers: what stands at its marks, a row a mark, where the figure is one of numbers.
    """

    figure: Figure
    caption: str
    numbers: Sequence[Mapping[str, Any]] = ()


@contextmanager
def new_figure(width: float, height: float, size: Size) -> Iterator[Figure]:
    """An empty figure in inches, independent of pyplot, in the style of all figures for as long as it is filled.

    Then it is laid out once, so that every file format shows the same positions. The caller's own settings stay, so the
    size of tick labels, on which their number depends, is given to the axes.
    """
    with matplotlib.rc_context(_settings(size)):
        figure = Figure(figsize=(width, height), dpi=size.dpi, layout="constrained")
        FigureCanvasAgg(figure)
        gap = size.font / 72 * 0.3
        figure.get_layout_engine().set(w_pad=gap, h_pad=gap, wspace=0.03, hspace=0.05)  # type: ignore[union-attr, call-arg]
        yield figure
        for axes in figure.axes:
            axes.tick_params(labelsize=0.9 * size.font)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _settings(size: Size) -> dict[Any, Any]:
    """The style as settings of matplotlib."""
    thin = size.line * 0.55
    return {
        "font.family": "STIXGeneral",
        "mathtext.fontset": "stix",
        "font.size": size.font,
        "axes.titlesize": size.font * 0.95,
        "axes.labelsize": size.font,
        "xtick.labelsize": size.font * 0.9,
        "ytick.labelsize": size.font * 0.9,
        "legend.fontsize": size.font * 0.95,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": thin,
        "xtick.major.width": thin,
        "ytick.major.width": thin,
        "xtick.major.size": size.font * 0.35,
        "ytick.major.size": size.font * 0.35,
        "lines.linewidth": size.line,
        "lines.markersize": size.marker,
        "figure.dpi": size.dpi,
        "axes.unicode_minus": True,
        **_FILES,
    }


_FILES: dict[Any, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42, "savefig.facecolor": "white"}


def save(drawing: Drawing, path: Path) -> list[Path]:
    """Write a drawing as `path`.pdf, `path`.png and `path`.txt, its caption, and what numbers it has as
    `path`-numbers.csv; returns these paths.

    A suffix .pdf or .png is dropped first; a missing folder is made, and another drawing's numbers do not stay. The
    same figure gives the same bytes: no dates are stored. Raises `InputError` when the folder is not writable.
    """
    stem = path.with_suffix("") if path.suffix in (".pdf", ".png") else path
    prepare(stem.parent)
    metadata: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
    figure, written = drawing.figure, []
    try:
        for kind, fields in metadata.items():
            written.append(stem.with_name(f"{stem.name}.{kind}"))
            with replacing(written[-1]) as partial, matplotlib.rc_context(_FILES):
                figure.savefig(partial, format=kind, dpi=figure.dpi, metadata=fields)
        written.append(stem.with_name(f"{stem.name}.txt"))
        write_text(written[-1], drawing.caption + "\n")
        numbers = stem.with_name(f"{stem.name}-numbers.csv")
        if drawing.numbers:
            written.append(numbers)
            write_csv(numbers, drawing.numbers)
        else:
            numbers.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {written[-1]}: {error.strerror or error}") from None
    return written
