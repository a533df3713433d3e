"""Counted arithmetic and memory against torch's own count and against what a run really allocates."""

import pytest
import torch
from small import experiment, start_denoiser
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dmdlab.config import Experiment
from dmdlab.diffusion import flow, karras_grid
from dmdlab.lab import cost
from dmdlab.randomness import rotation
from dmdlab.training.distill import Distillation, Student
from dmdlab.training.teacher import denoising_loss, ensemble_of

NETWORKS = {"mlp": {"network__kind": "mlp", "network__depth": 3}, "residual": {"network__depth": 2}}


def counted(run: object) -> int:
    """torch's own count of the matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        run()  # type: ignore[operator]
    return int(counter.get_total_flops())


def trivial(x: Tensor, sigma: Tensor | float) -> Tensor:
    """A teacher without matrix products."""
    return x / (1 + sigma)


def loop_of(es: list[Experiment]) -> Distillation:
    """The loop with a teacher whose products are counted: a network, or none at all."""
    first = es[0]
    turns = torch.stack([rotation(e.seed, e.law.dim) for e in es])
    inits = torch.tensor([e.student.init == "rotated" for e in es])
    rotated = (turns, inits) if inits.any() else (None, None)
    teacher = start_denoiser(es) if first.teacher.kind == "network" else trivial
    return Distillation(es, teacher, Student(start_denoiser(es), first.noise.sigma_max, *rotated), start_denoiser(es))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", ["exact", "network"])
@pytest.mark.parametrize("updates", [1, 2, 5])
@pytest.mark.parametrize("batches", ["shared", "separate"])
def test_a_cycle_has_the_operations_that_torch_counts(network: str, kind: str, updates: int, batches: str) -> None:
    settings = {"teacher__kind": kind, "fake_score__updates": updates, "fake_score__batches": batches, "law__dim": 3}
    es = [experiment(seed=s, **NETWORKS[network], **settings) for s in range(2)]
    loop = loop_of(es)
    assert counted(loop.cycle) == 2 * cost.cycle_flops(es[0])


def test_a_rotation_of_the_noise_is_counted() -> None:
    es = [experiment(student__init="rotated", seed=s) for s in range(3)]
    loop = loop_of(es)
    assert counted(loop.cycle) == 3 * cost.cycle_flops(es[0])


@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_teacher_steps_and_flows_are_as_in_the_network(network: str) -> None:
    e = experiment(**NETWORKS[network], teacher__batch=24, teacher__steps=3, measure__samples=40)
    denoiser = start_denoiser([e])
    flat = ensemble_of(denoiser).flat
    assert cost.parameters(e) == flat.shape[1]

    x, sigma = torch.randn(1, 24, 4), torch.full((1, 24, 1), 0.5)
    loss = counted(
        lambda: ensemble_of(denoiser).gradient(denoising_loss(denoiser, x, x, sigma, 1.0), torch.empty_like(flat))
    )
    assert loss == cost.teacher_flops(e)

    z = torch.randn(1, 40, 4)
    for solver in ("heun", "euler"):
        own = e.model_copy(update={"teacher": e.teacher.model_copy(update={"solver": solver})})
        assert counted(lambda s=solver: flow(denoiser, z, karras_grid(3, e.noise), s)) == cost.flow_flops(own)
