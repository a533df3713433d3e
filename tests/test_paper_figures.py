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
    assert "age 20: 0 %, 0 %; age 40: 100 %, 100 %" in found.caption


def test_rows_are_drawn_by_the_seed_and_the_long_flow_is_a_row_where_it_is_kept(kept: list[Kept]) -> None:
    block = PictureRows(Runs(kept), "field", AGES[-1])
    assert list(block.rows) == [r"$\Phi_1$", r"$\Phi_{8}$", r"$\Phi_{32}$", "$G$", "rotated $G$"]
    assert (block.rows[r"$\Phi_{32}$"] == 7.0).all()
    assert (further(kept[-1])["training"] > 0).all()
    assert (block.chosen(7) == chosen_rows(block.record, 40, 7)).all()
    assert len(set(block.chosen(7))) == 7
    without = PictureRows(Runs(RECORDS["fig1"]), "field")
    assert without.rows[r"$\Phi_{32}$"] is None
