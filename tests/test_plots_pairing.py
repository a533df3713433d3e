"""The figures of single pairings and of calibrations: what is drawn is what was measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmdlab.config import InputError
from dmdlab.pairing import calibrate, measure
from dmdlab.pairing.analysis import boundary
from dmdlab.pairing.pairs import Pairs
from dmdlab.plots.boundary import draw_boundaries
from dmdlab.plots.calibration import by_dimension, calibration_figure, draw_levels, drift_over_dimension, once, panels
from dmdlab.plots.displacement import draw_displacements
from dmdlab.plots.heatmap import draw_heatmaps, leaf_order
from dmdlab.plots.ranks import BINS, draw_ranks
from dmdlab.plots.samples import Sample
from dmdlab.plots.style import PAPER, SLIDE, new_figure, save
from dmdlab.records.record import Calibrated


def sample(n: int = 120, dim: int = 3, noise: float = 0.3, seed: int = 0) -> Sample:
    """Pairs with two modes a coordinate; the student is the teacher and so much noise."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, dim))
    teacher = 4.0 * np.sign(z) + 0.2 * z
    student = teacher + noise * rng.normal(size=(n, dim))
    return Sample(Pairs.of(teacher, student, one_step=0.5 * z, noise=z), "a student", "#0072B2")


def drawn(figure: Any, gid: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == gid)


# --- heat map


def test_the_map_shows_the_distances_with_the_pairs_on_the_diagonal_and_the_optimal_ones_in_boxes() -> None:
    given = sample(n=30)
    figure = draw_heatmaps([given, sample(noise=0.0)], "").figure
    (image,) = figure.axes[0].get_images()
    order = leaf_order(given.pairs.teacher)
    P, G = given.pairs.teacher[order], given.pairs.student[order]
    expected = np.linalg.norm(P[:, None] - G[None], axis=2)  # (teacher, student)
    np.testing.assert_allclose(np.asarray(image.get_array()), expected, atol=1e-6)
    of_student, copied = (
        np.round([path.get_extents().p0 + 0.5 for path in boxes.get_paths()]).astype(int)  # (column, row)
        for boxes in drawn(figure, "optimal")
    )
    cost = (expected[of_student[:, 1], of_student[:, 0]] ** 2).mean()
    assert cost == pytest.approx(measure(P, G).values()["e_ot"])
    assert "100 of 100 optimal partners on the diagonal" in figure.axes[1].get_title()
    more = "more partners are optimal by chance than in the whole sample"
    assert [more in draw_heatmaps([sample(n=n)], "").caption for n in (30, 100, 120)] == [False, False, True]
    assert (copied[:, 0] == copied[:, 1]).all()


def test_the_order_keeps_clusters_together() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, size=60)
    P = 20.0 * np.eye(4)[label] + rng.normal(size=(60, 4))
    ordered = label[leaf_order(P)]
    assert (ordered[1:] != ordered[:-1]).sum() == 3
    assert sorted(leaf_order(P[:2])) == [0, 1]


# --- ranks


def line_of(n: int, copied: bool) -> Sample:
    """n teacher outputs on a line; the student copies them, or says one end always, so that every rank occurs once."""
    teacher = np.arange(n, dtype=float)[:, None]
    return Sample(Pairs.of(teacher, teacher if copied else np.full((n, 1), -1.0)), "a student", "black")


def shares(sample: Sample) -> np.ndarray:
    """The bars of its histogram."""
    (step,) = drawn(draw_ranks([sample], "").figure, "histogram")
    return np.asarray(step.get_data().values)


def test_the_left_bars_hold_the_nearest_partners_and_uniform_ranks_are_flat_at_any_size() -> None:
    for n, filled in ((10, [0.5, 0.5]), (20, [1.0, 0.0]), (30, [1.0, 0.0]), (400, [1.0, 0.0])):
        np.testing.assert_allclose(shares(line_of(n, True))[:2], filled, atol=1e-12)
    for n in (7, 20, 30, 100):
        np.testing.assert_allclose(shares(line_of(n, False)), 1 / BINS, atol=1e-12)


def test_the_curve_is_a_slow_count_of_ranks_and_its_ends_and_area_are_the_measures() -> None:
    given = sample(n=40, noise=2.0)
    P, G = given.pairs.teacher, given.pairs.student
    slow = [1 + sum(np.linalg.norm(P[j] - G[i]) < np.linalg.norm(P[i] - G[i]) for j in range(40)) for i in range(40)]
    (line,) = drawn(draw_ranks([given], "").figure, "cumulative")
    np.testing.assert_allclose(line.get_ydata(), [(np.array(slow) <= k).mean() for k in line.get_xdata()])
    assert line.get_ydata()[:-1].mean() == pytest.approx(measure(P, G).values()["pair_auc"])
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 41))


def test_a_partner_among_equals_is_found_as_often_as_chance_finds_it() -> None:
    twice = np.repeat(np.arange(100.0), 2)[:, None]
    copy = Sample(Pairs.of(twice, twice), "a copy", "black")
    (line,) = drawn(draw_ranks([copy], "").figure, "cumulative")
    assert line.get_ydata()[:2].tolist() == [0.5, 1.0]
    assert measure(twice, twice).values()["recall_at_1"] == 0.5
    np.testing.assert_allclose(shares(Sample(Pairs.of(np.eye(10), np.zeros((10, 10))), "constant", "black")), 1 / BINS)


def test_the_histogram_holds_every_output_and_the_curve_ends_at_one() -> None:
    figure = draw_ranks([sample(noise=2.0), sample(noise=8.0)], "").figure
    for step, line in zip(drawn(figure, "histogram"), drawn(figure, "cumulative"), strict=True):
        assert step.get_data().values.sum() == pytest.approx(1.0)
        assert line.get_ydata()[-1] == 1.0
        assert np.all(np.diff(line.get_ydata()) >= 0)


# --- displacement


def test_displacement_draws_both_distances_and_needs_the_one_step_outputs() -> None:
    given = sample(n=25)
    figure = draw_displacements([given], "").figure
    P, G, one_step = given.pairs.teacher, given.pairs.student, given.pairs.one_step
    before, after = np.linalg.norm(one_step - P, axis=1), np.linalg.norm(G - P, axis=1)
    (dots,) = drawn(figure, "pairs")
    np.testing.assert_allclose(dots.get_xydata(), np.stack([before, after], axis=1))
    assert f"{100 * (after < before).mean():.0f} % nearer than $P_1$" in figure.axes[0].get_title()
    (line,) = drawn(figure, "random")
    assert line.get_ydata()[0] == pytest.approx(np.sqrt(measure(P, G).values()["e_independent"]))
    unmoved = Sample(Pairs.of(P, one_step, one_step=one_step), "a student", "black")
    assert "\n0 % nearer" in draw_displacements([unmoved], "").figure.axes[0].get_title()
    with pytest.raises(InputError, match="a student: no one_step array"):
        draw_displacements([Sample(Pairs.of(np.eye(4), np.eye(4)), "a student", "black")], "")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_titles_and_names_of_square_panels_are_whole(count: int) -> None:
    figure = draw_displacements([sample(n=25)] * count, "").figure
    inside = figure.bbox.padded(1)
    for axes in figure.axes:
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            box = text.get_window_extent()
            assert inside.y0 <= box.y0 <= box.y1 <= inside.y1


def test_displacement_draws_every_row_and_counts_every_one_outside() -> None:
    given = sample(n=2600)
    P, one_step = given.pairs.teacher, given.pairs.one_step
    assert one_step is not None
    student = P.copy()
    student[-2:] += 1000.0  # rows far down, one in a thousand
    drawing = draw_displacements([replace(given, pairs=Pairs.of(P, student, one_step=one_step))], "")
    (dots,) = drawn(drawing.figure, "pairs")
    assert len(dots.get_xydata()) == 2600
    top = drawing.figure.axes[0].get_xlim()[1]
    outside = int((dots.get_xydata() > top).any(axis=1).sum())
    assert outside >= 2
    assert f"a student: {outside} of 2600" in drawing.caption


# --- calibration


@pytest.fixture(scope="module")
def calibrated() -> list[Calibrated]:
    def one(d: int) -> Calibrated:
        rng = np.random.default_rng(d)
        noise, fresh = rng.normal(size=(60, d)), rng.normal(size=(120, d))
        angles = (0.0, 15.0, 30.0, 60.0, 90.0, 180.0)
        settings = {"bases": 2, "angles_degrees": angles, "shares": (), "local_points": 20}
        held = calibrate(lambda z: np.tanh(3 * z), noise, fresh_noise=fresh, rng=rng, **settings)
        row = {"calibration": f"id{d}", "law.name": "signs", "law.dim": d, "measure.samples": 60, "commit": "0123"}
        row |= {"teacher.kind": "exact", "teacher.steps": 8, "teacher.solver": "heun", "noise.sigma_max": 80.0}
        return Calibrated(row | {"hardware": "Example CPU"}, held)

    return [one(d) for d in (8, 2, 3)]


def test_a_line_for_every_dimension_and_measure(calibrated: list[Calibrated], tmp_path: Path) -> None:
    drawing = calibration_figure([*calibrated, *calibrated])  # a run's calibration comes with every run
    keys = panels({held.found.d: [held.found] for held in calibrated})
    assert keys[-2:] == ["local_cosine", "recall_at_1"]
    for held in calibrated:
        for key, line in zip(keys, drawn(drawing.figure, f"d = {held.found.d} line"), strict=True):
            np.testing.assert_allclose(line.get_ydata(), held.found.curve(key))
    assert "id2 id3 id8" in drawing.caption
    assert "Drift over d: the largest difference" in drawing.caption
    save(calibration_figure(calibrated, SLIDE), tmp_path / "figure")
    planted = {key: value for key, value in calibrated[0].found.planted.items() if key != "local_cosine"}
    assert panels({8: [replace(calibrated[0].found, planted=planted)]})[-2:] == ["recall_at_1", "identity_fraction"]


def test_a_measure_that_one_calibration_lacks_is_drawn_of_the_others_and_the_caption_says_so(
    calibrated: list[Calibrated],
) -> None:
    planted = {key: value for key, value in calibrated[0].found.planted.items() if key != "local_cosine"}
    older = Calibrated(calibrated[0].row, replace(calibrated[0].found, planted=planted))
    drawing = calibration_figure([older, *calibrated[1:]])
    local = drawing.figure.axes[4]
    assert {line.get_gid() for line in local.lines} >= {"d = 2 line", "d = 3 line"}
    assert not [line for line in local.lines if line.get_gid() == "d = 8 line"]
    assert "No line of local_cosine for d = 8, whose calibration lacks it." in drawing.caption
    assert "No line" not in calibration_figure(calibrated).caption
    both = drift_over_dimension("local_cosine", by_dimension(once(calibrated[1:])))
    assert drift_over_dimension("local_cosine", by_dimension(once([older, *calibrated[1:]]))) == both
    assert np.isnan(drift_over_dimension("local_cosine", by_dimension(once([older, calibrated[1]]))))
    assert calibration_figure([older, calibrated[1]]).figure.axes[4].get_title("left") == "(e) drift over $d$: unknown"


def test_one_dimension_has_no_drift_over_dimensions_and_no_curve_strikes_a_guides_name(
    calibrated: list[Calibrated],
) -> None:
    """Of a curve that ends a little below chance, where the name of its line would stand."""
    held = calibrated[0].found
    below = np.where(held.angles_degrees > 90, -0.15, held.planted["pair_cosine"].T).T
    found = replace(held, planted=held.planted | {"pair_cosine": below})
    drawing = calibration_figure([Calibrated(calibrated[0].row, found)])
    assert [axes.get_title("left") for axes in drawing.figure.axes] == [f"({letter})" for letter in "abcdef"]
    assert "One dimension, d = 8, has no drift over d." in drawing.caption
    assert "0 %" not in drawing.caption
    (name,) = drawing.figure.axes[2].texts
    box = name.get_window_extent(drawing.figure.canvas.get_renderer())  # type: ignore[attr-defined]
    (line,) = drawn(drawing.figure.axes[2], "d = 8 line")
    assert name.get_text() == "chance"
    assert not line.get_transform().transform_path(line.get_path()).intersects_bbox(box, filled=False)


def test_drift_is_nothing_without_dimensions_and_the_spread_with_them(calibrated: list[Calibrated]) -> None:
    alone = {8: [calibrated[0].found]}
    assert drift_over_dimension("pair_cosine", alone) == 0.0
    two = alone | {2: [calibrated[1].found]}
    curves = np.array([c[0].curve("delta_e")[:5] for c in two.values()])
    assert drift_over_dimension("delta_e", two) == pytest.approx(np.ptp(curves, axis=0).max() / np.ptp(curves))


def test_calibrations_of_different_things_do_not_share_a_figure(calibrated: list[Calibrated]) -> None:
    other = Calibrated(calibrated[0].row | {"calibration": "x", "measure.samples": 61}, calibrated[0].found)
    with pytest.raises(InputError, match=r"differ in measure\.samples \(60, 61\)"):
        calibration_figure([calibrated[1], other])
    told = Calibrated(calibrated[0].row | {"calibration": "y", "teacher.condition": True}, calibrated[0].found)
    with pytest.raises(InputError, match=r"differ in teacher\.condition"):
        calibration_figure([calibrated[0], told])


def test_levels_lie_where_the_calibration_says(calibrated: list[Calibrated]) -> None:
    found = by_dimension(once(calibrated))
    with new_figure(3, 2, PAPER) as figure:
        with_levels, without, of_the_law = figure.subplots(3)
        draw_levels(with_levels, found, "pair_cosine", PAPER)
        draw_levels(without, by_dimension(once([Calibrated({"law.dim": 2}, calibrated[0].found)])), "delta_e", PAPER)
        draw_levels(of_the_law, found, "variance_ratio", PAPER)
    (line,) = drawn(with_levels, "planted 30")
    assert line.get_xdata().tolist() == [2, 3, 8]
    assert line.get_ydata()[0] == pytest.approx(calibrated[1].found.at("pair_cosine", 30.0))
    assert {name.get_fontsize() for name in with_levels.texts} == {PAPER.small}
    assert not without.lines
    assert not of_the_law.lines


# --- boundary


def test_the_boundary_figure_shows_the_analysis_and_what_a_perfect_copy_shows() -> None:
    """The delta of a copy is minus the distance to the one step, so it correlates with D as all samples are copied."""
    given = sample()
    far = replace(given.pairs, data=np.random.default_rng(1).normal(size=(50, 3)))
    copied = replace(far, student=far.teacher)
    found, copy = boundary(far), boundary(copied)
    figure = draw_boundaries([replace(given, pairs=far), replace(given, pairs=copied)], "").figure
    for axes, own in zip(figure.axes, (found, copy), strict=True):
        (points,) = [line for line in axes.lines if line.get_gid() == "pairs"]
        np.testing.assert_allclose(points.get_xydata(), np.column_stack([own.distance, own.delta]))
        (line,) = [line for line in axes.lines if line.get_gid() == "pairs line"]
        slope = np.diff(line.get_ydata()) / np.diff(line.get_xdata())
        expected = own.pearson.value * own.delta.std() / own.distance.std()  # least squares
        assert slope[0] == pytest.approx(expected)
        assert f"correlation {own.pearson.value:.2f}" in axes.get_title()
        (equal,) = [line for line in axes.lines if line.get_gid() == "equal"]
        assert set(equal.get_ydata()) == {0.0}
    np.testing.assert_array_equal(copy.delta, -copy.start)
    for same in (replace(far, student=far.one_step), replace(copied, teacher=np.ones_like(far.teacher))):
        (axes,) = draw_boundaries([replace(given, pairs=same)], "").figure.axes
        assert axes.get_title().endswith("correlation unresolved")
    with pytest.raises(InputError, match="needs one_step"):
        draw_boundaries([given], "")


def test_the_boundary_figure_draws_every_row() -> None:
    given = sample(n=2600)
    far = replace(given.pairs, data=np.random.default_rng(1).normal(size=(20, 3)))
    (points,) = drawn(draw_boundaries([replace(given, pairs=far)], "").figure, "pairs")
    assert len(points.get_xydata()) == 2600
