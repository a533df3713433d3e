"""Devices, cores and memory that a process may use, and why no GPU; what a record says about where it was made."""

import os
from typing import Any

import pytest
import torch
from small import CPU

from dmdlab.config import InputError
from dmdlab.device import environment, limits
from dmdlab.device.precision import PRECISIONS, supports

# --- cores, memory, devices


def test_cores_are_those_of_the_affinity_and_all_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert limits.allowed_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert limits.allowed_cores() == 12


def test_total_memory_is_unknown_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (limits.total_memory() or 0) > 2**28
    monkeypatch.delattr(os, "sysconf")
    assert limits.total_memory() is None


@pytest.mark.parametrize(
    ("count", "name", "said"),
    [(1, "cuda:1", "this machine has cuda:0 only"), (4, "cuda:7", "this machine has cuda:0 to cuda:3")],
)
def test_a_gpu_that_is_not_there_is_refused_by_naming_those_that_are(
    monkeypatch: pytest.MonkeyPatch, count: int, name: str, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(InputError, match=f"--device {name}: {said}; choose one of these, or cpu"):
        environment.choose_device(name)
    assert environment.choose_device("cuda:0") == torch.device("cuda:0")


REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "a CPU build": ({"built": False}, "built without CUDA"),
    "hidden GPUs": ({"built": True, "visible": ""}, "CUDA_VISIBLE_DEVICES is '', which hides every GPU"),
    "an old driver": (
        {"built": True, "error": "The driver is too old.\nUpdate it."},
        "sees no GPU (The driver is too old)",
    ),
    "no GPU": ({"built": True}, "sees no GPU"),
    "an Apple": ({"built": False, "apple": True}, "not on Apple's"),
}


@pytest.mark.parametrize("case", REASONS)
def test_why_there_is_no_gpu_is_said_with_the_refusal(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts, said = REASONS[case]

    def init() -> None:
        if "error" in facts:
            raise RuntimeError(facts["error"])

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: facts["built"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: facts.get("apple", False))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if "visible" in facts:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(facts["visible"]))
    with pytest.raises(InputError) as refusal:
        environment.choose_device("cuda")
    assert str(refusal.value).startswith("--device cuda: ")
    assert said in str(refusal.value)
    assert str(refusal.value).endswith("; use --device cpu")
    assert "\n" not in str(refusal.value)


# --- the rate of products, the record


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_rate_counts_two_operations_a_multiply_add(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that moves a second at a look, one product of size s takes a second: the rate is 2 s^3."""
    if not supports(CPU, precision):  # type: ignore[arg-type]
        pytest.skip("this CPU lacks it")
    looks = iter(range(100))
    monkeypatch.setattr(environment.time, "perf_counter", lambda: float(next(looks)))
    assert environment.product_rate(CPU, precision, seconds=3.0, size=8) == 2 * 8**3  # type: ignore[arg-type]


def test_measuring_the_rate_leaves_the_global_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    assert environment.product_rate(CPU, "float32", seconds=0.0, size=16) > 0
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_record_says_threads_precision_and_peak_memory() -> None:
    block = torch.ones(2**24)  # 64 MiB that this process has certainly held
    found = environment.environment(CPU, {"teacher": 1.0, "flow": 0.5}, precision="bf16")
    assert found["seconds"] == 1.5
    assert found["threads"] == torch.get_num_threads()
    assert found["precision"] == "bf16"
    assert found["peak_memory_bytes"] >= block.nbytes
    assert environment.environment(CPU, {})["precision"] is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_has_a_rate_in_every_precision_and_remembers_its_peak_memory() -> None:
    device = torch.device("cuda")
    for precision in PRECISIONS:
        if supports(device, precision):
            assert environment.product_rate(device, precision) > 0
    assert environment.environment(device, {})["peak_memory_bytes"] >= 3 * 4096**2 * 4
