"""Networks that are told the class: exact denoisers given it, networks that use it, training with labels, records."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from near import assert_near, generator
from small import CPU, cycle, distillation, do, experiment, experiments, group_of, law_of, parameters, start_denoiser
from test_compiling import as_traced
from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.device import repeated
from dmdlab.experiments import load
from dmdlab.lab.calibrate import calibrate_experiment
from dmdlab.lab.store import Store
from dmdlab.laws import Manifold, Mixture, empirical
from dmdlab.networks.ensemble import ClassMap
from dmdlab.records.record import ARRAYS, LABELS
from dmdlab.training.distill import distillation_from
from dmdlab.training.teacher import train_teacher

TOLD = {"teacher__condition": True}


# --- exact denoisers given the class


@pytest.mark.parametrize("rank", [0, 2])
def test_a_mixture_given_the_class_is_the_gaussian_of_that_component(rank: int) -> None:
    law = Mixture(dim=5, components=3, rank=rank, balanced=False)
    x, sigma = torch.randn(6, 5, generator=generator(), dtype=torch.float64), 0.7
    label = torch.tensor([0, 2, 1, 1, 0, 2])
    expected = []
    for row, k in zip(x, label.tolist(), strict=True):
        u = law.directions[k * rank : (k + 1) * rank].double()
        cov = law.floor * torch.eye(5, dtype=torch.float64) + law.ridge * u.mT @ u
        gain = cov @ torch.linalg.inv(cov + sigma**2 * torch.eye(5, dtype=torch.float64))
        expected.append(law.means[k] + gain @ (row - law.means[k]))
    assert_near(law.denoise(x, sigma, label), torch.stack(expected))


def test_a_training_set_given_the_class_is_that_of_its_points_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    law = Manifold(side=4, stripes=True, empirical=40)
    points, labels = law.atoms.points.double(), law.atom_labels  # type: ignore[union-attr]
    x, sigma = torch.randn(7, 16, generator=generator(), dtype=torch.float64), 0.5
    label = labels[:7]
    expected = []
    for row, k in zip(x, label, strict=True):
        own = points[labels == k]
        w = (-(row - own).square().sum(-1) / (2 * sigma**2)).softmax(-1)
        expected.append(w @ own)
    assert_near(law.denoise(x, sigma, label), torch.stack(expected))
    monkeypatch.setattr(empirical, "CHUNK_NUMBERS", 16 * 3)  # many chunks, some without a point of the class
    assert_near(law.denoise(x, sigma, label), torch.stack(expected))
    own, far = points[labels == 1], points[labels != 1][:3]  # at hardly any noise, those of another class
    nearest = own[torch.cdist(far, own).argmin(1)]
    assert_near(law.denoise(far, 1e-3, torch.ones(3, dtype=torch.int64)), nearest)
    assert_near(law.class_shares(), np.bincount(labels.numpy(), minlength=10) / 40)


def test_labels_come_as_often_as_those_of_samples() -> None:
    law = Mixture(dim=2, components=4, balanced=False)
    drawn, sampled = law.draw_labels(20_000, generator()), law.sample_labelled(20_000, generator())[1]
    shares = [np.bincount(own.numpy(), minlength=4) / 20_000 for own in (drawn, sampled)]
    np.testing.assert_allclose(shares, law.log_weights.exp().expand(2, 4), atol=0.02)


# --- networks


@pytest.mark.parametrize("kind", ["mlp", "residual"])
def test_another_class_is_another_output_and_no_class_the_zero_vector(kind: str) -> None:
    members = [experiment(seed=s, network__kind=kind, **TOLD) for s in range(3)]
    denoiser = start_denoiser(members)
    x, label = torch.randn(3, 5, 4, generator=generator()), torch.arange(5).expand(3, 5) % 4
    told, other, none = (denoiser(x, 1.0, own) for own in (label, (label + 1) % 4, None))
    assert ((told - other).abs().amax(dim=2) > 1e-3).all()
    assert ((told - none).abs().amax(dim=2) > 1e-3).all()
    assert torch.equal(denoiser(x, 1.0, torch.full_like(label, 4)), none)  # a class that it does not know
    alone = start_denoiser(members[1:2])
    torch.testing.assert_close(alone(x[1:2], 1.0, label[1:2]), told[1:2])


# --- training


def loops(*members: Experiment, **settings: Any) -> Any:
    return distillation(members or [experiment(seed=s, **TOLD, **settings) for s in (0, 1)])


def test_resumed_training_ends_where_straight_training_does_to_the_bit() -> None:
    own = {"teacher__kind": "network", "student__batch": 8, "fake_score__updates": 2, "student__iterations": 200}
    straight, resumed = loops(**own), loops(**own)
    for at in straight.run([100]):
        if at == 100:
            resumed.restore({name: tensor.clone() for name, tensor in straight.state().items()})
    assert list(resumed.run([])) == [200]
    assert all(torch.equal(a, b) for a, b in zip(parameters(straight), parameters(resumed), strict=True))


def test_a_member_is_trained_as_it_is_alone() -> None:
    members = [experiment(seed=s, student__batch=8, **TOLD) for s in (3, 4)]
    both, alone = loops(*members), loops(members[1])
    for _ in range(3):
        both.cycle()
        alone.cycle()
    for a, b in zip(parameters(both), parameters(alone), strict=True):
        torch.testing.assert_close(a[1:], b)


@pytest.mark.parametrize("batches", ["shared", "separate"])
def test_a_sample_keeps_its_class_through_student_teacher_and_fake_score(
    batches: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = loops(fake_score__batches=batches, fake_score__updates=2, student__batch=8)
    labels, seen = [], []

    def watch(place: Any, name: str, look: Any) -> None:
        own = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given: (look(given), own(*given))[1])

    watch(loop.repeated, "step", lambda given: labels.append(given[2].labels[0]))
    watch(ClassMap, "of", lambda given: seen.append(given[1]))
    watch(Mixture, "_denoise_class", lambda given: seen.append(given[3]))
    loop.cycle()
    first, *others = labels[0].unbind(1)
    assert first.shape == (2, 8)
    assert len(first.unique()) > 1
    learned = others if batches == "separate" else [first, *others]
    expected = [first, first, first, torch.cat(others, dim=1), *learned]  # student, teacher, fake; fresh; fake score
    assert [s.shape for s in seen] == [e.shape for e in expected]
    assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))


def test_a_traced_cycle_is_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "compiled", as_traced)
    members = [experiment(seed=s, student__batch=8, law__rank=1, fake_score__updates=2, **TOLD) for s in (0, 1)]
    rows = start_denoiser(members).network.flat
    both = [distillation_from(group_of(*members), law_of(members[0]), rows, CPU, w) for w in ("eager", "compiled")]
    for _ in range(3):
        torch.testing.assert_close(*map(cycle, both), rtol=1e-4, atol=1e-6)
    assert both[1].way == "compiled"


def class_means(map_: Any, e: Experiment) -> Tensor:
    """Mean outputs for each class (classes, d), at noise of the prior."""
    law = law_of(e)
    label = torch.arange(law.classes).repeat_interleave(200)[None]
    z = e.noise.sigma_max * torch.randn(1, label.shape[1], law.dim, generator=generator())
    with torch.no_grad():
        return map_(z, label)[0].unflatten(0, (law.classes, 200)).mean(dim=1)


def test_trained_networks_and_students_make_what_they_are_told() -> None:
    """The student starts at random, so it learned the classes in its distillation."""
    e = experiment(
        law__std=0.5,
        teacher__kind="network",
        teacher__iterations=500,
        teacher__batch=64,
        network__width=32,
        student__init="random",
        student__iterations=1000,
        student__batch=64,
        **TOLD,
    )
    law, teacher = law_of(e), start_denoiser([e])
    for _ in train_teacher(e, [0], law, teacher):
        pass
    found = class_means(lambda z, label: teacher(z, e.noise.sigma_max, label), e)
    np.testing.assert_allclose(found, law.means, atol=0.3)
    loop = distillation_from(group_of(e), law, teacher.network.flat)
    for _ in loop.run([]):
        pass
    np.testing.assert_allclose(class_means(lambda z, label: loop.student(z, label=label), e), law.means, atol=0.3)


# --- through the lab


def test_records_hold_the_classes_and_what_is_read_within_them(tmp_path: Path) -> None:
    words = ["law.components=2", "teacher.condition=true", "measure.samples=60", "student.init=teacher"]
    (e,) = es = experiments(*words)
    (told,) = do(es, tmp_path)
    arrays = told.arrays()
    assert tuple(arrays) == ARRAYS + LABELS
    assert {arrays[name].dtype for name in LABELS} == {np.dtype(np.int64)}
    assert told.pairs().n == 60
    within = told.summary["within_classes"]
    assert [c["label"] for c in within["classes"]] == [0, 1]
    assert told.row["within_pair_cosine"] == within["means"]["pair_cosine"]
    assert sum("can flatter" in line for line in told.summary["in_words"]) == 1
    kept = Store(tmp_path).pairs(e)
    assert kept is not None
    assert np.array_equal(kept["label"], arrays["label"])
    label, law = torch.from_numpy(arrays["label"]), law_of(e)  # an exact teacher lands in the class that it is told
    nearest = torch.cdist(torch.from_numpy(arrays["teacher"]).double(), law.means).argmin(dim=1)
    assert (nearest == label).double().mean() > 0.9


def test_a_calibrations_rows_keep_their_classes_when_their_noise_is_turned() -> None:
    """Then an exact teacher keeps a pairing whatever the turn, that of the classes."""
    settings = {"law__std": 0.1, "law__dim": 2, "measure__samples": 60, "teacher__steps": 8}
    told, plain = (calibrate_experiment(experiment(**settings, **more), CPU) for more in (TOLD, {}))
    assert told.at("pair_cosine", 0.0) == pytest.approx(1.0)
    assert told.at("pair_cosine", 90.0) > 0.95 > 0.5 > plain.at("pair_cosine", 90.0)
    assert abs(told.null["pair_cosine"].mean()) < 0.3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["law.name=gaussian"], r"teacher\.condition: the law 'gaussian' has no classes to tell"),
        (
            ["law.name=moons"],
            r"teacher\.kind: the law 'moons' has no exact denoiser given the class; use a trained network",
        ),
        (
            ["law.name=manifold", "law.stripes=true", "teacher.kind=network", "teacher.target=posterior"],
            r"teacher\.target: the law 'manifold' has no exact denoiser given the class; .*teacher\.target=data",
        ),
    ],
)
def test_classes_that_cannot_be_told_are_refused_in_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load(None, None, [*words, "teacher.condition=true"]).experiments()
