"""What an experiment is: which inputs are refused and with what words, what an id depends on."""

import hashlib
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from valid import OTHER

from dmdlab import config
from dmdlab.config import (
    RESULT_VERSION,
    Experiment,
    InputError,
    describe,
    did_you_mean,
    experiment_from,
    flatten,
    known_keys,
    map_keys,
    nest,
)
from dmdlab.experiments import meanings, resolve, spelled_out
from dmdlab.group import shape
from dmdlab.laws import LAWS, law_parameters
from dmdlab.networks import NETWORKS
from dmdlab.networks.mlp import MLPSettings
from dmdlab.training.terms import TERMS

# --- defaults

PINNED = {2: "f57a2dd0b2"}
"""By version of results: a hash of all defaults."""


def test_the_defaults_are_pinned() -> None:
    """Ids hash only what differs from a default, so runs before and after a changed default would share an id."""
    defaults = flatten(Experiment())
    defaults |= {f"law.{name}.{key}": value for name in LAWS for key, value in law_parameters(name).items()}
    for name, kind in NETWORKS.items():
        defaults |= {f"network.{name}.{key}": v for key, v in kind.Settings().model_dump(mode="json").items()}
    for name, term in TERMS.items():  # whose weight has no default
        defaults |= {f"terms.{name}.{key}": v for key, v in term.Settings(weight=0).model_dump(mode="json").items()}
    found = hashlib.sha256(json.dumps(defaults, sort_keys=True).encode()).hexdigest()[:10]
    assert PINNED.get(RESULT_VERSION) == found, (
        f"the defaults are not those of results {RESULT_VERSION} any more: if the value of one has changed, raise "
        f"RESULT_VERSION in dmdlab/config/experiment.py; then (or if a key is merely new) pin {found!r} for it here"
    )


# --- ids


def test_a_new_key_at_its_default_changes_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [(e.id, e.teacher_id, map_keys(e)) for e in (Experiment(), experiment_from(OTHER))]

    class Teacher(config.TeacherConfig):
        later: int = 3

    class Later(Experiment):
        teacher: Teacher = Teacher()

    for place in (config.experiment, config.keys):
        monkeypatch.setattr(place, "Experiment", Later)
    after = [Later(), experiment_from(OTHER), experiment_from(OTHER | {"teacher.later": 3})]
    assert [(e.id, e.teacher_id, map_keys(e)) for e in after] == [*before, before[1]]
    assert experiment_from(OTHER | {"teacher.later": 4}).id != before[1][0]


def test_a_new_setting_of_a_network_changes_no_id_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(MLPSettings):
        taps: int = 3

    wide = resolve(experiment_from({"network.width": 16})).id
    monkeypatch.setattr(NETWORKS["residual"], "Settings", Later)
    assert resolve(experiment_from({"network.width": 16})).id == wide
    assert resolve(experiment_from({"network.width": 16, "network.taps": 3})).id == wide
    assert resolve(experiment_from({"network.width": 16, "network.taps": 4})).id != wide


def test_every_key_has_another_value_in_these_tests() -> None:
    assert set(OTHER) == set(known_keys())
    defaults = flatten(Experiment())
    assert all(OTHER[key] != defaults[key] for key in OTHER)


def test_id_changes_with_every_key() -> None:
    ids = [Experiment().id, *(experiment_from({key: value}).id for key, value in OTHER.items())]
    catalogues = {"law.components": 3, "network.width": 16, "network.depth": 1, "network.time_features": 8}
    ids += [resolve(experiment_from({key: value})).id for key, value in catalogues.items()]
    assert len(set(ids)) == len(ids)


FLOW = {"teacher.kind", "teacher.steps", "teacher.solver"}
"""Keys of the section that change how a trained network is used, not how it is trained."""

KEYS = [*sorted(OTHER), "network.width", "law.components"]


def trains(key: str) -> bool:
    """Whether this key determines the trained network."""
    return key.startswith(("law.", "noise.", "teacher.", "network.", "seed")) and key not in FLOW


@pytest.mark.parametrize("key", KEYS)
def test_teacher_id_changes_with_what_trains_the_network_and_with_nothing_else(key: str) -> None:
    assert (experiment_from({key: OTHER.get(key, 7)}).teacher_id != Experiment().teacher_id) == trains(key)


FITS = ("student.init", "student.pairs", "student.regression", "student.start_level", "student.step_levels")


@pytest.mark.parametrize("key", KEYS)
def test_fit_id_changes_with_what_a_fitted_start_is_made_of_and_with_nothing_else(key: str) -> None:
    counts = trains(key) or key in (*FLOW, *FITS)
    assert (experiment_from({key: OTHER.get(key, 7)}).fit_id != Experiment().fit_id) == counts


@pytest.mark.parametrize("kind", ["exact", "network"])
@pytest.mark.parametrize("key", [key for key in KEYS if key != "teacher.kind"])
def test_map_keys_change_with_what_determines_the_flow_and_with_nothing_else(key: str, kind: str) -> None:
    """Of an exact teacher that is the law, the noise and the flow; a trained one is another with every seed."""
    one, other = (experiment_from({"teacher.kind": kind, **more}) for more in ({}, {key: OTHER.get(key, 7)}))
    counts = trains(key) if kind == "network" else key.startswith(("law.", "noise."))
    assert (map_keys(other) != map_keys(one)) == (counts or key in FLOW or key == "teacher.condition")


def test_a_trained_teachers_map_is_not_the_exact_ones() -> None:
    assert map_keys(experiment_from({"teacher.kind": "network"})) != map_keys(Experiment())


def test_id_does_not_depend_on_the_order_of_keys_nor_on_saying_the_defaults() -> None:
    pairs = [("law.name", "ring"), ("law.dim", 4), ("law.scale", 2.0), ("law.radius", 1.0), ("seed", 3)]
    ids = {experiment_from(dict(order)).id for order in itertools.permutations(pairs)}
    assert len(ids) == 1
    assert experiment_from(flatten(Experiment())).id == Experiment().id
    assert experiment_from({"student.clip": 10}).id == experiment_from({"student.clip": 10.0}).id


def test_id_is_stable_and_tied_to_the_version_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Experiment().id
    assert re.fullmatch("[0-9a-f]{10}", here)
    assert Experiment().id == here
    monkeypatch.setattr(config.experiment, "RESULT_VERSION", RESULT_VERSION + 1)
    assert Experiment().id != here


def test_an_experiment_spelled_out_is_the_same_and_every_key_of_it_has_a_meaning() -> None:
    short = resolve(experiment_from({"law.name": "ring", "law.dim": 4, "network.width": 16, "network.depth": 4}))
    full = spelled_out(short)
    assert set(full) > {*known_keys(), "law.components", "law.radius", "network.depth", "network.time_features"}
    assert (full["network.width"], full["law.dim"]) == (16, 4)
    assert resolve(experiment_from(full)) == short
    said = meanings(short)
    assert all(len(said[key]) > 8 for key in full if key in known_keys() or key.startswith("network."))


def test_a_whole_number_for_a_real_parameter_of_a_law_is_the_same_experiment() -> None:
    whole, real = (resolve(experiment_from({"law.name": "ring", "law.scale": v})) for v in (2, 2.0))
    assert whole.id == real.id


def test_the_id_of_an_empirical_law_depends_on_its_points(tmp_path: Path) -> None:
    ids = set()
    for points in (np.eye(3), np.eye(3)[:2]):
        np.save(tmp_path / "points.npy", points)
        flat = {"law.name": "empirical", "law.dim": 3, "law.path": str(tmp_path / "points.npy")}
        ids.add(resolve(experiment_from(flat)).id)
    assert len(ids) == 2
    np.save(tmp_path / "points.npy", np.ones((4, 3)))  # once a division by zero, in training
    with pytest.raises(InputError, match=r"is 0; expected 1e-15 to 1e15, .*: give points that differ"):
        resolve(experiment_from(flat))


@pytest.mark.parametrize("name", ["empirical", "images"])
def test_ids_know_what_a_file_holds_and_not_where_it_lies(name: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((90, 16) if name == "empirical" else (90, 4, 4))
    size = {"law.dim": 16} if name == "empirical" else {"law.side": 4}
    found = []
    for file in ("one.npy", "two.npy"):
        np.save(tmp_path / file, array)
        flat = {"law.name": name, "law.path": str(tmp_path / file), "teacher.kind": "network", "measure.samples": 9}
        found.append(resolve(experiment_from(flat | size)))
    first, second = found
    assert first.law.parameters["path"] != second.law.parameters["path"]
    assert first.law.parameters["digest"] == second.law.parameters["digest"]
    assert (first.id, first.teacher_id, map_keys(first)) == (second.id, second.teacher_id, map_keys(second))
    assert shape(first) == shape(second)
    np.save(tmp_path / "two.npy", array + 1)
    changed = resolve(experiment_from(flat | size))  # as the next sweep into the folder meets it
    assert {changed.id, changed.teacher_id}.isdisjoint({second.id, second.teacher_id})
    assert map_keys(changed) != map_keys(second)
    assert shape(changed) != shape(second)
    with pytest.raises(InputError, match=rf"two.npy .*expected law.digest '{second.law.parameters['digest']}'"):
        resolve(experiment_from(flatten(second)))


# --- shape of a configuration


def test_flatten_and_nest_are_inverses() -> None:
    flat = flatten(experiment_from(OTHER))
    assert flat == OTHER
    assert flatten(experiment_from(flat)) == flat
    assert nest({"law.dim": 2, "seed": 1, "law.name": "ring"}) == {"law": {"dim": 2, "name": "ring"}, "seed": 1}


def test_describe_explains_every_key() -> None:
    assert list(describe()) == known_keys()
    assert all(len(text) > 8 for text in describe().values())


def test_an_experiment_cannot_be_changed() -> None:
    experiment = Experiment()
    with pytest.raises(ValidationError, match="frozen"):
        experiment.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        experiment.student.clip = 3.0  # type: ignore[misc]


def test_a_hint_offers_a_close_name_or_all_of_them() -> None:
    assert did_you_mean("copy_indx", ["delta_e", "copy_index"]) == "; did you mean 'copy_index'?"
    assert did_you_mean("qqq", ["b", "a"]) == "; valid names: a, b"
    assert did_you_mean("lawdim", ["dim", "seed"], "law.") == "; did you mean 'law.dim'?"
    assert did_you_mean("qqq", ["b", "a"], "law.") == "; valid names: law.a, law.b"
    assert did_you_mean("LAW.DIM", ["law.dim", "law.name"]) == "; did you mean 'law.dim'?"
    assert did_you_mean("batch", ["b.batch", "a.batch", "a.batches"]) == "; did you mean 'a.batch' or 'b.batch'?"
    assert did_you_mean("Batch", ["b.batch", "a.batch"]) == "; did you mean 'a.batch' or 'b.batch'?"
    assert did_you_mean("", ["axis", "curve"]) == "; valid names: axis, curve"
    many = ["seed", *(f"{section}.{k}" for section in ("a", "b") for k in range(30))]
    assert did_you_mean("qqq", many) == "; valid names: a.*, b.*, seed"


# --- bad input: the sentence names the key, what was expected, and the nearest name

REFUSED = {
    "a term without its section": (
        {"gan.weight": 1.0},
        ["unknown key 'gan.weight'", "of the loss, 'terms.gan.weight'"],
    ),
    "a term, misspelt": ({"term.gan.weight": 1.0}, ["unknown key 'term.gan.weight'; did you mean 'terms.gan.weight'"]),
    "another lab's section": ({"train.iterations": 3}, ["'student.iterations' or 'teacher.iterations', or, of a term"]),
    "nothing like it": (
        {"optimizer.lr": 1.0},
        ["student, teacher, terms; a term of the loss is set as terms.NAME.KEY"],
    ),
    "no section": ({".seed": 1}, ["unknown key '.seed'; did you mean 'seed'"]),
    "no dot": ({"lawside": 8}, ["unknown key 'lawside'; did you mean 'law.side'"]),
    "unknown section": ({"studnet.clip": 1.0}, ["unknown key 'studnet.clip'", "did you mean 'student.clip'"]),
    "unknown key": ({"student.lerning_rate": 1.0}, ["'student.lerning_rate'", "did you mean 'student.learning_rate'"]),
    "word for a number": ({"law.dim": "two"}, ["law.dim", "valid integer", "'two'"]),
    "real for a whole number": ({"student.batch": 2.5}, ["student.batch", "integer", "2.5"]),
    "no silent conversion": ({"student.batch": "64"}, ["student.batch", "integer", "'64'"]),
    "truth for a number": ({"seed": True}, ["seed", "integer", "True"]),
    "list for a number": ({"student.clip": [1.0]}, ["student.clip", "number", "[1.0]"]),
    "not finite": ({"noise.sigma_max": math.inf}, ["noise.sigma_max", "finite", "inf"]),
    "NaN": ({"student.learning_rate": math.nan}, ["student.learning_rate", "finite", "nan"]),
    "unknown choice": ({"student.init": "techer"}, ["student.init", "'transport' or 'random'", "'techer'"]),
    "unknown optimiser": ({"student.optimiser": "adam"}, ["student.optimiser", "'adamw' or 'sgd'", "'adam'"]),
    "dim 0": ({"law.dim": 0}, ["law.dim", "greater than or equal to 1", "got 0"]),
    "negative sigma": ({"noise.sigma_min": -0.1}, ["noise.sigma_min", "greater than 0", "-0.1"]),
    "zero sigma": ({"noise.sigma_max": 0.0}, ["noise.sigma_max", "greater than 0"]),
    "sigmas in the wrong order": ({"noise.sigma_min": 90.0}, ["sigma_min = 90.0", "below", "sigma_max = 80.0"]),
    "equal sigmas": ({"noise.sigma_min": 1.0, "noise.sigma_max": 1.0}, ["sigma_min = 1.0", "below"]),
    "a level whose square is none": ({"noise.sigma_min": 1e-30}, ["noise.sigma_min", "1e-15 to 1e15", "float32"]),
    "negative seed": ({"seed": -1}, ["seed", "greater than or equal to 0", "-1"]),
    "no samples": ({"measure.samples": 1}, ["measure.samples", "greater than or equal to 2"]),
    "one moment": ({"measure.keep": 1}, ["measure.keep", "start and end are two", "0, or 2 and more", "got 1"]),
    "unknown precision": ({"network.precision": "fp8"}, ["network.precision", "'tf32' or 'bf16'", "'fp8'"]),
    "levels in the wrong order": ({"student.levels": [0.9, 0.1]}, ["student.levels", "the first level must be below"]),
    "level above 1": ({"fake_score.levels": [0.0, 1.1]}, ["fake_score.levels", "less than or equal to 1", "1.1"]),
    "three levels": ({"student.levels": [0.1, 0.2, 0.3]}, ["student.levels", "at most 2", "0.3"]),
    "levels that are words": ({"student.levels": ["low", 1.0]}, ["student.levels", "valid number", "'low'"]),
    "nested levels": ({"student.levels": [0.0, [1.0]]}, ["student.levels", "valid number"]),
    "one dimension has no rotation": ({"student.init": "rotated", "law.dim": 1}, ["student.init = 'rotated'", ">= 2"]),
    "too many to assign": (
        {"student.init": "transport", "student.pairs": 10_001},
        ["student.pairs = 10001", "exact assignment", "at most 10000"],
    ),
    "levels that do not fall": ({"student.step_levels": [80.0, 2.5, 2.5]}, ["student.step_levels", "must fall"]),
    "a level that is none": ({"student.step_levels": [80.0, "low"]}, ["student.step_levels", "number", "'low'"]),
    "no level": ({"student.step_levels": [2.0, 0.0]}, ["student.step_levels", "greater than 0"]),
    "unknown sampler": ({"student.sampler": "sed"}, ["student.sampler", "'sde' or 'ode'", "'sed'"]),
    "unknown rollout": ({"student.rollout": "last"}, ["student.rollout", "'random' or 'fixed'", "'last'"]),
    "no step": ({"student.steps": 0}, ["student.steps", "greater than or equal to 1"]),
    "one pair": ({"student.pairs": 1}, ["student.pairs", "greater than or equal to 2"]),
    "a section as a value": ({"student": 3}, ["student: expected settings of its own", "got 3"]),
    "a key below a key": ({"law.dim": 2, "law.dim.x": 3}, ["'law.dim.x'", "below 'law.dim'"]),
    "a key below a section that is a value": ({"law.dim": 2, "law": "ring"}, ["'law.dim'", "below 'law'"]),
    "a key below a value": ({"seed.x": 1}, ["seed", "unknown key"]),
    "a list for a law": ({"law.scale": [1.0]}, ["law.scale: expected a finite number", "got [1.0]"]),
    "a table for a network": ({"network.width.x": 1}, ["network.width: expected a finite number"]),
    "NaN for a law": ({"law.scale": math.nan}, ["law.scale: expected a finite number", "got nan"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_configuration_is_refused_with_a_sentence(case: str) -> None:
    flat, expected = REFUSED[case]
    with pytest.raises(InputError) as error:
        experiment_from(flat, "my file")
    sentence = str(error.value)
    assert sentence.startswith("my file: ")
    assert "\n" not in sentence
    assert "pydantic" not in sentence
    for words in expected:
        assert words in sentence


REFUSED_BY_A_CATALOGUE = {
    "unknown law": ({"law.name": "mixtur"}, ["law.name", "'mixtur'", "did you mean 'mixture'"]),
    "unknown parameter": ({"law.componets": 3}, ["law.componets", "'mixture'", "did you mean 'law.components'"]),
    "below the law's dimension": ({"law.name": "ring", "law.dim": 1}, ["law.dim is 1", "'ring'", "at least 2"]),
    "wrong type": ({"law.components": 2.5}, ["law.components", "2.5", "integer"]),
    "negative scale": ({"law.scale": -1.0}, ["law.scale", "-1.0", "greater than 0"]),
    "scales without brackets": ({"law.scale": "1,2"}, ["law.scale", "several values are a list, [1,2]"]),
    "a wide law": ({"law.scale": 1e30}, ["'mixture'", "is 1e+30", "1e-15 to 1e15", "law.scale"]),
    "a narrow law": ({"law.scale": 1e-200}, ["is 1e-200", "1e-15 to 1e15"]),
    "a law beyond floats": ({"law.scale": 1e200}, ["is no finite number", "1e-15 to 1e15"]),
    "unknown network": ({"network.kind": "residul"}, ["network.kind", "'residul'", "did you mean 'residual'"]),
    "unknown setting": ({"network.widht": 16}, ["'network.widht'", "did you mean 'network.width'"]),
    "odd features": ({"network.time_features": 7}, ["network.time_features", "multiple of 2"]),
    "a word for a width": ({"network.width": "wide"}, ["network.width", "integer", "'wide'"]),
    "exact score of another network": ({"fake_score.kind": "exact"}, ["linear student", "set network.kind = 'linear'"]),
    "unknown term": ({"terms.gann.weight": 1.0}, ["terms.gann", "not a term of the loss; did you mean 'terms.gan'"]),
    "unknown setting of a term": ({"terms.gan.foo": 1}, ["unknown key 'terms.gan.foo'", "head_weight"]),
    "no weight of a term": ({"terms.gan.levels": [0.0, 1.0]}, ["terms.gan.weight: is missing"]),
}


@pytest.mark.parametrize("case", REFUSED_BY_A_CATALOGUE)
def test_a_wrong_law_network_or_term_is_refused_with_a_sentence(case: str) -> None:
    flat, expected = REFUSED_BY_A_CATALOGUE[case]
    with pytest.raises(InputError) as error:
        resolve(experiment_from(flat), "my file")
    assert str(error.value).startswith("my file: ")
    for words in expected:
        assert words in str(error.value)
