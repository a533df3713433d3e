"""The figures of single pairings and of calibrations: what is drawn is what was measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Made, made
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure

from dmdlab.config import InputError
from dmdlab.pairing import calibrate, measure
from dmdlab.pairing.pairs import Pairs
from dmdlab.plots.calibration import PANELS, calibration_figure, draw_levels, drift
from dmdlab.plots.displacement import displacement_figure, draw_displacements
from dmdlab.plots.heatmap import draw_heatmaps, heatmap_figure, leaf_order
from dmdlab.plots.ranks import draw_ranks, partner_ranks, ranks_figure
from dmdlab.plots.samples import Sample
from dmdlab.plots.style import SIZES, Drawing, new_figure, save
from dmdlab.records.record import Calibrated

FIGURES = (heatmap_figure, ranks_figure, displacement_figure)


def run(dim: int = 3, init: str = "teacher", seed: int = 0, **values: Any) -> Made:
    """A run whose arrays have two modes a coordinate."""
    drawn = pairs(dim=dim, noise=0.3 if init == "teacher" else 3.0, seed=seed)
    names = ("teacher", "student", "noise", "one_step")
    return made("mixture", dim, init, seed, outputs={name: getattr(drawn, name) for name in names}, **values)


def pairs(n: int = 120, dim: int = 3, noise: float = 0.3, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, dim))
    teacher = 4.0 * np.sign(z) + 0.2 * z
    student = teacher + noise * rng.normal(size=(n, dim))
    return Pairs.of(teacher, student, one_step=0.5 * z, noise=z)


def sample(**settings: Any) -> Sample:
    return Sample(pairs(**settings), "a student", "#0072B2")


def drawn(figure: Figure, gid: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def panels(drawing: Drawing) -> list[Axes]:
    return [axes for axes in drawing.figure.axes if axes.get_title() or axes.get_title("left")]


# --- all of them


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", FIGURES)
def test_every_figure_becomes_files_that_name_their_runs(make: Any, size: str, tmp_path: Path) -> None:
    drawing = make([run(seed=1), run(), run(init="rotated")], size=size)
    assert all(path.stat().st_size > 5000 for path in save(drawing, tmp_path / "figure")[:2])
    assert "mix003te00v2" in drawing.caption
    assert "mix003ro00v2" in drawing.caption
    assert "mix003te01v2" not in drawing.caption  # one seed is drawn
    width, height = drawing.figure.get_size_inches()
    assert width <= SIZES[size].double
    assert height <= SIZES[size].height


@pytest.mark.parametrize("make", FIGURES)
def test_more_than_fits_and_nothing_at_all_are_sentences(make: Any) -> None:
    with pytest.raises(InputError, match=r"8 combinations .*law\.dim=N \(there are 2, 3, 4, 5\)"):
        make([run(dim, init) for dim in (2, 3, 4, 5) for init in ("teacher", "rotated")])
    with pytest.raises(InputError, match="none of the 1 runs given is finished"):
        make([run(status="failed")])
    with pytest.raises(InputError, match="unknown figure size"):
        make([run()], size="poster")


# --- heat map


def test_a_copy_has_all_its_boxes_on_the_diagonal() -> None:
    copy = pairs(noise=0.0)
    drawing = draw_heatmaps([Sample(copy, "a copy", "black")], "")
    assert "100 of 100 optimal partners on the diagonal" in panels(drawing)[0].get_title()
    (boxes,) = drawn(drawing.figure, "optimal")
    assert isinstance(boxes, PatchCollection)
    corners = np.array([path.get_extents().p0 for path in boxes.get_paths()])
    np.testing.assert_allclose(corners[:, 0], corners[:, 1])


def test_the_map_shows_the_distances_with_the_pairs_on_the_diagonal() -> None:
    given = sample(n=30)
    drawing = draw_heatmaps([given], "")
    (image,) = panels(drawing)[0].get_images()
    order = leaf_order(given.pairs.teacher)
    P, G = given.pairs.teacher[order], given.pairs.student[order]
    expected = np.linalg.norm(P[:, None] - G[None], axis=2)  # (teacher, student)
    np.testing.assert_allclose(np.asarray(image.get_array()), expected, atol=1e-6)
    (boxes,) = drawn(drawing.figure, "optimal")
    cells = np.round([path.get_extents().p0 + 0.5 for path in boxes.get_paths()]).astype(int)  # (column, row)
    cost = (expected[cells[:, 1], cells[:, 0]] ** 2).mean()
    assert cost == pytest.approx(measure(P, G).values()["e_ot"])


def test_the_order_keeps_clusters_together() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, size=60)
    P = 20.0 * np.eye(4)[label] + rng.normal(size=(60, 4))
    ordered = label[leaf_order(P)]
    assert (ordered[1:] != ordered[:-1]).sum() == 3
    assert sorted(leaf_order(P[:2])) == [0, 1]


# --- ranks


def test_ranks_are_those_of_a_slow_count() -> None:
    given = sample(n=40, noise=2.0)
    P, G = given.pairs.teacher, given.pairs.student
    slow = [1 + sum(np.linalg.norm(P[j] - G[i]) < np.linalg.norm(P[i] - G[i]) for j in range(40)) for i in range(40)]
    np.testing.assert_array_equal(partner_ranks(given), slow)


def test_the_mean_rank_is_pair_auc_and_ties_count_half() -> None:
    given = sample(n=50, noise=1.5)
    values = measure(given.pairs.teacher, given.pairs.student).values()
    assert 1 - (partner_ranks(given).mean() - 1) / 49 == pytest.approx(values["pair_auc"])
    constant = Sample(Pairs.of(np.eye(10), np.zeros((10, 10))), "constant", "black")
    np.testing.assert_allclose(partner_ranks(constant), 5.5)


def test_the_histogram_holds_every_output_and_the_curve_ends_at_one() -> None:
    drawing = draw_ranks([sample(noise=2.0), sample(noise=8.0)], "")
    for step in drawn(drawing.figure, "histogram"):
        assert step.get_data().values.sum() == pytest.approx(1.0)
    for line in drawn(drawing.figure, "cumulative"):
        assert line.get_ydata()[-1] == 1.0
        assert np.all(np.diff(line.get_ydata()) >= 0)


# --- displacement


def test_displacement_draws_both_distances() -> None:
    given = sample(n=25)
    drawing = draw_displacements([given], "")
    (dots,) = drawn(drawing.figure, "pairs")
    assert given.pairs.one_step is not None
    before = np.linalg.norm(given.pairs.one_step - given.pairs.teacher, axis=1)
    after = np.linalg.norm(given.pairs.student - given.pairs.teacher, axis=1)
    np.testing.assert_allclose(dots.get_xdata(), before)
    np.testing.assert_allclose(dots.get_ydata(), after)
    assert f"{100 * (after < before).mean():.0f} % came nearer" in panels(drawing)[0].get_title()
    (line,) = drawn(drawing.figure, "random")
    e_independent = measure(given.pairs.teacher, given.pairs.student).values()["e_independent"]
    assert line.get_ydata()[0] == pytest.approx(np.sqrt(e_independent))


def test_displacement_needs_the_one_step_outputs() -> None:
    with pytest.raises(InputError, match="no one_step array"):
        draw_displacements([Sample(Pairs.of(np.eye(4), np.eye(4)), "a student", "black")], "")


# --- calibration


@pytest.fixture(scope="module")
def calibrated() -> list[Calibrated]:
    def one(d: int) -> Calibrated:
        rng = np.random.default_rng(d)
        noise, fresh = rng.normal(size=(60, d)), rng.normal(size=(120, d))
        angles = (0.0, 15.0, 30.0, 60.0, 90.0, 180.0)
        held = calibrate(np.sign, noise, fresh_noise=fresh, rng=rng, bases=2, angles_degrees=angles, shares=())
        row = {"calibration": f"id{d}", "law.name": "signs", "law.dim": d, "measure.samples": 60, "commit": "0123"}
        row |= {"teacher.kind": "exact", "teacher.steps": 8, "teacher.solver": "heun", "noise.sigma_max": 80.0}
        return Calibrated(row | {"hardware": "Example CPU"}, held)

    return [one(d) for d in (8, 2, 3)]


@pytest.mark.parametrize("size", SIZES)
def test_a_line_for_every_dimension_and_measure(calibrated: list[Calibrated], size: str, tmp_path: Path) -> None:
    drawing = calibration_figure([*calibrated, *calibrated], size=size)  # a run's calibration comes with every run
    save(drawing, tmp_path / "figure")
    for held in calibrated:
        lines = drawn(drawing.figure, f"d = {held.found.d}")
        assert len(lines) == len(PANELS)
        for panel, line in zip(PANELS, lines, strict=True):
            np.testing.assert_allclose(line.get_ydata(), held.found.curve(panel.key))
    assert "id2 id3 id8" in drawing.caption


def test_drift_is_nothing_without_dimensions_and_the_spread_with_them(calibrated: list[Calibrated]) -> None:
    alone = {8: [calibrated[0].found]}
    assert drift("pair_cosine", alone) == 0.0
    two = alone | {2: [calibrated[1].found]}
    curves = np.array([c[0].curve("delta_e")[:5] for c in two.values()])
    assert drift("delta_e", two) == pytest.approx(np.ptp(curves, axis=0).max() / np.ptp(curves))


def test_calibrations_of_different_things_do_not_share_a_figure(calibrated: list[Calibrated]) -> None:
    other = Calibrated(calibrated[0].row | {"calibration": "x", "measure.samples": 61}, calibrated[0].found)
    with pytest.raises(InputError, match=r"differ in measure\.samples \(60, 61\)"):
        calibration_figure([calibrated[1], other])
    with pytest.raises(InputError, match="no calibration in these records"):
        calibration_figure([Calibrated({"law.dim": 2}, calibrated[0].found)])


def test_levels_lie_where_the_calibration_says(calibrated: list[Calibrated]) -> None:
    scale = SIZES["paper"]
    axes = new_figure(3, 2, scale).subplots()
    draw_levels(axes, calibrated, "pair_cosine", scale)
    (line,) = drawn(axes.figure, "planted 30")  # type: ignore[arg-type]
    assert line.get_xdata().tolist() == [2, 3, 8]
    np.testing.assert_allclose(line.get_ydata()[0], calibrated[1].found.at("pair_cosine", 30.0))
    empty = new_figure(3, 2, scale).subplots()
    draw_levels(empty, [Calibrated({"law.dim": 2}, calibrated[0].found)], "pair_cosine", scale)
    assert not empty.lines
