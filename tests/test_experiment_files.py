"""Experiment files, presets and key=value words: what overrides what, sweeps and their axes."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from least import least
from pydantic import Field

from dmdlab.config import MOST_PAIRED, TURNED, Experiment, InputError, experiment_from
from dmdlab.experiments import files, load, parse_words, resolve, spelled_out
from dmdlab.laws import LAWS, law_parameters
from dmdlab.networks import NETWORKS
from dmdlab.networks.mlp import MLP, MLPSettings

FILE = """
preset = "smoke"
question = "Why?"

[teacher]
steps = 6
batch = 48

[student]
levels = [0.1, 0.9]

[sweep]
"law.dim" = [2, 3]
seed = { start = 1, stop = 7, step = 2 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "question.toml"
    file.write_text(FILE)
    return file


def test_later_settings_win_defaults_preset_file_words(path: Path) -> None:
    def steps_and_batch(*args: Any, **kwargs: Any) -> tuple[int, int, int]:
        first = load(*args, **kwargs).experiments()[0]
        return first.teacher.steps, first.teacher.batch, first.teacher.iterations

    defaults = Experiment().teacher
    assert steps_and_batch(None) == (defaults.steps, defaults.batch, defaults.iterations)
    assert steps_and_batch(None, "smoke") == (4, 64, 60)
    assert steps_and_batch(path) == (6, 48, 60)
    assert steps_and_batch(path, None, ["teacher.steps=7"]) == (7, 48, 60)
    assert steps_and_batch(path, None, ["teacher.steps=7", "teacher.steps=9"])[0] == 9


def test_a_preset_asked_for_replaces_the_files_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "presets", lambda: {"other": "[student]\nbatch = 3", "smoke": "[student]\nbatch = 4"})
    assert load(path).experiments()[0].student.batch == 4
    assert load(path, "other").experiments()[0].student.batch == 3


def test_axes_are_lists_and_ranges_and_their_product_is_the_sweep(path: Path) -> None:
    sweep = load(path)
    assert sweep.question == "Why?"
    assert sweep.axes == {"law.dim": [2, 3], "seed": [1, 3, 5]}
    points = [(e.law.dim, e.seed) for e in sweep.experiments()]
    assert points == list(itertools.product([2, 3], [1, 3, 5]))
    assert all(e.student.levels == (0.1, 0.9) for e in sweep.experiments())


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{ stop = 3 }", [0, 1, 2]),
        ("{ start = 2, stop = 4 }", [2, 3]),
        ("{ start = 5, stop = 0, step = -2 }", [5, 3, 1]),
        ("[4]", [4]),
    ],
)
def test_a_range_is_pythons(text: str, values: list[int]) -> None:
    assert load(None, None, [f"seed={text}"]).axes == {"seed": values}


def test_a_word_on_a_swept_key_replaces_its_axis(path: Path) -> None:
    assert [(e.law.dim, e.seed) for e in load(path, None, ["law.dim=9"]).experiments()] == [(9, 1), (9, 3), (9, 5)]
    assert [e.law.dim for e in load(path, None, ["law.dim=[4, 5]", "seed=0"]).experiments()] == [4, 5]


def test_a_word_can_make_an_axis_of_a_plain_key(path: Path) -> None:
    found = load(path, None, ["teacher.steps=[1, 2]", "seed=0", "law.dim=2"]).experiments()
    assert [e.teacher.steps for e in found] == [1, 2]


def test_a_list_for_a_key_that_holds_a_list_is_a_setting_and_a_list_of_lists_an_axis(tmp_path: Path) -> None:
    assert load(None, None, ["student.levels=[0.2, 0.8]"]).experiments()[0].student.levels == (0.2, 0.8)
    file = tmp_path / "levels.toml"
    file.write_text('[sweep]\n"student.levels" = [[0.0, 0.5], [0.5, 1.0]]')
    assert [e.student.levels for e in load(file).experiments()] == [(0.0, 0.5), (0.5, 1.0)]


class Listed(MLP):
    """A network with a setting that is a list."""

    class Settings(MLPSettings):
        channels: list[int] = Field([8, 16])


def test_a_list_for_a_networks_setting_that_is_a_list_is_no_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "listed", Listed)

    def runs(*words: str) -> list[Experiment]:
        return load(None, None, ["network.kind=listed", *words]).experiments()

    (one,) = runs("network.channels=[4, 8, 8]")
    assert one.network.parameters == {"channels": [4, 8, 8]}
    assert spelled_out(one)["network.channels"] == [4, 8, 8]
    assert runs("network.channels=[8, 16]") == runs()
    assert len(runs("network.channels=[4, 8, 8]", "network.width=[4, 8]")) == 2


def test_a_files_setting_replaces_its_presets_axis_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[student]\nbatch = 3\n[sweep]\nseed = [1, 2]\n"law.dim" = [2, 3]'
    monkeypatch.setattr(files, "presets", lambda: {"swept": text})
    file = tmp_path / "file.toml"
    file.write_text('preset = "swept"\nseed = 7\n[sweep]\n"student.batch" = [4, 5]')
    sweep = load(file)
    assert sweep.axes == {"law.dim": [2, 3], "student.batch": [4, 5]}
    assert sweep.settings == {"seed": 7}


@pytest.mark.parametrize(
    ("own", "axes"),
    [
        ("law.dim = 8", ["network"]),
        ("network.width = 8", ["together"]),
        ("network.depth = 1", ["network", "together"]),
        ('[sweep]\n"network.width" = [8, 9]', ["together", "network.width"]),
    ],
)
def test_a_files_setting_replaces_its_presets_axis_of_tables(
    own: str, axes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[sweep]\nnetwork = [{width = 4}, {width = 5}]\ntogether = [{law.dim = 2, seed = 0}, {law.dim = 3}]"
    monkeypatch.setattr(files, "presets", lambda: {"swept": text})
    file = tmp_path / "file.toml"
    file.write_text(f'preset = "swept"\n{own}')
    assert list(load(file).axes) == axes


def test_nested_sweep_tables_are_axes_too(tmp_path: Path) -> None:
    file = tmp_path / "nested.toml"
    file.write_text("[sweep.law]\ndim = [2, 4]")
    assert load(file).axes == {"law.dim": [2, 4]}


def test_a_line_end_in_a_word_sets_no_other_key() -> None:
    assert parse_words(["a=1\nb=2"]) == {"a": "1\nb=2"}


def test_a_copy_has_ids_of_its_own() -> None:
    """And a snapshot at the end is the end, whatever it is called."""
    one = experiment_from({"teacher.iterations": 7, "student.init": "regressed"})
    ids = (one.id, one.teacher_id, one.fit_id)
    copied = one.model_copy(update={"seed": 1})
    assert not set(ids) & {copied.id, copied.teacher_id, copied.fit_id}
    last = experiment_from({"teacher.iterations": 7, "student.init": "regressed", "teacher.snapshot": 7})
    assert (last.id, last.teacher_id, last.fit_id) == ids
    assert spelled_out(one)["teacher.snapshot"] == spelled_out(last)["teacher.snapshot"] == 7


@pytest.mark.parametrize("init", TURNED)
def test_what_turns_needs_a_plane_and_a_transport_no_more_pairs_than_are_exact(init: str) -> None:
    with pytest.raises(InputError, match=f"student.init = '{init}' needs law.dim >= 2"):
        experiment_from({"student.init": init, "law.dim": 1})
    settings = {"student.init": "transport", "student.pairs": MOST_PAIRED}
    assert experiment_from(settings).student.pairs == MOST_PAIRED
    with pytest.raises(InputError, match=f"student.pairs = {MOST_PAIRED + 1} are too many"):
        experiment_from(settings | {"student.pairs": MOST_PAIRED + 1})


def test_a_point_that_comes_twice_runs_once() -> None:
    assert len(load(None, None, ["seed=[0, 1, 0]"]).experiments()) == 2


def test_words_are_toml_values_or_bare_words() -> None:
    words = ["a.b=1", "c=1e-4", "d=true", "e=ring", 'f="x=y"', "g=[1, 2]", "h = 3", "i=x=y", "j="]
    assert parse_words(words) == {
        "a.b": 1,
        "c": 1e-4,
        "d": True,
        "e": "ring",
        "f": "x=y",
        "g": [1, 2],
        "h": 3,
        "i": "x=y",
        "j": "",
    }
    assert type(parse_words(["c=1e-4"])["c"]) is float


@pytest.mark.parametrize("name", sorted(files.presets()))
def test_every_preset_resolves(name: str) -> None:
    assert "?" in load(None, name).question
    if name == "mnist":  # whose files are the user's
        with pytest.raises(InputError, match=r"law\.path"):
            load(None, name).experiments()
        return
    if name == "digits":
        pytest.importorskip("sklearn")
    assert load(None, name).experiments()


def test_a_preset_may_be_based_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"base": 'question = "a?"\n[student]\nbatch = 3\nwarmup = 5', "own": 'preset = "base"\nstudent.batch = 4'}
    monkeypatch.setattr(files, "presets", lambda: texts)
    found = load(None, "own", ["student.iterations=9"])
    assert (found.question, found.settings["student.batch"], found.settings["student.warmup"]) == ("a?", 4, 5)


def test_an_axis_of_tables_changes_several_keys_at_once(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        'network.width = 7\n[law]\nname = "field"\nside = 4\n[sweep]\nseed = [0, 1]\n'
        'network = [{kind = "unet"}, {kind = "residual", width = 9, depth = 2}, {kind = "residual"}]'
    )
    found = [(e.seed, e.network.kind, e.network.parameters) for e in load(file).experiments()]
    kinds = [("unet", {}), ("residual", {"width": 9, "depth": 2}), ("residual", {"width": 7})]
    assert found == [(seed, *kind) for seed in (0, 1) for kind in kinds]
    (one,) = load(file, None, ["network.kind=unet", "seed=3"]).experiments()
    assert (one.network.kind, one.seed) == ("unet", 3)
    file.write_text('[sweep]\nnetwork = [{kind = "unet", width = 3}]\n[law]\nname = "field"')
    with pytest.raises(InputError, match=r"network\.width"):
        load(file).experiments()


def test_what_changes_together_across_sections_is_one_axis(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        "[sweep]\nseed = [0, 1]\n"
        'together = [{fake_score.updates = 1, student.iterations = 40}, {"fake_score.updates" = 5}]'
    )
    found = [(e.seed, e.fake_score.updates, e.student.iterations) for e in load(file).experiments()]
    assert found == [(seed, *own) for seed in (0, 1) for own in ((1, 40), (5, 10_000))]
    beside = load(file, None, ["student=[{batch = 7}]", "seed=0"]).experiments()
    assert [(e.student.batch, e.student.iterations) for e in beside] == [(7, 40), (7, 10_000)]
    (one,) = load(file, None, ["fake_score.updates=2", "seed=3"]).experiments()
    assert (one.fake_score.updates, one.student.iterations) == (2, 10_000)
    for axis, said in (
        ("[3]", "tables"),
        ("[{seed = 4}]", "seed.*another"),
        ("[{student.batsh = 4}]", "student.batch"),
    ):
        with pytest.raises(InputError, match=said):
            load(file, None, [f"together={axis}"])


def test_every_shipped_experiment_resolves() -> None:
    shipped = sorted(Path(__file__).parents[1].glob("experiments/**/*.toml"))
    assert shipped
    for file in shipped:
        assert "?" in load(file).question
        if "law.path" in file.read_text(encoding="utf-8"):  # whose files are the user's: here a law that needs none
            assert load(file, None, ["law.name=fields", "law.side=8", "teacher.kind=network"]).experiments()
        else:
            assert load(file).experiments()


def test_settings_that_are_right_together_may_come_from_two_places(tmp_path: Path) -> None:
    file = tmp_path / "noise.toml"
    file.write_text("[noise]\nsigma_min = 100.0")
    assert load(file, None, ["noise.sigma_max=200.0"]).experiments()
    file.write_text('[noise]\nsigma_min = 100.0\n[sweep]\n"noise.sigma_max" = [200.0, 300.0]')
    assert load(file).experiments()


def test_an_empty_section_is_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "slip.toml"
    file.write_text("[studnet]\n")
    with pytest.raises(InputError, match="studnet"):
        load(file).experiments()


@pytest.mark.parametrize("name", LAWS)
def test_every_parameter_that_the_catalogue_offers_can_be_set(name: str, tmp_path: Path) -> None:
    offered = law_parameters(name)
    assert not set(offered) & LAWS[name].python_only
    settings = {f"law.{k}": v for k, v in (offered | least(name, tmp_path)).items()}
    few = {"teacher.kind": "network", "measure.samples": 20}
    assert resolve(experiment_from(settings | few)).law.name == name


def test_who_names_another_law_or_network_leaves_behind_what_only_the_one_before_knew(tmp_path: Path) -> None:
    other = load(None, "quickstart", ["law.name=sphere", "law.dim=3"]).experiments()[0]
    assert other.law.name == "sphere"
    assert "components" not in other.law.parameters
    with pytest.raises(InputError, match="components"):  # said together with the law, it is a slip
        load(None, "quickstart", ["law.name=sphere", "law.components=3"]).experiments()
    file = tmp_path / "spirals.toml"
    file.write_text('preset = "quickstart"\n[law]\nname = "spiral"\nscale = 2.0\ndim = 4\n')
    assert load(file).experiments()[0].law.parameters == {"scale": 2.0}
    same = load(None, "quickstart", ["law.name=mixture", "law.components=4"]).experiments()[0]
    assert same.law.parameters == {"components": 4}
    (pictures,) = load(file, None, ["law.name=field", "law.side=4", "law.scale=1.0", "seed=0"]).experiments()
    assert pictures.law.dim == 16  # a law of pictures sets it, whatever the one before had
