"""What captions of the paper's figures read off their runs, and the marks that stand for those numbers."""

import numpy as np
from made import Made
from matplotlib.pyplot import close, subplots
from test_paper_figures import AGES, RECORDS, drawn, figure, pictures, planes, run

from dmdlab.pairing.analysis import boundary
from dmdlab.paper.catalogue import drawing
from dmdlab.paper.figures.chosen import READ, Runs
from dmdlab.paper.figures.rows import PictureRows
from dmdlab.plots.panels import panel_number
from dmdlab.plots.style import VERMILLION
from dmdlab.records.cells import cell_value, cells


def test_a_caption_reads_every_cell_that_is_shown_and_no_other() -> None:
    caption = figure("fig6").caption
    for age in AGES:
        for init in ("teacher", "rotated"):
            own = [
                r for r in RECORDS["fig6"] if (r.config["teacher.snapshot"], r.config["student.init"]) == (age, init)
            ]
            read = ", ".join(f"{key} {cell_value(cells(own)[0], key)}" for key in READ)
            said = f"field, d = 16, {init} start, teacher.snapshot = {age} (2 seeds): {read}"
            assert (said in caption) == (age != AGES[1])
    assert "(law field, teacher of age 40)" in drawing("fig1", pictures()).caption


def test_failed_teachers_are_counted_and_what_is_missing_is_told_once() -> None:
    records = planes("chessboard")
    for record in records:
        record.summary["teacher"]["ok"] = False
    found = drawing("fig2", records)
    assert "The teacher failed its own check in 4 of these runs. " in found.caption
    assert "failed its own check" in [axes.get_xlabel() for axes in found.figure.axes]
    assert "failed" not in figure("fig2").caption
    assert "failed its own check" not in [axes.get_xlabel() for axes in figure("fig2").figure.axes]
    alone = drawing("fig2", [r for r in RECORDS["fig2"] if r.config["student.init"] == "teacher"]).caption
    assert "Missing, as no such run is finished: chessboard, rotated start, teacher of age 40. Over" in alone


def test_bands_of_the_loss_span_the_seeds_and_intervals_of_the_angle_are_the_cells() -> None:
    found = drawing("fig4", [r for r in pictures(seeds=6) if r.config["seed"] in (0, 1, 5)]).figure
    for band in found.axes[0].collections:
        if band.get_gid() == "band":
            ends = band.get_paths()[0].vertices
            assert {tuple(end) for end in ends} >= {(1.0, 1.0), (1.0, 6.0), (100.0, 100.0), (100.0, 105.0)}
    intervals = iter(drawn(figure("fig4"), "interval"))
    for init in ("teacher", "rotated"):
        own = [r for r in RECORDS["fig4"] if r.config["student.init"] == init]
        for cell in cells(own, also=("teacher.snapshot",)):
            read = cell.interval("remap_angle")
            ends = next(intervals).get_segments()[0][:, 1]
            np.testing.assert_allclose(ends, np.clip([read.low, read.high], 0, 90))


class Apart(Made):
    """A run whose rotated student has outputs of its own."""

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = super().arrays()
        return arrays | ({"student": 2.0 * arrays["noise"]} if self.config["student.init"] == "rotated" else {})

    def student(self) -> np.ndarray:
        return self.arrays()["student"]


def apart(name: str) -> list[Apart]:
    return [Apart(r.folder, r.summary, r.config, r.environment) for r in RECORDS[name]]


def test_the_boundary_draws_and_tells_pearsons_correlation_of_each_start() -> None:
    records = apart("fig5")
    found = drawing("fig5", records)
    for init in ("teacher", "rotated"):
        own = [boundary(r.pairs()) for r in records if r.config["student.init"] == init]
        told = ", ".join(f"{one.pearson.value:.2f} (seed {seed})" for seed, one in enumerate(own))
        assert f"{init} start: {told}" in found.caption.partition("Correlations: ")[2].partition("perfect")[0]
        ends = [lines.get_segments()[0][:, 1] for lines in drawn(found, f"{init} interval")]
        np.testing.assert_allclose(ends, [(one.pearson.low, one.pearson.high) for one in own])
        (points,) = [line for line in drawn(found, init) if line.axes is found.figure.axes[0]]
        np.testing.assert_allclose(points.get_ydata(), own[0].delta)


def test_rows_and_clouds_show_the_arrays_that_their_names_say() -> None:
    records = apart("fig1")
    block = PictureRows(Runs(records), "field")
    arrays = records[0].arrays()
    np.testing.assert_array_equal(block.rows[r"$\Phi_1$"], arrays["one_step"])
    np.testing.assert_array_equal(block.rows[r"$\Phi_{8}$"], arrays["teacher"])
    assert block.limits == (float(arrays["data"].min()), float(arrays["data"].max()))
    clouds = [axes.collections[0].get_offsets() for axes in drawing("fig2", apart("fig2")).figure.axes]
    held = {r.config["student.init"]: r.arrays() for r in apart("fig2") if r.config["seed"] == 0}
    np.testing.assert_allclose(clouds[1], held["teacher"]["teacher"][:, :2])
    np.testing.assert_allclose(clouds[3], held["teacher"]["student"][:, :2])
    own = held["rotated"]["student"][:, :2]
    assert {tuple(place) for place in clouds[4]} <= {tuple(place) for place in own}


def test_clouds_are_those_of_the_oldest_teacher_and_the_words_below_read_its_student() -> None:
    read = {"delta_e": 2.0, "delta_e_ceiling": 8.0}
    places = [(init, age) for age in AGES for init in ("teacher", "rotated")]
    runs = [run("field", 16, i, law__side=4, teacher__snapshot=a, remap_angle=float(a), **read) for i, a in places]
    for name in ("fig1", "fig9"):
        labels = [axes.get_xlabel() for axes in drawing(name, runs).figure.axes[-2:]]
        assert labels == [rf"$\Delta_E$ {panel_number(2.0)} (ceiling {panel_number(8.0)}), 40°"] * 2


def test_pictures_are_the_rows_that_the_caption_names() -> None:
    records = apart("fig1")
    block = PictureRows(Runs(records), "field")
    (image,) = drawn(drawing("fig1", records), "pictures")
    at, (low, high) = block.chosen(14), block.limits
    assert f"field rows {', '.join(map(str, at))}; " in figure("fig1").caption
    student = np.clip((block.rows["$G$"][at] - low) / (high - low), 0, 1).reshape(14, 4, 4)
    own = np.asarray(image.get_array()).reshape(*np.asarray(image.get_array()).shape[:2], -1)[..., 0]
    top = 3 * (own.shape[0] - 4) // 4  # five rows; the fourth are the students
    for column, picture in enumerate(student):
        left = column * (own.shape[1] - 4) // 13
        np.testing.assert_allclose(own[top : top + 4, left : left + 4], picture, atol=1e-5)
    found = [axes.get_title("left") for axes in figure("fig6").figure.axes]
    assert {"(a) early teacher: rows (age 10)", "(b) late teacher: rows (age 40)"} <= set(found)


def test_the_row_of_a_failed_teachers_flow_has_its_name_in_red_and_no_other() -> None:
    for ok in (True, False):
        records = apart("fig1")
        for record in records:
            record.summary["teacher"]["ok"] = ok
        _, axes = subplots()
        PictureRows(Runs(records), "field").draw(axes, "")
        red = [label.get_text() for label in axes.get_yticklabels() if label.get_color() == VERMILLION]
        assert red == ([] if ok else [r"$\Phi_{8}$"])
        close()
