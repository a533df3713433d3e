"""What a trial says, against counts by hand, against torch's own, and against what a run takes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import pytest
import torch
from least import least
from recorder import pretend
from small import CPU, experiment, group_of, law_of
from torch.utils.flop_counter import FlopCounterMode

from dmdlab.config import InputError, experiment_from
from dmdlab.experiments import load, resolve
from dmdlab.group import Group
from dmdlab.lab import timing, trial
from dmdlab.lab.counting import LiveBytes
from dmdlab.lab.run import run_group
from dmdlab.lab.store import Store
from dmdlab.lab.timing import Speed, random_start, timed
from dmdlab.lab.trial import little, tried
from dmdlab.laws import LAWS, make_law


def seeds(members: int, **settings: object) -> Group:
    return Group(tuple(experiment(seed=s, **settings) for s in range(members)))


# --- operations

BRIEF = {"teacher__iterations": 2, "teacher__steps": 3, "student__iterations": 4, "measure__samples": 100}

MLP = {"network__kind": "mlp", "network__width": 24, "network__depth": 3, "network__time_features": 8, "law__dim": 3}


def products(rows: int) -> Iterator[int]:
    """Operations of each product of that network's forward pass, two for a multiply-add."""
    yield from (2 * rows * a * b for a, b in pairwise([3 + 8, 24, 24, 24, 3]))


def forward(rows: int) -> int:
    return sum(products(rows))


def trained(rows: int) -> int:
    """Forward, and backward once more for the weights and once for the inputs, which the first layer does without."""
    return 3 * forward(rows) - next(products(rows))


@pytest.mark.parametrize(("updates", "batches", "solver"), [(1, "separate", "heun"), (3, "shared", "euler")])
def test_operations_are_what_one_counts_by_hand(updates: int, batches: str, solver: str) -> None:
    """A student's update asks the teacher and the fake score once; each score update has a batch of its own, but for
    the student's when that is shared."""
    own = {"teacher__kind": "network", "fake_score__updates": updates, "fake_score__batches": batches}
    own |= {"teacher__batch": 40, "measure__samples": 50, "teacher__steps": 5, "teacher__solver": solver}
    found = tried(seeds(2, **MLP | own))
    fresh = updates - (batches == "shared")
    cycle = trained(32) + 2 * forward(32) + forward(fresh * 32) + updates * trained(32)
    assert found.cycle_flops == pytest.approx(cycle, rel=0.01)
    assert found.teaching_flops == pytest.approx(trained(40), rel=0.01)
    assert found.flow_flops == pytest.approx((9 if solver == "heun" else 5) * forward(50), rel=0.01)


def test_a_cycle_is_what_torch_counts() -> None:
    """An exact law's products and a turn's among them."""
    group = seeds(1, **BRIEF, law__rank=2, student__init="rotated")
    loop = random_start(group, CPU)
    with FlopCounterMode(display=False) as counter:
        loop.cycle()
    assert counter.get_total_flops() == tried(group).cycle_flops > 0


# --- memory

SHAPES: dict[str, dict[str, object]] = {
    "small": {},
    "rotated": {"student__init": "rotated", "law__dim": 300, "teacher__solver": "euler"},
    "separate": {"fake_score__batches": "separate", "network__kind": "mlp", "student__batch": 64},
    "network teacher": {"teacher__kind": "network", "network__width": 96, "network__depth": 2},
}


PRESETS = {
    "pictures": ("manifold", "law.side=4", "network.channels=[4]", "network.depths=[1]", "measure.samples=20"),
    "a critic": ("dmd2-gan", "law.dim=4", "measure.samples=20"),
}


LONGER = ("small", "rotated", "separate", "pictures")


@pytest.mark.parametrize(
    "shape", [*(pytest.param(shape, marks=pytest.mark.long) for shape in LONGER), "network teacher", "a critic"]
)
def test_a_trial_without_numbers_finds_what_one_with_numbers_finds(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte and to the operation; but for what a captured cycle keeps, where layouts of gradients differ."""
    if shape in SHAPES:
        group = seeds(members := 6, **BRIEF | SHAPES[shape])
    else:
        preset, *words = PRESETS[shape]
        group, members = group_of(load(None, preset, words).experiments()[0]), 1
    found = []
    for most in (trial.LITTLE, 0):
        monkeypatch.setattr(trial, "LITTLE", most)
        monkeypatch.setattr(trial, "KNOWN", {})
        assert little(group.shared, law_of(group.shared), members) == (most > 0)
        one = tried(group)
        found.append((replace(one, replayed=len), one.replayed()))
    (own, replayed), (fake, fake_replayed) = found
    assert own == fake
    assert replayed == pytest.approx(fake_replayed, rel=0.05)


@pytest.mark.parametrize(
    "more",
    [{"measure__samples": 10**8}, {"student__batch": 10**7}, {"network__width": 10**5, "network__depth": 4}],
    ids=["noise", "a batch", "a network"],
)
def test_much_work_is_tried_without_numbers(more: dict[str, object]) -> None:
    """Which takes no memory to find out, either."""
    with LiveBytes() as seen:
        for own in ({}, more):
            e = experiment(**BRIEF | own)
            assert little(e, law_of(e), 1) == (not own)
    assert seen.peak < 2**24


@pytest.mark.parametrize(
    ("shape", "members"),
    [
        ("rotated", 3),
        ("separate", 1),
        *(pytest.param(shape, 3, marks=pytest.mark.long) for shape in SHAPES if shape != "rotated"),
    ],
)
def test_a_run_takes_no_more_than_its_largest_stage(shape: str, members: int, tmp_path: Path) -> None:
    """All that torch holds, from start networks to Jacobians and calibration."""
    group = seeds(members, **BRIEF | SHAPES[shape])
    found = tried(group)
    with LiveBytes() as seen:
        for _ in run_group(group, Store(tmp_path), CPU):
            pass
    largest = max(members * each + once for each, once in found.stages.values())
    assert seen.peak <= 1.1 * largest
    assert largest <= 1.1 * seen.peak
    assert seen.peak <= min(found.bytes(members, "cuda"), found.bytes(members, "cpu"))


def test_memory_is_linear_in_the_members_and_the_most_of_them_fit() -> None:
    found = tried(seeds(1, **BRIEF))
    for device in ("cpu", "cuda"):
        sizes = [found.bytes(members, device) for members in (100, 200, 300, 400)]
        steps = [b - a for a, b in pairwise(sizes)]
        assert steps == pytest.approx([steps[0]] * 3, rel=1e-6)
        for memory in (2**26, 2**30):
            most = found.most_members(memory, device)
            assert found.bytes(most, device) <= memory < found.bytes(most + 1, device)
        assert found.most_members(found.bytes(1, device) // 2, device) == 0


@pytest.mark.parametrize("name", LAWS)
def test_every_law_can_be_tried(name: str, tmp_path: Path) -> None:
    spec = least(name, tmp_path, dim=3)
    kind = "exact" if make_law(spec).has_denoiser else "network"
    own: dict[str, object] = {f"law.{key}": value for key, value in spec.items()}
    own |= {"network.width": 4, "network.depth": 1, "teacher.kind": kind, "teacher.solver": "euler"}
    own |= {"student.batch": 4, "measure.samples": 8, "fake_score.updates": 1}
    found = tried(group_of(resolve(experiment_from(own))))
    assert min(found.cycle_flops, found.teaching_flops) > 0
    assert all(each > 0 for each, _ in found.stages.values())
    assert found.bytes(1, "cpu") > found.bytes(1, "cuda") > 0


@pytest.mark.slow
@pytest.mark.parametrize("own", [SHAPES["small"], SHAPES["rotated"]], ids=["dense", "fast"])
def test_a_rotated_group_costs_hardly_more_than_a_plain_one(
    own: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "KNOWN", {})
    plain, rotated = (tried(seeds(1, **BRIEF | own | {"student__init": init})) for init in ("teacher", "rotated"))
    assert plain.cycle_flops <= rotated.cycle_flops < 1.1 * plain.cycle_flops
    assert plain.bytes(8, "cuda") <= rotated.bytes(8, "cuda") < 1.2 * plain.bytes(8, "cuda")


def test_a_shape_is_tried_once_whatever_the_members_own_keys() -> None:
    one = tried(group_of(experiment(**BRIEF)))
    others = (experiment(**BRIEF, seed=9), experiment(**BRIEF, student__learning_rate=1e-5))
    assert tried(group_of(others[0])) is tried(group_of(others[1])) is one
    several = tried(Group(others))  # which lone runs do without
    assert tried(Group(others[::-1])) is several
    assert tried(group_of(others[0])) is several
    assert several.bytes(1, "cpu") == one.bytes(1, "cpu")


def test_the_shortest_of_trainings_can_be_tried() -> None:
    short = experiment(teacher__iterations=1, teacher__steps=1, student__iterations=1, measure__samples=2)
    assert tried(group_of(short)).cycle_flops > 0


def test_live_bytes_counts_what_is_held_by_name_or_by_autograd() -> None:
    with LiveBytes() as seen:
        x = torch.ones(1000, requires_grad=True)
        y = x.exp()
        z = y.sin()
        assert seen.live == 12_000
        del y  # sin keeps it for its gradient
        assert seen.live == 12_000
        z.sum().backward()
        assert seen.live == 12_000  # x, z and x's gradient
        del z, x
        assert seen.live == 0
    assert 16_000 <= seen.peak <= 20_008


def test_a_network_that_is_larger_than_the_memory_is_a_sentence() -> None:
    with pytest.raises(InputError, match="parameters is too large to be tried here"):
        tried(group_of(experiment(**BRIEF | {"network__width": 10**7, "network__depth": 2})))


# --- time


@pytest.mark.parametrize("kind", ["exact", "network"])
def test_a_random_start_is_the_distillation_of_these_members(kind: str) -> None:
    group = seeds(2, teacher__kind=kind)
    loop = random_start(group, CPU)
    for _ in range(3):
        loop.cycle()
    assert loop.student.network.members == 2
    assert (loop.report().failed_at < 0).all()
    assert not torch.equal(*loop.student.network.flat)


def test_the_time_is_that_of_cycles_teachers_iterations_and_flows() -> None:
    """Two seeds of two starts each, by a speed that was measured with eight members."""
    own = {"student__iterations": 1000, "fake_score__updates": 5, "teacher__iterations": 10, "teacher__steps": 4}
    inits = ("teacher", "rotated")
    group = Group(tuple(experiment(**own, seed=s, student__init=init) for s in (0, 1) for init in inits))
    assert Speed(1.0, 0.0, 0.0).seconds(group, 8) == pytest.approx(200 * 4 / 8)
    assert Speed(0.0, 1.0, 0.0).seconds(group, 8) == pytest.approx(10 * 2 / 8)
    assert Speed(0.0, 0.0, 1.0).seconds(group, 8) == pytest.approx(2 * 7 * 2 / 8)  # pairs, and a reference
    assert Speed(1.0, 1.0, 1.0).seconds(group, 8) == pytest.approx((800 + 20 + 28) / 8)


def by_ticks(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A clock of which every reading takes so many seconds."""
    readings = count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: seconds * next(readings))


def test_a_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    by_ticks(monkeypatch, 1.0)
    assert timed(seeds(2, teacher__iterations=1), CPU) == Speed(1.0, 1.0, 1.0)


def test_what_is_timed_on_a_gpu_is_the_replay_of_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = pretend(monkeypatch)
    by_ticks(monkeypatch, timing.LEAST_SECONDS / 10)
    timed(seeds(2), CPU, way="graph")
    assert len(graphs) == 2  # a cycle, and a teacher's iteration
    assert all(graph.replays > 1 for graph in graphs)
    assert all(len(graph.calls) > 50 for graph in graphs)


@pytest.mark.long
def test_one_trial_of_a_large_network_stands_for_all_shapes_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LARGEST", 100)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trial, "KNOWN", {})
    group, conditional = seeds(2, **BRIEF), seeds(2, **BRIEF, teacher__condition=True)
    found = tried(group)
    assert tried(conditional) is found
    assert tried(seeds(2, **BRIEF, student__batch=64)) is not found
    assert all(once == 0 for each, once in found.stages.values())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(trial, "KNOWN", {})
    exactly = tried(group)
    assert exactly.cycle_flops == found.cycle_flops > 0
    assert exactly.bytes(1, "cpu") == pytest.approx(found.bytes(1, "cpu"), rel=0.3)


def test_a_long_training_is_scaled_from_a_small_batch_by_counted_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    by_ticks(monkeypatch, 1.0)
    group = seeds(2, teacher__batch=64, student__batch=32)
    found, cost = timing.extrapolated_speed(group, CPU), tried(group)
    assert found.teaching == pytest.approx(64 / timing.FEW)
    assert found.cycle / found.teaching == pytest.approx(cost.cycle_flops / cost.teaching_flops)
    by_ticks(monkeypatch, 2 * timing.PATIENCE)
    assert timing.extrapolated_speed(group, CPU).teaching == pytest.approx(2 * timing.PATIENCE * 64 / timing.FEW)
