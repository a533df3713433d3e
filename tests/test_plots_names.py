"""Names in figures: those of lines where nothing of the runs is drawn over them; figures of a width hold theirs."""

import numpy as np
import pytest
from made import made
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dmdlab.config import InputError
from dmdlab.pairing import METRICS
from dmdlab.plots import Choice, draw
from dmdlab.plots.axes import guide_lines
from dmdlab.plots.names import NAME, clear_names, crowded
from dmdlab.plots.style import PAPER, SLIDE, new_figure


def panel(*bars: float) -> tuple[Figure, Axes]:
    """A narrow panel of pair_cosine with places at 0 and 1, and intervals across the line of chance at these."""
    with new_figure(1.4, 1.5, PAPER) as figure:
        axes = figure.subplots()
        axes.set(xlim=(-0.2, 1.2), ylim=(-1, 1.2), xticks=[0, 1])
        guide_lines(axes, METRICS["pair_cosine"], PAPER)
        for x in bars:
            axes.vlines(x, -0.9, 0.9, gid="teacher interval")
    clear_names(figure)
    return figure, axes


@pytest.mark.parametrize(
    ("bars", "x", "side"),
    [((), 1.0, "right"), ((0.0,), 1.0, "right"), ((1.0,), 0.02, "left"), ((0.0, 1.0), 0.5, "center")],
)
def test_a_name_stands_where_no_interval_strikes_it(bars: tuple[float, ...], x: float, side: str) -> None:
    figure, axes = panel(*bars)
    (name,) = (text for text in axes.texts if text.get_gid() == NAME)
    assert name.get_text() == "chance"
    assert name.xy[0] == pytest.approx(x)  # type: ignore[attr-defined]
    assert name.get_horizontalalignment() == side
    box = name.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    for at in bars:
        assert not box.x0 <= axes.transData.transform((at, 0))[0] <= box.x1
    assert axes.get_window_extent().x0 <= box.x0 < box.x1 <= axes.get_window_extent().x1 + 1


@pytest.mark.parametrize("gid", ["teacher line", "teacher seeds", "planted 30"])
def test_marks_and_lines_of_runs_count_and_guides_do_not(gid: str) -> None:
    with new_figure(1.4, 1.5, PAPER) as figure:
        axes = figure.subplots()
        axes.set(xlim=(-0.2, 1.2), ylim=(-1, 1.2), xticks=[0, 1])
        guide_lines(axes, METRICS["pair_cosine"], PAPER)
        kind = "o" if gid == "teacher seeds" else "-"
        axes.plot(np.linspace(0.7, 1.2, 6), np.full(6, -0.1), kind, gid=gid)  # through the name
    clear_names(figure)
    (name,) = (text for text in axes.texts if text.get_gid() == NAME)
    assert (name.get_horizontalalignment() == "right") == (gid == "planted 30")


def test_a_name_leaves_a_band_but_for_no_line_and_stays_within_the_panel() -> None:
    def stands(*lines: float) -> str:
        with new_figure(1.4, 1.5, PAPER) as figure:
            axes = figure.subplots()
            axes.set(xticks=[-0.9, 0.9, 2.0], ylim=(-1, 1.2))  # places between which no name fits
            guide_lines(axes, METRICS["pair_cosine"], PAPER)
            axes.fill_between([0.6, 1.0], -0.9, 0.9, gid="student band")
            for x in lines:
                axes.vlines(x, -0.9, 0.9, gid="teacher interval")
            axes.set_xlim(0, 1)
        clear_names(figure)
        return next(text.get_horizontalalignment() for text in axes.texts if text.get_gid() == NAME)

    assert (stands(), stands(0.1), stands(0.1, 0.9)) == ("left", "right", "left")


@pytest.mark.parametrize(("width", "inches", "across"), [("column", 3.25, 1), ("4", 4.0, 2)])
def test_a_figure_has_the_width_asked_for_and_the_panels_that_fit(width: str, inches: float, across: int) -> None:
    two = Choice(measures=("pair_cosine", "pair_auc"))
    figure = draw("axis", [made("mixture", dim) for dim in (2, 8)], choice=two, width=width).figure
    assert figure.get_figwidth() == inches
    assert len({round(axes.get_position().x0, 3) for axes in figure.axes}) == across
    assert figure.axes[0].title.get_fontsize() == pytest.approx(0.95 * PAPER.font)  # type stays


def test_a_width_that_is_none_or_too_small_for_a_plot_is_refused() -> None:
    for width in ("wide", "1", "nan", "inf", "-3"):
        with pytest.raises(
            InputError, match=rf"--width {width}: expected column .3.25 inches., text .6.75., or inches"
        ):
            PAPER.at(width)
    assert (SLIDE.at("text").double, SLIDE.at("column").double) == (SLIDE.double, SLIDE.single)
    with pytest.raises(InputError, match=r"--width column: names in the plot 'panels' .* collide at 3.25 inches"):
        draw("panels", [made("mixture", 2)], width="column")


@pytest.mark.parametrize(("title", "full"), [("short", False), ("a title that is longer than its panel", True)])
def test_titles_that_meet_are_noticed(title: str, full: bool) -> None:
    with new_figure(3.0, 1.5, PAPER) as figure:
        for axes in figure.subplots(1, 2):
            axes.set_title(title)
    assert crowded(figure) == full
