"""Where lower precision is used, where it never is, and who has it."""

from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from small import CPU, NEEDS_BF16, cycle, distillation, experiment, law_of, parameters, start_denoiser

from dmdlab.config import InputError
from dmdlab.device import precision as module
from dmdlab.device.precision import PRECISIONS, Precision, arithmetic, precision_on, supports
from dmdlab.training.student import Student
from dmdlab.training.turn import Turn

GPU = torch.device("cuda")


def fake_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize(
    ("capability", "auto", "has"),
    [((7, 5), "float32", {"float32"}), ((8, 0), "tf32", set(PRECISIONS)), ((9, 0), "tf32", set(PRECISIONS))],
)
def test_a_gpu_has_what_its_generation_has(
    capability: tuple[int, int], auto: str, has: set[Precision], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpu(monkeypatch, capability)
    assert {p for p in PRECISIONS if supports(GPU, p)} == has
    assert precision_on(GPU, "auto") == auto
    for p in PRECISIONS:
        if p in has:
            assert precision_on(GPU, p) == p
        else:
            with pytest.raises(InputError, match=f"network.precision is '{p}'.*set it to auto or one of float32"):
                precision_on(GPU, p)


@pytest.mark.parametrize(("amx", "avx512", "has"), [(1, 1, "amx"), (0, 1, "avx512"), (0, 0, "none")])
def test_a_cpu_has_bf16_by_its_instructions(amx: int, avx512: int, has: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = SimpleNamespace(_is_amx_tile_supported=lambda: bool(amx), _is_avx512_bf16_supported=lambda: bool(avx512))
    monkeypatch.setattr(module.torch, "cpu", cpu)
    assert module.cpu_bf16() == has
    assert supports(CPU, "bf16") == (has != "none")
    assert precision_on(CPU, "auto") == "float32"
    with pytest.raises(InputError, match="'tf32', which the device cpu does not have"):
        precision_on(CPU, "tf32")


def test_torch_still_has_the_names_that_tell_a_cpus_instructions() -> None:
    assert isinstance(torch.cpu._is_amx_tile_supported(), bool)
    assert isinstance(torch.cpu._is_avx512_bf16_supported(), bool)


def test_the_switches_are_put_back_whatever_happens() -> None:
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    for outer in PRECISIONS:
        for inner in PRECISIONS:
            with arithmetic(outer, CPU):
                state = [switch.allow_tf32 for switch in switches], torch.is_autocast_enabled("cpu")
                assert state == ([outer == "tf32"] * 2, outer == "bf16")
                with arithmetic(inner, CPU):
                    assert [switch.allow_tf32 for switch in switches] == [inner == "tf32"] * 2
                    assert torch.is_autocast_enabled("cpu") == (inner == "bf16")
                with pytest.raises(ZeroDivisionError), arithmetic(inner, CPU):
                    raise ZeroDivisionError
                assert ([switch.allow_tf32 for switch in switches], torch.is_autocast_enabled("cpu")) == state
    assert [switch.allow_tf32 for switch in switches] == before
    assert not torch.is_autocast_enabled("cpu")


def test_a_network_on_a_gpu_has_torch_convolve_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no GPU the move fails, and has asked for it before."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    network = start_denoiser([experiment()]).network
    network.to_device(CPU)
    assert torch.backends.cudnn.allow_tf32
    with suppress(AssertionError, RuntimeError):
        network.to_device(GPU)
    assert not torch.backends.cudnn.allow_tf32


@NEEDS_BF16
@pytest.mark.parametrize("kind", ["residual", "mlp"])
def test_a_bf16_cycle_is_a_float32_one_to_bf16s_rounding(kind: str) -> None:
    settings = {"network__kind": kind, "network__width": 64, "student__warmup": 0}
    full, half = (distillation([experiment(network__precision=p, **settings)] * 2) for p in ("float32", "bf16"))
    start = [p.clone() for p in parameters(full)]
    expected, found = cycle(full), cycle(half)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)
    for a, b, before in zip(parameters(half), parameters(full), start, strict=True):
        assert a.dtype == torch.float32
        moves = [(p - before).flatten() for p in (a, b)]
        assert torch.cosine_similarity(*moves, dim=0) > 0.8  # the first step of Adam is a step of signs


@NEEDS_BF16
def test_laws_run_in_full_whatever_surrounds_them() -> None:
    law, x = law_of(experiment()), torch.randn(2, 9, 4)
    with arithmetic("bf16", CPU):
        found = law.denoise(x, 0.5)
    assert torch.equal(found, law.denoise(x, 0.5))


@NEEDS_BF16
def test_the_noise_is_turned_in_full_and_measured_outputs_are_float32() -> None:
    seen: list[torch.Tensor] = []
    student = Student(start_denoiser([experiment()]), [80.0], Turn([0], [True], 4))
    z = 80 * torch.randn(1, 9, 4)
    student.denoiser.forward = lambda z, sigma: seen.append(z) or z  # type: ignore[method-assign]
    student(z)
    with arithmetic("bf16", CPU):
        student(z)
    assert torch.equal(seen[0], seen[1])
    loop = distillation([experiment(network__precision="bf16")])
    loop.cycle()
    plain = distillation([experiment(network__precision="float32")])
    plain.trained["student"].parameters.copy_(loop.trained["student"].parameters)
    assert torch.equal(loop.student(z), plain.student(z))
