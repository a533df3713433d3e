"""The figures of a sweep: what is drawn, what is marked, what is left out, and the bytes of the files."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Made, made
from matplotlib.figure import Figure
from matplotlib.text import Text

from dmdlab.config import InputError
from dmdlab.pairing import METRICS
from dmdlab.plots import PLOTS, draw, save, save_plot
from dmdlab.plots.clouds import WIDEST, Clouds, noise_colours
from dmdlab.plots.components import correlations, noise_directions, principal_frame
from dmdlab.plots.panels import has_plane
from dmdlab.plots.style import PAPER, SIZES, new_figure
from dmdlab.records.cells import cells_of_starts

INITS = ("teacher", "rotated")
POWERS = [rf"$\mathdefault{{10^{{{power}}}}}$" for power in (1, 2)]


def sweep(dims: Sequence[int] = (2, 8), seeds: int = 3, **values: Any) -> list[Made]:
    """Every run of a sweep, finished; `values` as of `made`, or functions of (dim, init, seed)."""
    found = []
    for place in itertools.product(dims, INITS, range(seeds)):
        own = {key: value(*place) if callable(value) else value for key, value in values.items()}
        found.append(made("mixture", *place, **own))
    return found


def marks(figure: Figure, gid: str) -> list[list[Any]]:
    """The artists of this name, panel by panel."""
    return [[a for a in axes.get_children() if a.get_gid() == gid] for axes in figure.axes]


def counts(figure: Figure, gid: str) -> list[int]:
    return [len(found) for found in marks(figure, gid)]


def smallest(figure: Figure) -> float:
    """Points of the smallest type that is seen."""
    return min(t.get_fontsize() for t in figure.findobj(Text) if t.get_text().strip())


def test_marks_are_hollow_exactly_where_fidelity_is_poor_or_unknown_and_panels_have_the_glossarys_labels() -> None:
    fidelity = {2: 1.8, 4: 1.2, 8: None}
    records = sweep((2, 4, 8), fidelity=lambda dim, init, _: fidelity[dim] if init == "teacher" else 1.1)
    figure = draw("dimension", records).figure
    shown = ("delta_e", "copy_index", "pair_cosine", "pair_auc")
    assert [axes.get_ylabel() for axes in figure.axes] == [METRICS[key].label for key in shown]
    for mark, expected in {"teacher hollow": 2, "teacher solid": 1, "rotated hollow": 0, "rotated solid": 3}.items():
        assert counts(figure, mark) == [expected] * 4
    assert counts(figure, "ceiling") == [1, 0, 0, 0]


def test_marks_are_hollow_by_the_calibrations_on_both_sides_and_the_caption_says_by_which_limits() -> None:
    fidelity = {2: 1.3, 4: 0.9, 8: 1.01}
    null = {2: {"fidelity": (0.7, 1.4)}, 4: {"fidelity": (0.95, 1.05)}, 8: {"fidelity": (0.98, 1.02)}}
    records = sweep((2, 4, 8), fidelity=lambda dim, *_: fidelity[dim], null=lambda dim, *_: null[dim])
    drawing = draw("dimension", records)
    assert (counts(drawing.figure, "teacher hollow"), counts(drawing.figure, "teacher solid")) == ([1] * 4, [2] * 4)
    assert "95 % of single runs of exactly the teacher's law" in drawing.caption
    assert "convention" not in drawing.caption
    both = draw("dimension", [*sweep((2,)), *sweep((4,), null=null[4])]).caption
    assert "; or mean fidelity unresolved, or outside 0.8 to 1.5 (a convention, for runs without such limits)" in both
    assert "95 % of single runs of exactly the teacher's law" in both
    older = draw("dimension", sweep((2,))).caption
    assert "outside 0.8 to 1.5 (a convention: these runs do not hold where equal laws fall)" in older


def test_failed_runs_and_unresolved_values_are_left_out_and_told() -> None:
    first, second, *rest = sweep()
    failed = made("mixture", 2, seed=0, status="failed")
    unresolved = made("mixture", 2, seed=1, copy_index=None)
    assert (first.config, second.config) == (failed.config, unresolved.config)
    drawing = draw("dimension", [failed, failed, unresolved, *rest])
    assert "1 failed run not drawn; 1 unresolved copy_index not drawn (teacher d = 2)" in drawing.caption
    assert [len(line.get_ydata()) for line in marks(drawing.figure, "teacher seeds")[1]] == [2, 3]


@pytest.mark.parametrize("size", ["paper", "slide"])
def test_every_seed_lies_in_the_frame_and_an_interval_ends_in_an_arrow_where_it_leaves(size: str) -> None:
    """Two seeds far apart: their t-interval reaches beyond 1, which no copy index does, and far below the panel."""
    far, near = (0.9, -0.5), (0.5, 0.51)
    records = sweep(seeds=2, copy_index=lambda *place: (far if place[:2] == (2, "teacher") else near)[place[2]])
    drawing = draw("dimension", records, size=size)
    assert smallest(drawing.figure) >= SIZES[size].small >= (7 if size == "paper" else 15)
    axes = drawing.figure.axes[1]
    frame, (bottom, top) = axes.get_window_extent(), axes.get_ylim()
    for init in INITS:
        for line in marks(drawing.figure, f"{init} seeds")[1]:
            assert all(frame.contains(*place) for place in line.get_transform().transform(line.get_xydata()))
    interval = cells_of_starts(records)[0].interval("copy_index")
    assert interval.low < bottom < -0.5
    assert 1.0 < top < interval.high
    assert [arrow.get_ydata()[0] for arrow in marks(drawing.figure, "teacher arrow")[1]] == [bottom, 1.0]
    assert not marks(drawing.figure, "rotated arrow")[1]
    assert "ended by an arrow" in drawing.caption


@pytest.mark.parametrize(
    ("name", "words"),
    [("dimension", "teacher failed its check"), ("panels", "failed its own check"), ("curve", "failed its own check")],
)
def test_a_teacher_that_failed_its_check_is_marked_in_every_figure(name: str, words: str) -> None:
    for ok in (True, False):
        drawing = draw(name, sweep((2,), seeds=1, ok=ok))
        texts = [t.get_text() for t in drawing.figure.findobj(lambda artist: hasattr(artist, "get_text"))]
        assert any(words in text for text in texts) == (not ok)
        assert ("failed its own check (2 of 2)" in drawing.caption) == (name == "dimension" and not ok)


def test_panels_show_the_lowest_seed_of_each_row_on_the_teachers_scale() -> None:
    drawing = draw("panels", sweep((2,)))
    assert len(drawing.figure.axes) == 8
    assert "Lowest seed of each row: 0." in drawing.caption
    _, teacher, one_step, student = drawing.figure.axes[:4]
    assert teacher.get_xlim() == student.get_xlim()
    assert one_step.get_xlim()[1] < 0.1 * teacher.get_xlim()[1]
    assert "magnified" in one_step.get_xlabel()


class Elsewhere(Made):
    """A run whose student's outputs are so many times as wide, and moved."""

    wide, moved = 1.0, 0.0

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = super().arrays()
        return arrays | {"student": self.wide * arrays["teacher"] + self.moved}


def elsewhere(wide: float, moved: float, dim: int = 2) -> Elsewhere:
    record = made("mixture", dim)
    found = Elsewhere(record.folder, record.summary, record.config, record.environment)
    found.wide, found.moved = wide, moved
    return found


@pytest.mark.parametrize(("wide", "moved"), [(2.5, 0.0), (1.0, 3.0)])
def test_a_student_wider_or_elsewhere_than_its_teacher_is_seen_on_one_scale(wide: float, moved: float) -> None:
    drawing = draw("panels", [elsewhere(wide, moved)])
    _, teacher, _, student = drawing.figure.axes
    (points,) = marks(drawing.figure, "points")[3]
    assert teacher.get_xlim() == student.get_xlim()
    assert (np.abs(points.get_offsets()) < student.get_xlim()[1]).all()
    assert "student:" not in drawing.caption


@pytest.mark.parametrize("name", ["panels", "components"])
def test_points_outside_of_their_panels_are_counted(name: str) -> None:
    """A student so far away leaves the teacher a third of its panel, and is told."""
    figures = [draw(name, [elsewhere(1.0, moved, dim=3)]) for moved in (0.0, 1000.0)]
    for drawing, outside in zip(figures, (0, 1), strict=True):
        teacher, student = (drawing.figure.axes[place] for place in (1, 3))
        assert teacher.get_xlim() == student.get_xlim()
        assert ("student: 20 of 20" in drawing.caption) == bool(outside)
    near, far = (drawing.figure.axes[1].get_xlim()[1] for drawing in figures)
    assert far == pytest.approx(WIDEST * near)


@pytest.mark.parametrize("at", [0.995, 1.005])
def test_a_point_at_the_edge_of_its_panel_is_whole_or_not_there(at: float) -> None:
    """It was cut in two by the frame, on either side of it."""
    points = np.array([[0.0, 0.0], [at, 0.0]])
    clouds = Clouds(points, {"teacher": points}, np.zeros((2, 3)), 1.0, 1.0, None)
    with new_figure(2.0, 2.0, PAPER) as figure:
        axes = figure.subplots()
        clouds.draw(axes, "teacher", PAPER)
    (drawn,) = axes.collections
    assert len(drawn.get_offsets()) == (2 if at < 1 else 1)
    assert not drawn.get_clip_on()
    assert clouds.outside("teacher").tolist() == [False, at > 1]


def test_the_view_is_the_plane_where_there_is_one_and_principal_components_elsewhere() -> None:
    assert has_plane({"law.name": "ring", "law.dim": 5, "law.embedding": "axes"})
    assert has_plane({"law.name": "mixture", "law.dim": 2})
    assert not has_plane({"law.name": "mixture", "law.dim": 3})
    teacher = np.random.default_rng(0).standard_normal((500, 5)) * [1, 1, 9, 1, 5] + 3
    frame, centre = principal_frame(teacher)
    np.testing.assert_allclose(np.abs(frame.T[:, [2, 4]]), np.eye(2), atol=0.1)
    np.testing.assert_allclose(centre, teacher.mean(axis=0))


def test_the_noises_directions_are_those_that_predict_the_components() -> None:
    rng = np.random.default_rng(0)
    z = 80 * rng.standard_normal((2000, 6))
    components = np.stack([9 * np.tanh(z[:, 4] / 80), z[:, 1] / 80 + rng.standard_normal(2000)], axis=1)
    directions = noise_directions(z, components)
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(directions[[4, 1]], np.eye(2), atol=0.1)
    np.testing.assert_allclose(correlations(components, components * [2, -3] + 1), [1, -1])
    assert not correlations(components, np.zeros_like(components)).any()


def test_components_show_rows_that_their_colours_were_not_fitted_on() -> None:
    """Where noise and outputs have nothing in common, as here, the correlations say so."""
    drawing = draw("components", sweep((2, 20), seeds=1))
    assert len(drawing.figure.axes) == 8  # the plane has no row
    points = [len(found[0].get_offsets()) for found in marks(drawing.figure, "points")]
    assert set(points) == {20}  # of 40 rows
    told = drawing.figure.axes[0].get_xlabel()
    assert all(abs(float(r.strip("$ r="))) < 0.5 for r in told.rpartition("components, ")[2].split(","))
    assert "polar factor of E[c z^T], fitted on every second row" in drawing.caption
    with pytest.raises(InputError, match="two dimensions or one; `dmdlab plot panels"):
        draw("components", sweep((2,), seeds=1))


def test_colours_tell_direction_by_hue_and_distance_by_lightness() -> None:
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    colours = noise_colours(np.concatenate([circle, 3 * circle]))
    assert ((colours >= 0) & (colours <= 1)).all()
    luminance = colours @ [0.2126, 0.7152, 0.0722]
    assert (luminance[12:] > luminance[:12] + 0.1).all()
    assert len(np.unique(colours[:12].round(3), axis=0)) == 12


@pytest.mark.parametrize("name", ["heatmap", "ranks", "displacement"])
def test_a_figure_of_single_pairings_shows_one_seed_of_each_start_and_fits_its_place(name: str) -> None:
    for size, scale in SIZES.items():
        drawing = draw(name, sweep((3,), seeds=2), size=size)
        assert "2 runs: mix003te00v2 mix003ro00v2." in drawing.caption
        assert (drawing.figure.get_size_inches() <= [scale.double, scale.height]).all()


@pytest.mark.parametrize(("size", "rows"), [("paper", 4), ("slide", 2)])
def test_curves_have_a_line_and_a_band_for_each_start(size: str, rows: int) -> None:
    figure = draw("curve", sweep(), size).figure
    for init, kind in itertools.product(INITS, ("line", "band")):
        assert counts(figure, f"{init} {kind}") == [1] * 2 * rows
    np.testing.assert_allclose(marks(figure, "teacher line")[0][0].get_ydata(), [2.0, 11.0, 101.0])


@pytest.mark.parametrize(
    ("end", "numbers"),
    [
        (8, ["2", "5"]),
        *(pytest.param(*more, marks=pytest.mark.long) for more in ((60, ["3", "10", "30"]), (600, POWERS))),
    ],
)
def test_numbers_along_curves_stay_apart_however_short_they_are(end: int, numbers: list[str]) -> None:
    class Short(Made):
        def curve(self) -> dict[str, np.ndarray]:
            return super().curve() | {"iteration": np.array([2.0, end // 2, end])}

    figure = draw("curve", [Short(run.folder, run.summary, run.config, run.environment) for run in sweep()]).figure
    figure.draw_without_rendering()
    axes = figure.axes[-1]
    (first, last), ticks = axes.get_xlim(), axes.get_xticklabels(which="both")
    named = [text for text in ticks if text.get_text() and first <= text.get_position()[0] <= last]
    assert [text.get_text() for text in named] == numbers
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(text.get_window_extent() for text in named))


def test_a_loss_of_0_is_a_gap_on_its_logarithmic_axis_and_a_measure_of_0_none() -> None:
    class Unmoved(Made):
        def curve(self) -> dict[str, np.ndarray]:
            return super().curve() | dict.fromkeys(("dm_loss", "pair_cosine"), np.array([0.0, 0.5, 0.25]))

    figure = draw(
        "curve", [Unmoved(run.folder, run.summary, run.config, run.environment) for run in sweep((2,))]
    ).figure
    lines = marks(figure, "teacher line")
    np.testing.assert_array_equal(lines[0][0].get_ydata(), [np.nan, 0.5, 0.25])
    np.testing.assert_array_equal(lines[3][0].get_ydata(), [0.0, 0.5, 0.25])


def test_curves_of_students_without_a_score_say_that_there_is_no_loss() -> None:
    without = {"fake_score__kind": "none", "student__weight": 0.0, "terms__drifting__weight": 1.0}
    figure = draw("curve", sweep((2,), **without)).figure
    figure.draw_without_rendering()
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert [("there is none" in texts) for texts in said] == [True, True, False, False]


class Older(Made):
    """A run whose curve holds these columns alone."""

    columns: tuple[str, ...] = ("iteration", "dm_loss")

    def curve(self) -> dict[str, np.ndarray]:
        return {key: values for key, values in super().curve().items() if key in self.columns}


def test_a_curve_without_some_columns_leaves_their_lines_out_and_the_caption_says_so() -> None:
    runs = sweep((2,), seeds=2)
    older = [Older(run.folder, run.summary, run.config, run.environment) for run in runs]
    drawing = draw("curve", older)
    assert counts(drawing.figure, "teacher line") == [1, 0, 0, 0]
    assert "Not in the curves of 4 runs, and so not drawn: score_loss, variance_ratio, pair_cosine." in drawing.caption
    said = [[text.get_text() for text in axes.texts] for axes in drawing.figure.axes]
    assert [("not kept" in texts) for texts in said] == [False, True, True, True]
    drawing = draw("curve", [older[0], *runs[1:]])
    assert counts(drawing.figure, "teacher line") == [1] * 4
    np.testing.assert_allclose(marks(drawing.figure, "teacher line")[3][0].get_ydata(), [2.0, 11.0, 101.0])
    assert "Not in the curves of 1 run, and so not drawn: " in drawing.caption
    assert "so not drawn" not in draw("curve", runs).caption


def test_the_same_figure_gives_the_same_bytes_with_true_type_fonts_in_a_folder_that_is_made(tmp_path: Path) -> None:
    paths = save_plot("panels", sweep((2,)), tmp_path / "new" / "figure.pdf")
    assert [path.name for path in paths] == ["figure.pdf", "figure.png", "figure.txt"]
    drawing = draw("panels", sweep((2,)))
    for path, again in zip(paths, save(drawing, tmp_path / "again"), strict=True):
        assert path.read_bytes() == again.read_bytes()
    assert paths[2].read_text() == drawing.caption + "\n"
    assert b"/CIDFontType2" in (pdf := paths[0].read_bytes())
    assert b"/Type3" not in pdf
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="this is a file"):
        save(drawing, tmp_path / "file" / "figure")


@pytest.mark.parametrize(
    ("name", "records", "size", "sentence"),
    [
        ("dimensions", sweep(), "paper", "unknown plot 'dimensions'; did you mean 'dimension'"),
        ("dimension", sweep(), "poster", "unknown figure size 'poster'; expected one of: paper, slide"),
        ("curve", [*sweep(), made("ring", 2)], "paper", r"2 laws .*choose one with law\.name"),
        ("curve", sweep(range(2, 9), 1), "paper", r"7 dimensions do not fit; choose at most 6.* \(2, 3, .*8\)"),
        ("dimension", [made(law) for law in ("ring", "moons", "spiral", "sphere")], "slide", "4 laws .* slide figure"),
        ("dimension", [made(), made(init="rotated", measure__samples=500)], "paper", r"different sample sizes \(n = "),
        ("heatmap", sweep((2, 3, 4, 5), 1), "paper", r"8 combinations .*law\.dim=N \(there are 2, 3, 4, 5\)"),
        ("heatmap", sweep((2, 3), 1), "slide", "which holds 2"),
        ("ranks", sweep((2, 3, 4, 5), 1), "paper", "which holds 6"),
        ("displacement", sweep((2, 3), 1), "slide", "which holds 3"),
        ("calibration", sweep(), "paper", "no calibration in these records"),
        *((name, [], "paper", "nothing to draw") for name in PLOTS),
        *((name, [made(status="failed")], "paper", "none of the 1 runs") for name in PLOTS if name != "calibration"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_with_a_sentence(
    name: str, records: list[Made], size: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        draw(name, records, size)
