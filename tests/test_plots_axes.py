"""What stands along an axis: numbers, names of places, lines across a lone one."""

import numpy as np
import pytest
from made import made
from matplotlib.figure import Figure

from dmdlab.plots import draw
from dmdlab.plots.axes import across, log_ticks, place_names, swept_axis
from dmdlab.records.cells import setting_label


@pytest.mark.parametrize(
    ("low", "high", "numbers"),
    [
        (0.5, 2000.0, None),
        (0.9, 11.0, None),
        (2.0, 9.0, [2, 5]),
        (0.3, 3.0, [0.3, 1, 3]),
        (0.31, 2.9, [0.5, 1, 2]),
        (1.02, 1.13, [1.02, 1.05, 1.08, 1.11]),
    ],
)
def test_numbers_on_a_logarithmic_axis_are_few_and_round(low: float, high: float, numbers: list[float] | None) -> None:
    axes = Figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    log_ticks(axes.yaxis)
    axes.figure.draw_without_rendering()
    assert not any(label.get_text() for label in axes.yaxis.get_minorticklabels())
    told = [label.get_text() for label in axes.yaxis.get_majorticklabels()]
    assert all("10^" in text for text in told) if numbers is None else told == [f"{number:g}" for number in numbers]


def test_lines_of_a_lone_place_have_a_length() -> None:
    """Across the panel of a single place; beside its place where other places have no value; else as they are."""
    axes = Figure(figsize=(3, 2)).subplots()
    for dims, share in (((8,), 1.0), ((8, 64), 0.24)):
        swept_axis(axes, "law.dim", dims)
        at, low, high = across(axes, [8.0], [0.25], [0.5])
        ends = axes.transData.transform([(x, 0) for x in at])[:, 0]
        assert np.ptp(ends) / axes.get_window_extent().width == pytest.approx(share)
        assert at[0] < 8 < at[1]
        assert (low, high) == ([0.25, 0.25], [0.5, 0.5])
    assert across(axes, [8.0, 64.0], [1.0, 2.0]) == ([8.0, 64.0], [1.0, 2.0])
    alone = draw("dimension", [made("mixture", 8)]).figure
    (ceiling,) = alone.findobj(lambda artist: artist.get_gid() == "ceiling")
    assert np.ptp(ceiling.get_xdata()) > 0


def test_a_setting_that_a_run_lacks_is_none() -> None:
    assert place_names("terms.gan.weight", [0.5, None]) == [["0.5"], ["none"]]
    assert setting_label("terms.gan.weight", None) == "terms.gan.weight = none"
