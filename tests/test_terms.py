"""Terms in the loop: off to the bit, each member's own, kept in mid-training, replayed, and refused in sentences."""

import copy
import math

import pytest
import torch
from recorder import pretend
from small import law_of, start_denoiser
from terms import ALL, LINEAR, ON, PICTURES, after, alone, drawn, loop_of, member, members
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.device.capture import WARM_UP
from dmdlab.laws import Mixture
from dmdlab.networks import NETWORKS, Head
from dmdlab.networks.ensemble import Ensemble
from dmdlab.randomness import generator
from dmdlab.training.cycle import NUMBERS
from dmdlab.training.terms import TERMS, Batch
from dmdlab.training.terms.gan import GAN


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in zip(a, b, strict=True))


# --- off


def test_a_term_of_no_weight_is_the_plain_run() -> None:
    (plain,) = members({}, seeds=(0,))
    for name in TERMS:
        (off,) = members({f"terms.{name}.weight": 0}, seeds=(0,))
        assert off == plain
        assert off.id == plain.id
    on = {member(**settings).id for settings in ON.values()}
    assert len(on | {plain.id}) == len(ON) + 1
    assert member(**{"student.weight": 2.0}).id not in on | {plain.id}


@pytest.mark.parametrize("name", [*ON, "student.weight"])
def test_a_weight_too_small_to_matter_changes_no_bit_of_the_student(name: str) -> None:
    """But its networks learn; a GAN of the fake score's features trains that, too, so its head weighs nothing."""
    settings = ON.get(name, ON["drifting"])
    least = {key: 1e-30 if key.endswith("weight") else value for key, value in settings.items()}
    least |= {"terms.gan.head_weight": 1e-30} if "terms.gan.weight" in settings else {}
    least |= {"student.clip": 0.0}
    plain = {"teacher.kind": settings.get("teacher.kind", "exact"), "student.clip": 0.0}
    if name == "student.weight":  # the other way round: matching that weighs nothing beside a term
        least, plain = settings | {"student.weight": 1e-30}, settings | {"student.weight": 0.0}
    small, off = loop_of(members(least)), loop_of(members(plain))
    for _ in range(3):
        small.cycle()
        off.cycle()
    assert torch.equal(small.trained["student"].parameters, off.trained["student"].parameters)
    assert tuple(small.numbers[: len(NUMBERS)]) == NUMBERS


def test_each_term_and_each_of_its_settings_changes_where_a_student_goes() -> None:
    gan, f, drifting = ON["gan"], ON["f_distill"], ON["drifting"]
    options = [
        *[{}, {"student.weight": 0.5}, *ON.values()],
        *[{**ON["regression"], "terms.regression.pairs": 41}, {**ON["regression"], "terms.regression.batch": 5}],
        *[{**ON["sid"], f"terms.sid.{key}": value} for key, value in (("alpha", 1.0), ("levels", [0.1, 0.8]))],
        *[{**drifting, "terms.drifting.kernel": "gaussian"}, {**drifting, "terms.drifting.width": 0.2}],
        *[{**drifting, "terms.drifting.unit": "one"}, {**gan, "terms.gan.head_weight": 0.1}],
        *[{**gan, "terms.gan.levels": [0.1, 1.0]}, {**gan, "terms.gan.r1": 100.0}],
        *[{**gan, "terms.gan.r1": 100.0, "terms.gan.r1_step": 0.2}, {**f, "terms.f_distill.divergence": "jeffreys"}],
        {**f, "terms.f_distill.weight": 0.5},
    ]
    ends = []
    for option in options:
        loop = loop_of(members(option | {"fake_score.updates": 2}, seeds=(0,)))
        for _ in range(3):
            loop.cycle()
        ends.append(loop.trained["student"].parameters)
    for i, a in enumerate(ends):
        for j, b in enumerate(ends[:i]):
            assert not torch.equal(a, b), (i, j)


# --- what is reported


def test_the_curve_says_the_norm_of_every_gradient_at_the_outputs() -> None:
    loop = loop_of(members(ALL))
    numbers = loop.numbers
    assert numbers[: len(NUMBERS)] == NUMBERS
    norms = ["dmd", "drifting", "f_distill", "gan", "regression", "sid"]
    assert numbers[len(NUMBERS) :][:6] == tuple(f"{name}_gradient_norm" for name in norms)
    assert {"gan_loss", "gan_head_loss", "sid_loss", "drifting_width", "f_distill_clipped"} <= set(numbers)
    loop.cycle()
    found = loop.report().numbers
    assert all((value > 0).all() for name, value in found.items() if name.endswith("_gradient_norm"))
    n, d = 16, 4  # of dm_loss = 0.5 mean direction^2 the gradient is direction / (n d)
    torch.testing.assert_close(found["dmd_gradient_norm"], (2 * found["dm_loss"] / (n * d)).sqrt())
    expected = 0.25 * 2 * (found["regression_loss"] / (n * d)).sqrt()  # of the mean square
    torch.testing.assert_close(found["regression_gradient_norm"], expected)
    assert loop_of(members({})).numbers == NUMBERS


def test_what_the_head_reports_is_the_mean_of_a_cycles_updates() -> None:
    """Of networks that stay at their start."""
    still = {"student.learning_rate": 1e-30, "fake_score.learning_rate": 1e-30, "student.weight_decay": 0.0}
    es = members(ON["gan"] | still)
    at_start, loop = loop_of(es), loop_of(es)
    z, _, _, *own = next(at_start.draws)
    losses = [
        at_start.terms["gan"].critic_loss(Batch(at_start.student(z[:, j]), None, None), j, own)[1][0] for j in range(5)
    ]
    loop.cycle()
    torch.testing.assert_close(loop.report().numbers["gan_head_loss"], torch.stack(losses).mean(0))
    assert torch.stack(losses).std(0).min() > 1e-3


def test_the_student_answers_to_the_head_and_the_score_as_they_stand() -> None:
    """Not as they were when the run began: of its second cycle the loss, by hand."""
    es = members(ON["gan"] | {"student.warmup": 0, "fake_score.learning_rate": 1e-2})
    draws, loop = loop_of(es).draws, loop_of(es)
    next(draws)
    z, _, _, *own = next(draws)
    loop.cycle()
    loop.report()
    gan, x = loop.terms["gan"], loop.student(z[:, 0])
    assert isinstance(gan, GAN)
    assert loop.fake.network is gan.source.network
    _, (begun,) = gan.student_loss(Batch(x, None, None), own)
    with gan.head.holding(loop.trained["gan.head"].parameters):
        _, (expected,) = gan.student_loss(Batch(x, None, None), own)
    loop.cycle()
    torch.testing.assert_close(loop.report().numbers["gan_loss"], expected)
    assert (begun - expected).abs().min() > 1e-3


def test_a_run_without_a_score_reports_none_and_trains_none() -> None:
    loop = loop_of(members(ON["drifting"] | {"student.weight": 0.0, "fake_score.kind": "none"}))
    before = loop.trained["fake"].parameters.clone()
    for _ in range(3):
        loop.cycle()
    found = loop.report().numbers
    assert all(found[name].isnan().all() for name in ("dm_loss", "gap", "score_loss", "score_gradient_norm"))
    assert torch.equal(loop.trained["fake"].parameters, before)
    assert found["drifting_gradient_norm"].min() > 0
    assert (found["dmd_gradient_norm"] == 0).all()
    assert loop.failed_at.tolist() == [-1, -1]
    loop.trained["student"].parameters[1, 0] = torch.nan
    loop.cycle()
    assert loop.failed_at.tolist() == [-1, 4 * 5]


# --- members, checkpoints, graphs


@pytest.mark.parametrize("settings", [ALL, ON["gan of the teacher"]], ids=["all", "gan of the teacher"])
def test_a_member_is_alone_what_it_is_among_others(settings: dict[str, object]) -> None:
    es = members(settings | {"fake_score.updates": 2}, seeds=(0, 1, 2))
    together = after(loop_of(es), 4)
    for i in (0, 2):
        own = after(loop_of([es[i]]), 4)
        for a, b in zip(own[:-1], together[:-1], strict=True):
            torch.testing.assert_close(a[0], b[i], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(own[-1][:, 0], together[-1][:, i], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(together[0][0], together[0][1])


def test_two_hundred_iterations_are_a_hundred_and_a_hundred_to_the_bit() -> None:
    es = members(ALL)
    straight, first, second = (loop_of(es) for _ in range(3))
    assert straight.cycles * 5 == 200
    list(straight.run([]))
    for _ in first.run([100]):
        break
    second.restore(copy.deepcopy({key: value.clone() for key, value in first.state().items()}))
    assert second.done * 5 == 100
    list(second.run([]))
    for name, value in straight.state().items():
        assert torch.equal(second.state()[name], value), name
    head = straight.trained["gan.head"]
    assert head.counts.tolist() == [200, 200]
    assert head.square.abs().max() > 0


def test_a_cycle_of_all_terms_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, es = pretend(monkeypatch), members(ALL | {"fake_score.updates": 2})
    eager, graph = loop_of(es, "eager"), loop_of(es, "graph")
    for optimiser in eager.optimisers.values():
        optimiser.in_place = False
    assert all(same(after(graph, 1), after(eager, 1)) for _ in range(6))
    assert [g.replays for g in graphs] == [6 - WARM_UP]


@pytest.mark.slow
def test_all_terms_compiled_are_all_terms() -> None:
    es = members(ALL | {"fake_score.updates": 2})
    eager, compiled = after(loop_of(es, "eager"), 4), after(loop_of(es, "compiled"), 4)
    for a, b in zip(eager, compiled, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


# --- the GAN's networks


def test_head_and_fake_score_are_one_optimiser() -> None:
    """Their gradients are clipped by the norm of both; a head of the teacher's features is clipped by its own."""
    tight = {"student.clip": 1e-12, "student.warmup": 0, "fake_score.updates": 1, "student.weight_decay": 0.0}
    shares = []
    for settings in (ON["gan"] | {"terms.gan.head_weight": 1e3}, ON["gan of the teacher"]):
        loop = loop_of(members(settings | tight, seeds=(0,)))
        loop.cycle()
        norms = [loop.trained[name].mean.norm().item() / 0.1 for name in ("fake", "gan.head")]
        shares.append([norm / 1e-12 for norm in norms])
    assert math.hypot(*shares[0]) == pytest.approx(1.0, rel=1e-3)
    assert min(shares[0]) > 1e-3
    assert shares[1] == pytest.approx([1.0, 1.0], rel=1e-3)


def test_each_members_head_learns_at_its_own_fake_scores_rate() -> None:
    es = [member(seed, **ON["gan"], **{"fake_score.learning_rate": rate}) for seed, rate in enumerate((1e-3, 2e-3))]
    optimisers = loop_of(es).optimisers
    sizes = optimisers["gan.head"].sizes(0, 5)  # (e, steps, numbers)
    assert torch.equal(sizes, optimisers["fake"].sizes(0, 5))
    torch.testing.assert_close(2 * sizes[0, :, 0], sizes[1, :, 0])


def test_the_heads_loss_moves_the_encoder_of_a_u_net_and_not_its_decoder() -> None:
    terms, around = alone(member(**PICTURES, **ON["gan"]))
    gan, net = terms["gan"], around.fake.network
    assert isinstance(gan, GAN)
    x = torch.randn(1, 6, around.law.dim, generator=torch.Generator().manual_seed(0))
    with net.holding(net.flat, trained=True) as leaves, gan.head.holding(gan.head.flat, trained=True) as own:
        loss, _ = gan.critic_loss(Batch(x, None, None), 0, [part.float() for part in drawn(gan)])
        found = torch.autograd.grad(loss.sum(), [*leaves, *own], allow_unused=True)
    names = [name for name, _ in net.named_parameters()]
    for name, part in zip(names, found, strict=False):
        assert (part is None) == name.startswith(("up", "middle", "norm", "leave")), name
    assert any(name.startswith("down") for name in names)
    assert all(part is not None and part.abs().max() > 0 for part in found[len(names) :])
    assert after(loop_of(members(PICTURES | ON["gan"])), 1)[-1].isfinite().all()


@pytest.mark.parametrize("kind", ["mlp", "residual", "unet"])
def test_features_are_what_a_head_reads(kind: str) -> None:
    es = members(PICTURES if kind == "unet" else {"network.kind": kind})
    net = start_denoiser(es).network
    x, c_noise = torch.randn(2, 3, es[0].law.dim), torch.full((2, 3, 1), 0.5)
    features = net.features(x, c_noise)
    assert net.feature_shape == ((4, 2, 2) if kind == "unet" else (8,))
    assert features.shape == (2, 3, *net.feature_shape)
    if kind != "unet":
        assert torch.equal(net.out(features), net(x, c_noise))
    head = Head(2, net.feature_shape)
    head.initialise([torch.Generator().manual_seed(i) for i in range(2)])
    logits = head(features)
    assert logits.shape == (2, 3)
    assert logits.std() > 0


def test_real_data_are_the_teachers_training_set_and_labels_the_datas() -> None:
    """Where the teacher has learned from seven points, so does the head; with their own classes."""
    settings = ON["gan"] | {"teacher.train_samples": 7, "teacher.condition": True, "teacher.kind": "network"}
    loop = loop_of(members(settings))
    *_, real, label = next(loop.draws)
    assert real.shape == (2, 5, 16, 4)
    assert label.shape == (2, 5, 16)
    law = law_of(member(**settings))
    for seed, (rows, own) in enumerate(zip(real, label, strict=True)):
        points, classes = law.training_set(7, generator(seed, "teacher", "data"))
        assert classes is not None
        seen, known = (
            torch.cat([x, y[:, None]], dim=1).unique(dim=0)
            for x, y in ((rows.flatten(0, 1), own.flatten()), (points, classes))
        )
        assert torch.equal(seen, known)
    assert after(loop, 2)[-1].isfinite().all()


def test_drifting_of_classes_trains() -> None:
    settings = ON["drifting"] | {"student.weight": 0.0, "fake_score.kind": "none", "teacher.condition": True}
    loop = loop_of(members(settings | {"teacher.kind": "network"}))
    before = loop.student.network.flat.clone()
    after(loop, 2)
    assert not torch.isclose(loop.student.network.flat, before).all()
    assert loop.student.network.flat.isfinite().all()
    assert (loop.failed_at == -1).all()


# --- refusals

REFUSED = {
    "a head on a network without features": ({**LINEAR, "terms.gan.weight": 1.0}, "features.*linear.*mlp, residual"),
    "f-distill without density or head": ({"terms.f_distill.weight": 1.0}, r"head of terms\.gan, which is off"),
    "f-distill of an unknown density": (
        {"terms.f_distill.weight": 1.0, "terms.f_distill.ratio": "exact"},
        r"needs the densities of both laws: fake_score\.kind = 'exact'",
    ),
    "f-distill of more than DMD": ({**ON["f_distill"], "terms.f_distill.weight": 1.5}, "less than or equal to 1"),
    "f-distill of no matching": ({**ON["f_distill"], "student.weight": 0.0}, r"student\.weight is 0"),
    "nothing to train by": ({"student.weight": 0.0}, "nothing trains the student; set one of them"),
    "no score to match by": ({"fake_score.kind": "none"}, r"student\.weight above 0 .* reads the fake score"),
    "no score for SiD": (
        {"fake_score.kind": "none", "student.weight": 0.0, **ON["sid"]},
        r"terms\.sid\.weight above 0 .* reads the fake score",
    ),
    "a head of a score that is not there": (
        {"fake_score.kind": "none", "student.weight": 0.0, **ON["gan"]},
        r"fake_score\.kind is 'none'; set fake_score\.kind = 'network', or terms\.gan\.features = 'teacher'",
    ),
    "a head of an exact teacher": (
        {**ON["gan"], "terms.gan.features": "teacher"},
        r"teacher\.kind is 'exact', which has no features",
    ),
    "drifting alone": ({**ON["drifting"], "student.batch": 1}, r"needs neighbours, and student\.batch is 1"),
    "an unknown kernel": ({**ON["drifting"], "terms.drifting.kernel": "cauchy"}, r"terms\.drifting\.kernel: .*laplace"),
    "no pairs": ({**ON["regression"], "terms.regression.pairs": 0}, r"terms\.regression\.pairs: .*greater than"),
    "levels the wrong way": ({**ON["sid"], "terms.sid.levels": [0.8, 0.1]}, "the first level must be below"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(case: str) -> None:
    settings, sentence = REFUSED[case]
    with pytest.raises(InputError, match=sentence):
        member(**settings)


def test_a_teacher_that_no_gradient_passes_through_is_none_for_sid() -> None:
    terms, around = alone(member(**ON["sid"]))
    opaque = around._replace(teacher=torch.no_grad()(around.law.denoise))
    with pytest.raises(InputError, match="passes gradients through the teacher, and this one gives none"):
        TERMS["sid"](opaque, terms["sid"].settings)  # type: ignore[attr-defined]


def test_a_law_without_a_density_has_no_exact_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mixture, "has_density", False)
    with pytest.raises(InputError, match="the law 'mixture' has no density"):
        alone(member(**LINEAR, **{"terms.f_distill.weight": 1.0, "terms.f_distill.ratio": "exact"}))


def test_which_networks_have_features() -> None:
    able = {name for name, kind in NETWORKS.items() if kind.features is not Ensemble.features}
    assert able == {"mlp", "residual", "unet"}
