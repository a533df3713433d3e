"""Roughly how long a plan takes."""

from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from recorder import pretend
from small import CPU, experiment, experiments
from torch import Tensor

from dmdlab.device.capture import Replayed
from dmdlab.lab import estimate, plan

PLENTY = 2**40
GPU = torch.device("cuda")  # simulated: nothing below asks the device itself


def test_the_last_of_several_workers_ends_a_sweep() -> None:
    assert estimate.makespan([3.0, 1.0, 2.0], 1) == 6.0
    assert estimate.makespan([3.0, 1.0, 2.0], 2) == 3.0
    assert estimate.makespan([3.0, 3.0, 2.0], 5) == 3.0
    assert estimate.makespan([], 2) == 0.0


def test_the_time_is_that_of_the_arithmetic_and_of_the_exact_law() -> None:
    words = ("seed=[0, 1]", "student.iterations=1000", "fake_score.updates=5", "teacher.iterations=10")
    words += ("teacher.steps=4", "teacher.solver=heun")
    wanted = experiments(*words, "teacher.target=data")
    part = plan.Part(wanted, bytes=0, flops=6_000_000_000)
    assert estimate.seconds(part, estimate.Speed(2e9, law_seconds=0.0)) == pytest.approx(1.5 * 3)
    # a batch of 16 is one unit: 1000 / 5 cycles of two members, and Phi_4 (7 calls) at 2 x 24 noises for two seeds
    assert estimate.seconds(part, estimate.Speed(2e9, law_seconds=0.01)) == pytest.approx(4.5 + 4.0 + 0.42)
    posterior = experiments(*words, "teacher.target=posterior")  # and 10 batches of 16 for two seeds
    part = plan.Part(posterior, bytes=0, flops=6_000_000_000)
    assert estimate.seconds(part, estimate.Speed(2e9, law_seconds=0.01)) == pytest.approx(4.5 + 4.0 + 0.42 + 0.2)


def test_the_speed_of_a_shape_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which every call takes a second."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: float(next(ticks)))
    e = experiment()
    found = estimate.speed(e, 2, CPU)
    # a second for two members: 32 rows, 2 (4 + 32) 16 operations at the input and 3 (2 x 16 + 4) 16 behind it, twice
    assert found.step == 2 * 32 * 2 * (1152 + 1728)
    assert found.law_seconds == 0.5
    assert estimate.speed(experiment(teacher__kind="network"), 2, CPU).law_seconds == 0


class Kept(Replayed):
    """Remembers the steps and what they were called with."""

    made: ClassVar[list["Kept"]] = []

    def __init__(self, step: Callable[..., Tensor], graph: bool) -> None:
        super().__init__(step, graph)
        self.eager = step
        self.made.append(self)


def test_what_is_timed_on_a_gpu_is_the_replay_of_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = pretend(monkeypatch)
    Kept.made.clear()
    monkeypatch.setattr(estimate, "Replayed", Kept)
    estimate.speed(experiment(), 2, CPU, graph=True)
    assert len(graphs) == len(Kept.made) == 2
    step = Kept.made[0]
    gradient = step.eager(*step.inputs)
    expected = gradient.clone()
    assert expected.abs().sum() > 0
    gradient.zero_()
    graphs[0].replay()
    assert torch.equal(gradient, expected)
    assert all(graph.replays > 1 for graph in graphs)
