"""Counted arithmetic and memory against torch's own count and against what a run really allocates."""

import tracemalloc

import numpy as np
import pytest
import torch
from small import CPU, experiment, start_denoiser
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dmdlab.config import Experiment, experiment_from
from dmdlab.device.limits import LiveBytes
from dmdlab.diffusion import flow, karras_grid
from dmdlab.lab import cost, footprint, run
from dmdlab.lab.calibrate import calibrate_experiment
from dmdlab.lab.run import run_ensemble
from dmdlab.pairing import measure
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


# --- memory

BASE: dict[str, object] = {
    "law__dim": 2,
    "network__width": 16,
    "network__depth": 3,
    "teacher__iterations": 2,
    "teacher__steps": 2,
    "student__iterations": 4,
    "student__warmup": 0,
    "fake_score__updates": 2,
    "measure__samples": 100,
    "measure__checkpoints": 2,
}
SMALL: dict[str, dict[str, object]] = {
    "small": {},
    "one update": {"fake_score__updates": 1, "student__init": "rotated"},
    "separate": {"fake_score__batches": "separate", "fake_score__updates": 5, "network__kind": "mlp"},
    "network teacher": {"teacher__kind": "network", "network__width": 32, "teacher__steps": 5},
    "spiral": {"law__name": "spiral", "law__components": None, "teacher__steps": 5},
    "few steps": {"law__name": "spiral", "law__components": None},
}
LARGE: dict[str, dict[str, object]] = {
    "wide": {"network__width": 320},
    "wide mlp": {"network__width": 320, "network__depth": 5, "network__kind": "mlp", "student__batch": 256},
    "high dimension": {"law__dim": 256, "network__width": 32, "student__init": "rotated"},
    "long rows": {"student__batch": 1024, "network__width": 128, "law__dim": 8},
    "cube": {"law__name": "cube", "law__components": None, "law__dim": 64},
    "many samples": {"measure__samples": 4000, "law__dim": 32, "law__name": "gaussian", "law__components": None},
    "wide network teacher": {"teacher__kind": "network", "network__width": 256, "network__kind": "mlp"},
}


def run_of(settings: dict[str, object], members: int) -> list[Experiment]:
    own = {key: value for key, value in (BASE | {"law__components": 4} | settings).items() if value is not None}
    base = {k: v for k, v in own.items() if k != "law__components"} if "law__name" in settings else own
    return [experiment_from({k.replace("__", "."): v for k, v in (base | {"seed": s}).items()}) for s in range(members)]


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("shape", [*SMALL, *LARGE])
def test_no_run_takes_more_memory_than_estimated(shape: str, members: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a run but its measures and their calibration, whose arrays are numpy's."""
    es = run_of((SMALL | LARGE)[shape], members)
    monkeypatch.setattr(run, "result_of", lambda *everything: None)
    monkeypatch.setattr(footprint, "calibrating_bytes", lambda e, working: 0)
    estimate = footprint.ensemble_bytes(es[0], members, "cpu")
    with LiveBytes() as seen:
        for _ in run_ensemble(es, CPU):
            pass
    assert seen.peak <= estimate
    assert estimate < 2.5 * seen.peak or shape in SMALL


def test_the_measures_take_no_more_than_estimated() -> None:
    e = run_of({"measure__samples": 500, "law__dim": 16}, 1)[0]
    rng = np.random.default_rng(0)
    p, g, q = rng.standard_normal((3, 500, 16)).astype(np.float32)
    measure(p[:50], g[:50], reference=q[:50])  # imports what it needs
    tracemalloc.start()
    try:
        measure(p, g, reference=q)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= footprint.measuring_bytes(e) < 2.5 * peak


class AllLiveBytes(LiveBytes):
    """torch's and, whenever torch makes a tensor, numpy's too: `both` at most."""

    both = 0

    def _note(self, storage: torch.UntypedStorage) -> None:
        super()._note(storage)
        self.both = max(self.both, self.live + tracemalloc.get_traced_memory()[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"law__dim": 700, "measure__samples": 20},
        {"law__dim": 8, "measure__samples": 400},
        {"law__dim": 64, "measure__samples": 150, "law__name": "spiral", "law__components": None},
    ],
    ids=["its bases", "its measures", "its flows"],
)
def test_a_calibration_takes_no_more_than_estimated(settings: dict[str, object]) -> None:
    e = run_of(settings, 1)[0]
    calibrate_experiment(run_of({"measure__samples": 20}, 1)[0], CPU)  # imports what it needs
    working = footprint.law_size(e).denoiser.working
    estimate = footprint.calibrating_bytes(e, working)
    tracemalloc.start()
    try:
        with AllLiveBytes() as seen:
            calibrate_experiment(e, CPU)
        numpys = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(numpys, seen.both) <= estimate < 2.5 * max(numpys, seen.both)
    on_gpu = [cost.FLOAT * (stage.each + stage.once) for stage in footprint.stages(e, "cuda")]
    assert seen.peak <= max(on_gpu)


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
