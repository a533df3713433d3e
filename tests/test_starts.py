"""Starts that other teachers, regressions and transports give: what each is, that it is made again to the last bit, and
that runs of every start, network and law come to their end."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from small import CPU, TINY, experiment, experiments, group_of, law_of, outputs, results, start_denoiser
from test_checkpoint import agree, interrupted
from torch import Tensor

from dmdlab.config import FITTED, MOST_PAIRED, TURNED, Experiment
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.lab.starts import fit_pairs, fit_starts
from dmdlab.lab.store import RunResult, Store
from dmdlab.networks import EDMDenoiser, networks_of
from dmdlab.pairing import pair_cosine_of
from dmdlab.randomness import generator
from dmdlab.records.record import INITS
from dmdlab.training.distill import distillation_from
from dmdlab.training.regression import FitPairs, fit
from dmdlab.training.supervised import Step
from dmdlab.transport import DENSE_LIMIT

ALL, NEW = (f"student.init={list(inits)!r}".replace("'", '"') for inits in (INITS, ("other", *FITTED)))
STILL = ("student.iterations=1", "student.learning_rate=1e-30", "student.weight_decay=0.0")
FEW = ("student.pairs=48", "student.regression=4", "measure.bases=2", "teacher.steps=2")
"""Starts and calibrations that take no time."""

TOLD: dict[str, object] = {"teacher__condition": True}


# --- another teacher


@pytest.mark.parametrize("kind", ["exact", "network"])
def test_another_teachers_student_starts_at_the_next_seeds_network(kind: str, tmp_path: Path) -> None:
    """All else of the run is its own seed's; the pairing that it has as its own is the other teacher's."""
    store, settings = Store(tmp_path), (*STILL, *FEW, f"teacher.kind={kind}")
    own, after = results(experiments('student.init=["teacher", "other"]', *settings), store)
    rows = [store.start(e) for e in experiments(*settings, "seed=[0, 1]")]
    assert torch.equal(flat(own), rows[0])  # type: ignore[arg-type]
    assert torch.equal(flat(after), rows[1])  # type: ignore[arg-type]
    pairs = store.pairs(after.experiment) or {}
    np.testing.assert_array_equal(pairs["teacher"], (store.pairs(own.experiment) or {})["teacher"])
    flow = teacher_map(after.experiment, CPU, rows[1])(pairs["noise"])
    assert after.summary["own"]["pair_cosine"]["value"] == pytest.approx(pair_cosine_of(flow, outputs(after)).value)


def test_a_reading_tells_which_of_its_trainings_ended_within_their_warm_up(tmp_path: Path) -> None:
    """A fitted start's fit warms up as the teacher's training does, and may be the shorter one; a fake score's
    iterations are the student's."""
    settings = (*FEW, "teacher.iterations=9", "teacher.warmup=6", "student.warmup=3", "student.iterations=3")
    own, fitted = results(experiments('student.init=["teacher", "regressed"]', *settings), Store(tmp_path))
    assert "warm-up" not in " ".join(own.summary["in_words"])
    (told,) = [sentence for sentence in fitted.summary["in_words"] if "warm-up" in sentence]
    assert "after 4 of the 6 iterations of its warm-up (teacher.warmup)" in told


def flat(result: RunResult) -> Tensor:
    return torch.cat([w.flatten() for w in result.weights.values()])


def test_the_fake_score_starts_at_its_own_network_in_each_case() -> None:
    es = [experiment(student__init="other", teacher__kind="network"), experiment(teacher__kind="network")]
    rows, others = (start_denoiser(es, name).network.flat for name in ("network", "other"))
    loop = distillation_from(group_of(*es), law_of(es[0]), rows, begins=others)
    assert torch.equal(loop.student.network.flat, others)
    assert torch.equal(loop.fake.network.flat, rows)
    assert isinstance(loop.teacher, EDMDenoiser)
    assert torch.equal(loop.teacher.network.flat, rows)


# --- fits to pairs


@pytest.mark.parametrize("settings", [{"network__kind": "mlp"}, TOLD], ids=["mlp", "told"])
def test_fits_come_nearer_to_their_pairs_and_leave_the_others_alone(
    settings: dict[str, object], tmp_path: Path
) -> None:
    settings = settings | {"student__pairs": 64, "student__regression": 250, "teacher__batch": 32, "teacher__steps": 4}
    settings |= {"teacher__kind": "network", "teacher__learning_rate": 1e-2}
    es = [experiment(student__init=init, seed=seed, **settings) for seed in (0, 1) for init in ("teacher", *FITTED)]
    group, rows = Group(tuple(es)), start_denoiser([es[0], es[3]]).network.flat
    steps, begins = begun(group, tmp_path, rows)
    assert [step.iteration for step in steps] == [200, 250]
    assert torch.equal(begins[[0, 3]], rows)
    own = rows[[0, 0, 1, 1]]
    pairs = fit_pairs(group.fits, law_of(es[0]), networks(own, es[0]), CPU)
    before, after = errors(own, es[0], pairs), errors(begins[[1, 2, 4, 5]], es[0], pairs)
    assert (after < 0.7 * before).all()
    kept = begun(group, tmp_path, rows)
    assert kept[0] == []  # from the store
    assert torch.equal(kept[1], begins)


def test_the_error_that_a_fit_tells_is_a_share_of_the_datas_variance() -> None:
    """Of its first step, with a pair that is the only one; sigma_data is 2."""
    e = experiment(law__scale=2.0, student__regression=1)
    own, g = start_denoiser([e]), torch.Generator().manual_seed(0)
    pairs = FitPairs(80 * torch.randn(1, 1, 4, generator=g), torch.randn(1, 1, 4, generator=g))
    before = errors(own.network.flat.clone(), e, pairs)
    (step,) = fit(e, [0], own, pairs)
    torch.testing.assert_close(step.loss, before / 4)


def test_a_fit_does_not_depend_on_who_is_fitted_beside_it() -> None:
    e, g = experiment(student__regression=5, teacher__batch=4), torch.Generator().manual_seed(0)
    z, x = 80 * torch.randn(1, 9, 4, generator=g), torch.randn(1, 9, 4, generator=g)
    both, alone = start_denoiser([e, e]), start_denoiser([e])
    list(fit(e, [5, 6], both, FitPairs(z.expand(2, -1, -1), x.expand(2, -1, -1))))
    list(fit(e, [6], alone, FitPairs(z, x)))
    torch.testing.assert_close(both.network.flat[1], alone.network.flat[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(both.network.flat[0], both.network.flat[1], atol=1e-4)


def begun(group: Group, out: Path, rows: Tensor) -> tuple[list[Step], Tensor]:
    """What is told of the fits of a group's starts, and where its students start."""
    ends: list[Tensor] = []

    def steps() -> Iterator[Step]:
        ends.append((yield from fit_starts(group, law_of(group.shared), rows, Store(out), CPU)))

    return list(steps()), ends[0]


def networks(rows: Tensor, e: Experiment) -> EDMDenoiser:
    return networks_of(e, law_of(e), rows)


def errors(rows: Tensor, e: Experiment, pairs: FitPairs) -> Tensor:
    """Mean squared error of the networks of these parameters on their pairs, (e,)."""
    with torch.no_grad():
        return (networks(rows, e)(pairs.z, e.noise.sigma_max, pairs.label) - pairs.x).square().mean(dim=(1, 2))


@pytest.mark.parametrize("kind", ["exact", "network"])
def test_a_regressed_start_is_fitted_to_its_own_teachers_flow(kind: str) -> None:
    es = [experiment(student__init="regressed", seed=s, teacher__kind=kind, student__pairs=20) for s in (0, 1)]
    start = start_denoiser(es)
    pairs = fit_pairs(es, law_of(es[0]), start, CPU)
    assert pairs.z.shape == (2, 20, 4)
    assert not torch.equal(*pairs.z)
    for i, e in enumerate(es):
        expected = teacher_map(e, CPU, start.network.flat[i].detach())(pairs.z[i].numpy())
        np.testing.assert_allclose(pairs.x[i], expected, rtol=1e-4, atol=1e-4)


def test_a_transports_targets_are_fresh_data_in_an_optimal_order() -> None:
    e = experiment(student__init="transport", student__pairs=40, seed=3)
    law = law_of(e)
    z, x, label = fit_pairs([e], law, start_denoiser([e]), CPU)
    assert label is None
    data = law.sample(40, generator(3, "regression data"))
    assert sorted(x[0].tolist()) == sorted(data.tolist())
    assert cost(z[0], x[0]) == pytest.approx(least_cost(z[0], data))
    assert cost(z[0], x[0]) < cost(z[0], data)


def test_where_classes_are_told_a_transport_stays_within_them() -> None:
    e = experiment(student__init="transport", student__pairs=60, law__std=0.02, teacher__condition=True)
    law = law_of(e)
    z, x, label = (part[0] for part in fit_pairs([e], law, start_denoiser([e]), CPU) if part is not None)
    assert torch.equal(torch.cdist(x.double(), law.means).argmin(dim=1), label)
    for k in range(4):
        own = label == k
        assert own.sum() > 1
        assert cost(z[own], x[own]) == pytest.approx(least_cost(z[own], x[own]))


def cost(z: Tensor, x: Tensor) -> float:
    return float((z.double() - x.double()).square().sum(dim=1).mean())


def least_cost(z: Tensor, x: Tensor) -> float:
    """The same of the best pairing, by another solver."""
    rows, columns = linear_sum_assignment(torch.cdist(z.double(), x.double()).square().numpy())
    return cost(z[rows], x[columns])


def test_no_assignment_is_asked_to_be_exact_where_it_would_not_be() -> None:
    assert MOST_PAIRED == DENSE_LIMIT


# --- through the lab


def test_runs_of_every_new_start_go_on_from_a_checkpoint_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "offer", lambda self, state: self.save(state()))
    es = experiments(NEW, *FEW, "teacher.kind=network")
    straight = results(es, Store(tmp_path / "straight"))
    interrupted(es, tmp_path / "resumed", 10)
    for e in es[1:]:
        (tmp_path / "resumed" / "teachers" / f"{e.fit_id}.safetensors").unlink()  # and fitted anew
    agree(results(es, Store(tmp_path / "resumed")), straight)


PICTURES = (
    *(word for word in TINY if not word.startswith(("network.", "student.batch"))),
    *("law.name=field", "law.side=4", "network.kind=unet", "network.channels=[4]", "network.depths=[1]"),
    *("network.time_features=4", "student.batch=8", "teacher.batch=8", "teacher.kind=network", "measure.samples=8"),
    *("teacher.solver=euler", "student.iterations=5", "teacher.iterations=2"),
)


@pytest.mark.parametrize("world", ["told classes", "pictures"])
def test_runs_of_every_start_come_to_their_end_and_say_what_they_kept(world: str, tmp_path: Path) -> None:
    if world == "pictures":
        es = load(None, None, [*PICTURES, NEW, *FEW]).experiments()
    else:
        es = experiments("teacher.condition=true", "law.components=2", "law.dim=4", ALL, *FEW)
    store = Store(tmp_path)
    for result in results(es, store):
        own, summary, init = result.summary["own"], result.summary, result.experiment.student.init
        assert summary["status"] == "done"
        said = [line for line in summary["in_words"] if "own_angle" in line]
        assert len(said) == (init != "teacher" and own["angle"]["value"] is not None)
        if init in ("teacher", "regressed"):
            assert own["pair_cosine"] == summary["metrics"]["pair_cosine"]
            assert own["angle"] == summary["metrics"]["remap_angle"]
        if init in ("transport", "random"):
            assert own["pair_cosine_start"]["value"] == pytest.approx(1)
        store.put(result, {})
        row = store.record(result.experiment).row
        for key in ("pair_cosine", "angle", "pair_cosine_start"):
            assert row[f"own_{key}"] == own[key]["value"]
        assert -1 <= row["own_pair_cosine"] <= 1


def test_only_a_turn_needs_two_dimensions() -> None:
    for init in INITS:
        if init not in TURNED:
            assert experiment(student__init=init, law__dim=1).law.dim == 1
