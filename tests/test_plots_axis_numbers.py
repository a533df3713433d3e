"""The numbers beside a figure along a setting, against what is drawn."""

import csv
from pathlib import Path

import numpy as np
import pytest
from made import Made, made
from matplotlib.markers import CARETDOWN, CARETUP
from test_plots_axis import RATES, Calibrated, calibrated, drawn, rates, renamed

from dmdlab.plots import Choice, Drawing, draw, save


def test_the_numbers_beside_a_figure_are_those_of_its_marks(tmp_path: Path) -> None:
    own = {"student__learning_rate": RATES[0], "fidelity": 3.0}
    unresolved = renamed(made(dim=2, seed=7, pair_cosine=None, **own), "no pairing told")
    of_bad_teacher = renamed(made(dim=8, seed=7, ok=False, **own), "bad teacher")
    choice = Choice("student.learning_rate", "law.dim", measures=("delta_e", "pair_cosine"))
    drawing = draw("axis", [*rates(fidelity=3.0), unresolved, of_bad_teacher], choice=choice)
    written = save(drawing, tmp_path / "rates.pdf")
    assert written[-1] == tmp_path / "rates-numbers.csv"
    with written[-1].open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["law.name", "law.dim", "student.learning_rate", "measure"]
    assert [row["measure"] for row in rows] == 6 * ["delta_e"] + 6 * ["delta_e_ceiling"] + 6 * ["pair_cosine"]
    for axes, key in zip(drawing.figure.axes, ("delta_e", "pair_cosine"), strict=False):
        for dim in ("2", "8"):
            mine = [row for row in rows if (row["measure"], row["law.dim"]) == (key, dim)]
            (line,) = drawn(axes, f"{dim} line")
            np.testing.assert_array_equal([float(row["mean"]) for row in mine], line.get_ydata())
            assert [float(row["student.learning_rate"]) for row in mine] == list(RATES)
            assert [row["other_law"] for row in mine].count("True") == len(drawn(axes, f"{dim} hollow")) == 3
            dots = [len(seeds.get_ydata()[~np.isnan(seeds.get_ydata())]) for seeds in drawn(axes, f"{dim} seeds")]
            assert [int(row["seeds"]) for row in mine] == dots
            assert [row["unresolved"] for row in mine] == [str(int((key, dim) == ("pair_cosine", "2"))), "0", "0"]
            assert [row["teachers_failed"] for row in mine] == [str(int(dim == "8")), "0", "0"]
            assert len(drawn(axes, f"{dim} teacher failed")) == int(dim == "8")  # one of three is enough
    save(Drawing(drawing.figure, "another figure in its place"), tmp_path / "rates")
    assert not written[-1].exists()
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in rows if row["low"])


def test_the_ceiling_is_the_mean_over_every_run_at_its_place_and_its_band_spans_them(tmp_path: Path) -> None:
    """Of both starts, with seeds of which mean and median differ."""
    read = {2: {"teacher": (9.0, 9.0, 30.0), "rotated": (7.0, 8.0, 9.0)}, 8: {"teacher": (1.0,), "rotated": (2.0,)}}
    runs = [
        renamed(made(dim=d, init=i, seed=s, delta_e=0.5, delta_e_ceiling=v), f"{d}{i}{s}")
        for d, starts in read.items()
        for i, values in starts.items()
        for s, v in enumerate(values)
    ]
    drawing = draw("axis", runs, choice=Choice("law.dim", "student.init", measures=("delta_e",)))
    (line,), (band,) = (drawn(drawing.figure, gid) for gid in ("ceiling", "ceiling band"))
    assert [line.get_ydata()[0], line.get_ydata()[-1]] == pytest.approx([12.0, 1.5])
    assert (band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()) == (1.0, 30.0)
    assert line.axes.get_ylim()[1] > 30.0  # far above every delta_e
    rows = [row for row in drawing.numbers if row["measure"] == "delta_e_ceiling"]
    assert [row["mean"] for row in rows] == pytest.approx(
        [16.0, 1.0, 8.0, 2.0]
    )  # teacher, then rotated, of each its own
    assert 0 < rows[0]["low"] < rows[0]["mean"] < rows[0]["high"]
    assert {row["mean"] for row in drawing.numbers if row["measure"] == "delta_e"} == {0.5}


def test_a_bound_is_told_in_numbers_and_caption_and_hollow_marks_are_white() -> None:
    runs = [
        renamed(made(init=i, remap_angle=90.0, fidelity=9.0 if i == "rotated" else 1.1, reason=why), i)
        for i, why in (("teacher", None), ("rotated", "a bound"))
    ]
    drawing = draw("axis", runs, choice=Choice("law.dim", "student.init", measures=("remap_angle",)))
    found = {row["student.init"]: (row["bound"], row["other_law"]) for row in drawing.numbers}
    assert found == {"teacher": (False, False), "rotated": (True, True)}
    (hollow,), (solid,) = drawn(drawing.figure, "rotated hollow"), drawn(drawing.figure, "teacher solid")
    assert hollow.get_markerfacecolor() == "white"
    assert solid.get_markerfacecolor() == solid.get_color() != hollow.get_color()
    said = "A remap angle of 90 degrees stands for 90 or more."
    assert said in drawing.caption
    assert said not in draw("axis", runs[:1], choice=Choice(measures=("remap_angle",))).caption


def test_a_caption_says_which_intervals_are_made_on_a_logarithmic_scale() -> None:
    runs = [renamed(made(dim=d, seed=s, delta_e_ceiling=3.0 + s), f"{d}{s}") for d in (2, 8) for s in (0, 1)]
    for measures, said in (
        (("delta_e",), "t-interval (of delta_e that of its logarithm, which cannot reach 0), "),
        (("delta_e_ceiling",), "t-interval (of delta_e_ceiling that of its logarithm, which cannot reach 0), "),
        (
            ("delta_e", "delta_e_ceiling"),
            "(of delta_e and delta_e_ceiling that of its logarithm, which cannot reach 0)",
        ),
        (("pair_cosine",), "95 % t-interval, ended"),
    ):
        caption = draw("axis", runs, choice=Choice(measures=measures)).caption
        assert said in caption
        assert ("The delta_e axis is linear below" in caption) == ("delta_e" in measures)
        assert ("The ceiling axis is linear below" in caption) == (measures == ("delta_e_ceiling",))


def test_an_interval_within_the_panel_is_drawn_whole_and_every_run_of_a_failed_teacher_is_counted() -> None:
    runs = [renamed(made(seed=s, pair_cosine=0.5 + s / 100, delta_e=3.0 + s / 9, ok=s == 1), f"{s}") for s in range(3)]
    drawing = draw("axis", runs, choice=Choice(measures=("pair_cosine", "delta_e")))
    drawn_ends = [lines.get_segments()[0][:, 1] for lines in drawn(drawing.figure, "teacher interval")]
    rows = [row for row in drawing.numbers if row["measure"] != "delta_e_ceiling"]
    assert len(rows) == 2
    for row, ends in zip(rows, drawn_ends, strict=True):
        assert ends.tolist() == pytest.approx([row["low"], row["high"]])
    half = 4.302653 * 0.01 / 3**0.5  # Student's, of two degrees of freedom
    assert drawn_ends[0].tolist() == pytest.approx([0.51 - half, 0.51 + half])
    assert "failed its own check (2 of 3)" in drawing.caption


def test_an_interval_ends_at_the_measures_range_and_the_panel_in_arrows_that_point_on() -> None:
    runs = [renamed(made(seed=s, copy_index=v), f"{s}") for s, v in enumerate((0.9, -0.5))]
    (axes,) = draw("axis", runs, choice=Choice(measures=("copy_index",))).figure.axes
    bottom, top = axes.get_ylim()
    assert top > 1.0
    arrows = [(arrow.get_ydata()[0], arrow.get_marker()) for arrow in drawn(axes, "teacher arrow")]
    assert arrows == [(bottom, CARETDOWN), (1.0, CARETUP)]
    (interval,) = drawn(axes, "teacher interval")
    assert interval.get_segments()[0][:, 1].tolist() == [bottom, 1.0]
    near = [renamed(made(seed=s, copy_index=v), f"{s}") for s, v in enumerate((0.5, 0.51))]
    assert not drawn(draw("axis", near, choice=Choice(measures=("copy_index",))).figure, "teacher arrow")


def own_calibrations(records: list[Made], key: str) -> list[Calibrated]:
    """Runs of which each value of a setting has a calibration of its own."""
    return [
        Calibrated(r.folder, r.summary | {"calibration": f"c{r.config[key]}"}, r.config, r.environment) for r in records
    ]


@pytest.mark.parametrize(
    ("by", "values"), [("network.width", (8, 16)), ("measure.samples", (500, 1000)), ("noise.sigma_max", (5.0, 80.0))]
)
def test_lines_with_calibrations_of_their_own_have_levels_of_their_own(by: str, values: tuple[float, ...]) -> None:
    """Fewer of them each; where the lines share one calibration, all levels once."""
    settings = [{by.replace(".", "__"): v, "student__learning_rate": r} for v in values for r in RATES]
    runs = [renamed(made(**own), f"{own}") for own in settings]
    choice = Choice("student.learning_rate", by, measures=("pair_cosine",))
    for records, count, angles in (
        (own_calibrations(runs, by), 2, (30, 60)),
        (calibrated(runs), 1, (15, 30, 60)),
    ):
        figure = draw("axis", records, choice=choice).figure
        assert [len(drawn(figure, f"planted {angle}")) for angle in (15, 30, 60)] == [
            count if angle in angles else 0 for angle in (15, 30, 60)
        ]


def test_the_ceiling_of_a_lone_line_is_black_and_that_of_each_of_several_has_its_colour() -> None:
    for dims, black in (((8,), True), ((2, 8), False)):
        figure = draw("axis", rates(dims), choice=Choice("student.learning_rate", "law.dim")).figure
        assert [line.get_color() == "black" for line in drawn(figure, "ceiling")] == [black] * len(dims)
