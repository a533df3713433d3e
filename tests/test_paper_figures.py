"""The paper's figures from runs that were never made: each holds its promised panels, draws what it says, and goes on
where runs are missing."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Made, made

from dmdlab.config import InputError
from dmdlab.pairing.analysis import boundary
from dmdlab.pairing.statistics import wilson_interval
from dmdlab.paper.catalogue import FIGURES, drawing
from dmdlab.paper.figures.chosen import Runs
from dmdlab.paper.figures.rows import PictureRows
from dmdlab.plots.pictures import chosen_rows
from dmdlab.plots.style import Drawing
from dmdlab.records.further import further, further_path, save_further

AGES = (10, 20, 40)


def run(law: str, dim: int, init: str = "teacher", seed: int = 0, **values: Any) -> Made:
    """A run with an id of its own."""
    record = made(law, dim, init, seed, teacher__steps=8, teacher__iterations=AGES[-1], **values)
    return Made(record.folder, record.summary | {"id": f"{law}{init}{seed}{values}"}, record.config, record.environment)


def pictures(law: str = "field", ages: Sequence[int] = AGES, seeds: int = 2, **values: Any) -> list[Made]:
    places = [(init, age, seed) for age in ages for init in ("teacher", "rotated") for seed in range(seeds)]
    return [run(law, 16, i, s, law__side=4, teacher__snapshot=a, **values) for i, a, s in places]


def planes(*laws: str) -> list[Made]:
    return [run(law, 4, init, seed) for law in laws for init in ("teacher", "rotated") for seed in range(2)]


def conditional(*laws: str) -> list[Made]:
    return [record for law in laws for record in pictures(law, AGES[-1:], teacher__condition=True)]


RECORDS = {
    "fig1": pictures(ages=AGES[-1:]),
    "fig2": planes("chessboard"),
    "fig3": [*planes("chessboard"), *pictures(ages=AGES[-1:])],
    "fig4": pictures(),
    "fig5": pictures(ages=AGES[-1:]),
    "fig6": pictures(),
    "fig7": planes("moons", "ring"),
    "fig8": conditional("field", "manifold"),
    "fig9": conditional("field", "manifold"),
    "fig10": conditional("field", "manifold"),
    "fig11": pictures(),
}


@cache
def figure(name: str) -> Drawing:
    """The figure of all its records, drawn once."""
    return drawing(name, RECORDS[name])


def titles(found: Drawing) -> list[str]:
    return [axes.get_title(loc) for axes in found.figure.axes for loc in ("left", "center")]


def drawn(found: Drawing, gid: str) -> list[Any]:
    return found.figure.findobj(lambda artist: artist.get_gid() == gid)


@pytest.mark.parametrize("name", RECORDS)
def test_a_figure_holds_the_panels_that_the_catalogue_promises_and_its_caption_what_a_reader_must_know(
    name: str,
) -> None:
    found = figure(name)
    laws = sorted({str(record.config["law.name"]) for record in RECORDS[name] if record.config.get("law.side")})
    promised = [words.format(law=law) for words in FIGURES[name].panels for law in laws or [""]]
    for words in promised:
        assert any(words in title for title in titles(found)), words
    assert [text.get_text() for text in drawn(found, "missing") if "not kept" not in text.get_text()] == []
    for words in ("teacher start", "rotated start", "fidelity", "remap_angle", "delta_e_ceiling", "learning_rate",
                  "sigma_max = 80", "n = 1000", "Example CPU", "commit 0123456789ab"):  # fmt: skip
        assert words in found.caption, words
    assert found.caption.endswith(".")
    assert "Missing" not in found.caption


@pytest.mark.parametrize(("name", "kept", "told"), [
    ("fig2", lambda r: r.config["student.init"] == "teacher", "chessboard, rotated start, teacher of age 40"),
    ("fig7", lambda r: (r.config["law.name"], r.config["student.init"]) != ("ring", "teacher"), "ring, teacher start."),
    ("fig8", lambda r: (r.config["law.name"], r.config["student.init"]) != ("manifold", "teacher"),
     "manifold, teacher start."),
])  # fmt: skip
def test_what_is_missing_is_told_and_the_rest_is_drawn(name: str, kept: Any, told: str) -> None:
    found = drawing(name, [record for record in RECORDS[name] if kept(record)])
    assert "Missing, as no such run is finished: " in found.caption
    assert told in found.caption
    count = sum("no finished run" in text.get_text() for text in drawn(found, "missing"))
    assert count == (5 if name == "fig7" else 1)


class Far(Made):
    """A run whose student's outputs are far from all others."""

    def student(self) -> np.ndarray:
        return super().student() + 1000.0

    def arrays(self) -> dict[str, np.ndarray]:
        return super().arrays() | {"student": super().arrays()["student"] + 1000.0}


@pytest.mark.parametrize(("name", "told"), [
    ("fig1", "(d) student: 20 of 20; (e) rotated student: 20 of 20."),
    ("fig2", "(d) student: 40 of 40; (e) rotated student: 40 of 40."),
    ("fig9", "(g) manifold: student: 20 of 20; (h) manifold: rotated student: 20 of 20."),
])  # fmt: skip
def test_students_outside_of_their_clouds_panels_are_counted(name: str, told: str) -> None:
    far = [Far(r.folder, r.summary, r.config, r.environment) for r in RECORDS[name]]
    assert told in drawing(name, far).caption
    assert "outside of the panels" not in figure(name).caption


@pytest.mark.parametrize("name", ["fig4", "fig11"])
def test_legend_and_caption_name_the_control_and_hollow_marks_only_where_some_are_drawn(name: str) -> None:
    poor = pictures(fidelity=9.0)
    alone = drawing(name, [record for record in poor if record.config["student.init"] == "teacher"])
    for found, there in ((alone, False), (figure(name), True)):
        (legend,) = found.figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert ("rotated init" in names) == there
        assert ("another law" in names) == (name == "fig4" and not there)
        faces = {
            line.get_markerfacecolor() == "white" for line in drawn(found, f"teacher {'solid' if there else 'hollow'}")
        }
        assert faces == ({not there} if name == "fig4" else set())
        assert ("control" in found.caption) == there
        assert "Over seeds 0, 1, mean" in found.caption


def test_a_figure_without_any_teacher_start_is_refused() -> None:
    failed = [made("chessboard", 4, status="failed")]
    with pytest.raises(InputError, match="none of the 1 runs"):
        drawing("fig2", failed)
    with pytest.raises(InputError, match="no finished run starts at its teacher"):
        drawing("fig2", [r for r in RECORDS["fig2"] if r.config["student.init"] == "rotated"])
    with pytest.raises(InputError, match="need two ages, there is 40"):
        drawing("fig6", RECORDS["fig1"])
    with pytest.raises(InputError, match="no distances to what the teachers of field were trained on"):
        drawing("fig12", RECORDS["fig4"])
    runs = Runs([*RECORDS["fig2"], *failed])
    runs.of("teacher")
    assert "1 failed run not drawn" in runs.in_words()


def test_the_loss_is_the_mean_over_seeds_and_the_zoom_its_beginning() -> None:
    found = figure("fig4")
    whole, zoom, _ = found.figure.axes
    for axes in (whole, zoom):
        lines = [line for line in axes.lines if str(line.get_gid()).endswith("line")]
        assert len(lines) == len(AGES)
        np.testing.assert_allclose(lines[0].get_ydata(), np.array([1.0, 10.0, 100.0]) + 0.5)  # seeds 0 and 1
    uneven = drawing("fig4", [r for r in pictures(seeds=6) if r.config["seed"] in (0, 1, 5)]).figure.axes[0]
    np.testing.assert_allclose(uneven.lines[0].get_ydata(), np.array([1.0, 10.0, 100.0]) + 2.0)
    assert zoom.get_xlim()[1] <= whole.get_xlim()[1]
    assert len(drawn(found, "seeds")) == 2 * len(AGES)


def test_correlations_are_those_of_each_seed_beside_a_perfect_copys() -> None:
    marks = [line.get_ydata()[0] for line in drawn(figure("fig5"), "teacher seed")]
    own = [boundary(r.pairs()) for r in RECORDS["fig5"] if r.config["student.init"] == "teacher"]
    assert marks == pytest.approx([one.pearson.value for one in own])
    copies = [line.get_ydata()[0] for line in drawn(figure("fig5"), "perfect copy")]
    assert copies == pytest.approx([np.corrcoef(one.distance, -one.start)[0, 1] for one in own])


class Kept(Made):
    """A run whose teacher's further arrays lie in a store."""


@pytest.fixture
def kept(tmp_path: Path) -> list[Kept]:
    """Runs of two ages, the older teacher near one training point."""
    (tmp_path / "further").mkdir()
    found = []
    for record in pictures(ages=AGES[1:]):
        age, seed = record.config["teacher.snapshot"], record.config["seed"]
        near = np.random.default_rng([age, seed]).uniform(0.5, 1.0, (40, 3))
        near[:, 0] = (0.1 if age == AGES[-1] else 0.8) * near[:, 1]
        arrays = {"training": near, "training_of_data": np.ones((40, 3)), "phi_32": np.full((40, 16), 7.0)}
        summary, config = record.summary | {"pairs": f"a{age}s{seed}.npz"}, record.config | {"measure.samples": 40}
        one = Kept(tmp_path / "runs" / "one", summary, config, record.environment)
        save_further(further_path(one), one, {name: array.astype(np.float32) for name, array in arrays.items()})
        found.append(one)
    return found


def test_memorisation_is_read_from_the_distances_to_the_training_set(kept: list[Kept]) -> None:
    found = drawing("fig12", kept)
    assert any("memorisation ratio" in title for title in titles(found))
    assert [line.get_ydata()[0] for line in drawn(found, "seed")] == [0.0, 0.0, 1.0, 1.0]  # ages, and seeds of each
    assert [line.get_ydata()[0] for line in drawn(found, "data")] == [0.0]
    ends = [lines.get_segments()[0][:, 1] for lines in drawn(found, "interval")]
    np.testing.assert_allclose(ends, [wilson_interval(share, 40) for share in (0.0, 0.0, 1.0, 1.0)])
    assert "age 20: 0 %, 0 %; age 40: 100 %, 100 %" in found.caption
    assert "grey: data that nobody trained on, of seed 0. " in found.caption


def test_rows_are_drawn_by_the_seed_and_the_long_flow_is_a_row_where_it_is_kept(kept: list[Kept]) -> None:
    block = PictureRows(Runs(kept), "field", AGES[-1])
    assert list(block.rows) == [r"$\Phi_1$", r"$\Phi_{8}$", r"$\Phi_{32}$", "$G$", "rotated $G$"]
    assert (block.rows[r"$\Phi_{32}$"] == 7.0).all()
    assert (further(kept[-1])["training"] > 0).all()
    assert (block.chosen(7) == chosen_rows(block.record, 40, 7)).all()
    assert len(set(block.chosen(7))) == 7
    without = PictureRows(Runs(RECORDS["fig1"]), "field")
    assert without.rows[r"$\Phi_{32}$"] is None


class Told(Made):
    """A run whose student is its teacher, or, of a rotated start and of any but the oldest teacher, far from it and at
    other rows; the one-step outputs between."""

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = super().arrays()
        copies = self.config["student.init"] == "teacher" and self.config["teacher.snapshot"] not in AGES[:-1]
        return arrays | {"student": arrays["teacher"] if copies else np.roll(arrays["teacher"], 1, axis=0) + 9.0}

    def student(self) -> np.ndarray:
        return self.arrays()["student"]


def told(records: Sequence[Made], *without: tuple[str, int]) -> list[Made]:
    """These, without some (start, seed)."""
    left = [r for r in records if (r.config["student.init"], r.config["seed"]) not in without]
    return [Told(r.folder, r.summary, r.config, r.environment) for r in left]


def test_displacement_tells_the_shares_of_each_start_and_that_no_rotated_student_started_at_the_one_step() -> None:
    for name, letter, own in (("fig10", "b", "manifold"), ("fig11", "c", "age 40")):
        found = drawing(name, told(RECORDS[name])).caption
        said = f"({letter}) {own}, seed 0: 100 % of the teacher start and 0 % of the rotated start are nearer than P1."
        assert said in found
        assert "where a student of teacher start began; one of rotated start elsewhere" in found
        assert "brought" not in found
    assert "(a) age 10, seed 0: 0 % of the teacher start" in found
    (random,) = [line.get_ydata()[0] for line in drawn(drawing("fig10", told(conditional("field"))), "random")]
    teacher = told(pictures(ages=AGES[-1:]))[0].arrays()["teacher"].astype(float)
    apart = ((teacher[:, None] - teacher) ** 2).sum(axis=2)  # of a student that is its teacher
    assert random == pytest.approx(np.sqrt(apart.sum() / (40 * 39)))
    several = drawing("fig10", told(pictures("field", teacher__condition=True))).caption
    assert "(a) field, seed 0: 100 % of the teacher start" in several  # of the oldest


def test_every_panel_shows_the_student_of_its_own_start() -> None:
    found = titles(drawing("fig3", told(RECORDS["fig3"])))
    for letter, law in (("a", "chessboard"), ("c", "field")):
        assert f"({letter}) {law}, teacher start\n40 of 40 optimal partners on the diagonal" in found
        assert f"({chr(ord(letter) + 1)}) {law}, rotated start\n0 of 40 optimal partners on the diagonal" in found
    records = told(RECORDS["fig1"])
    rows = PictureRows(Runs(records), "field").rows
    for row, init in (("$G$", "teacher"), ("rotated $G$", "rotated")):
        own = next(r for r in records if (r.config["student.init"], r.config["seed"]) == (init, 0))
        np.testing.assert_array_equal(rows[row], own.student())
    labels = [axes.get_xlabel() for axes in figure("fig2").figure.axes[3:]]
    for label, init in zip(labels, ("teacher", "rotated"), strict=True):
        (own,) = [r for r in RECORDS["fig2"] if (r.config["student.init"], r.config["seed"]) == (init, 0)]
        assert label.endswith(f"{own.row['remap_angle']:.0f}°")


@pytest.mark.parametrize("name", ["fig5", "fig10", "fig11"])
def test_a_control_of_another_seed_alone_is_told_as_missing_and_not_drawn(name: str) -> None:
    found = drawing(name, told(RECORDS[name], ("rotated", 0)))
    assert "rotated start, teacher of age 40, seed 0" in found.caption.partition("Missing, ")[2].partition(". ")[0]
    names = [text.get_text() for legend in found.figure.legends for text in legend.get_texts()]
    assert names == ["teacher init"]
    assert ("Vermillion" in found.caption, "rotated start are nearer" in found.caption) == (False, False)
    alone = drawing(name, told(RECORDS[name], ("rotated", 0), ("rotated", 1))).caption
    assert "the rotated start is what" not in alone
    other = drawing(name, told(RECORDS[name], ("teacher", 0)))  # seed 1 of both
    assert ("seed 1: " in other.caption, len(other.figure.legends[0].get_texts())) == (name != "fig5", 2)
    assert "Missing" not in other.caption


def test_the_control_is_of_the_same_seed_and_the_oldest_teacher_is_shown() -> None:
    runs = Runs(told(pictures(), ("teacher", 0)))
    assert runs.oldest("field") == 40
    first = runs.needed("field", 40)
    control = runs.control(first, "field", 40)
    assert control is not None
    assert [(r.config["seed"], r.config["teacher.snapshot"]) for r in (first, control)] == [(1, 40), (1, 40)]
    assert not runs.missing
    caption = drawing("fig6", pictures()).caption
    assert "ages 10 and 40 iterations" in caption
    some = [r for r in RECORDS["fig6"] if (r.config["teacher.snapshot"], r.config["seed"]) != (40, 0)]
    assert "Shown: seed 1. " in drawing("fig9", some).caption


def test_nine_ages_have_a_panel_each() -> None:
    ages = range(1, 10)
    found = drawing("fig11", pictures(ages=ages, seeds=1))
    assert [f"({letter}) age {age}" for letter, age in zip("abcdefghi", ages, strict=True)] == [
        title for title in titles(found) if title
    ]
    assert len(drawn(found, "pairs")) == 2 * len(ages)


@pytest.mark.parametrize("name", ["fig3", "fig6"])
def test_heat_maps_of_all_points_do_not_speak_of_a_larger_sample(name: str) -> None:
    class Many(Made):
        def arrays(self) -> dict[str, np.ndarray]:
            return {key: np.concatenate([array] * 3) for key, array in super().arrays().items()}

    many = [Many(r.folder, r.summary, r.config, r.environment) for r in RECORDS[name]]
    assert "With n = 100 points more partners are optimal by chance" in drawing(name, many).caption
    assert "in the whole sample" not in figure(name).caption  # of 40


def test_boundary_reads_the_training_set_where_it_is_kept_and_tells_the_distance_alone(kept: list[Kept]) -> None:
    runs = [r for r in kept if r.config["teacher.snapshot"] == 40]
    found = drawing("fig5", kept)
    assert "D(z) of the teacher's output P to the training set; " in found.caption
    for init in ("teacher", "rotated"):
        own = [r for r in runs if r.config["student.init"] == init]
        apart = [np.linalg.norm(r.arrays()["teacher"] - r.arrays()["student"], axis=1) for r in own]
        alone = [np.corrcoef(further(r)["training"][:, 2], far)[0, 1] for r, far in zip(own, apart, strict=True)]
        said = found.caption.partition("from P alone: ")[2]
        assert f"{init} start: {alone[0]:.2f} (seed 0), {alone[1]:.2f} (seed 1)" in said
    assert "to data that nobody trained on" in figure("fig5").caption


def test_only_laws_in_a_plane_are_seen_in_its_coordinates() -> None:
    turned = [run("chessboard", 4, init, law__embedding="random") for init in ("teacher", "rotated")]
    for records, plane in ((turned, False), (RECORDS["fig2"], True)):
        caption = drawing("fig2", records).caption
        assert ("(chessboard, d = 4, first two coordinates)" in caption) == plane
        assert ("principal components of the teacher" in caption) != plane
