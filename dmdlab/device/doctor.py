"""What this machine offers, what dmdlab will use of it and why, and what deserves action.

`examine` returns plain data: facts, with a measured rate for each precision, and findings as sentences.
"""

import importlib
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dmdlab.config import InputError
from dmdlab.device.cgroups import cpu_quota, memory_limit
from dmdlab.device.compiling import cache_folder, why_not_compiled
from dmdlab.device.environment import (
    choose_device,
    commit,
    cpu_name,
    hardware,
    product_rate,
    versions,
    why_no_gpu,
)
from dmdlab.device.limits import allowed_cores, available, default_workers, threads_each, total_memory
from dmdlab.device.precision import PRECISIONS, Precision, cpu_bf16, precision_on, supports
from dmdlab.device.recorded import why_not_recorded
from dmdlab.trouble import counted

MODULES = {"POT": "ot", "lapx": "lap"}
"""The module of a package that is not called like it."""

FASTER = 1.3
"""How many times float32's rate bfloat16 must reach before it is recommended (ours: casts and the rest eat some)."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that torch sees; memory in bytes."""

    name: str
    capability: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Arithmetic:
    """One precision on the device in use. support: 'have', 'emulated', 'lack' or 'fails'; by: what computes it, or why
    it fails; rate: FLOP/s measured on a large matrix product, None where it was not."""

    precision: str
    support: str
    by: str
    rate: float | None


@dataclass(frozen=True)
class Threads:
    """Threads that torch starts, what the environment asked for, cores there and allowed, cores' worth of time that
    control groups grant (None: no limit), the processes that a sweep would start and the threads of each."""

    torch: int
    omp_num_threads: str | None
    cores: int | None
    allowed_cores: int
    quota_cores: float | None
    sweep_workers: int
    worker_threads: int


@dataclass(frozen=True)
class Hardware:
    """What the hardware and its torch offer. device: the one in use, None when the one asked for is not there.
    uncompiled: why training cannot be compiled for it, '' when it can. compiled_in: the folder that keeps what is.
    unrecorded: why a CPU's training cannot be recorded, '' when it can."""

    torch_build: str
    gpus: list[Gpu]
    device: str | None
    why: str
    arithmetic: list[Arithmetic]
    auto_precision: str | None
    cpu: str
    threads: Threads
    ram_bytes: int | None
    ram_available_bytes: int
    ram_limit_bytes: int | None
    uncompiled: str
    compiled_in: str
    unrecorded: str
    commit: str


@dataclass(frozen=True)
class Finding:
    """A sentence that deserves action; one that blocks means that dmdlab will not work as asked."""

    text: str
    blocks: bool = False


@dataclass(frozen=True)
class Examination:
    """The whole of it. versions: of Python and of each package that results depend on, 'none' where it is missing."""

    system: str
    python: str
    versions: dict[str, str]
    machine: Hardware
    findings: list[Finding]

    @property
    def usable(self) -> bool:
        """Whether dmdlab works here with the device asked for."""
        return not any(finding.blocks for finding in self.findings)


def examine(device_name: str = "auto", seconds: float = 0.25) -> Examination:
    """Examine this machine; `device_name` as for --device, `seconds` for each rate that is measured."""
    findings = list(_broken_packages())
    device = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch would warn of, such as an old driver, becomes words
        try:
            device = choose_device(device_name)
            why = _why(device_name, device)
        except InputError as error:
            why = f"{error}."
            findings.append(Finding(why, blocks=True))
        machine = _machine(device, why, seconds)
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return Examination(system, sys.executable, versions(), machine, [*findings, *advice(machine)])


def _broken_packages() -> Iterator[Finding]:
    """Those that cannot be imported: one that was made for another numpy looks installed until it is."""
    for name in versions():
        if name == "python":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(MODULES.get(name, name))
        except Exception as error:  # a broken package may raise anything
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            yield Finding(f"{name} cannot be imported ({why}): pip install --force-reinstall {name}.", blocks=True)


def _machine(device: torch.device | None, why: str, seconds: float) -> Hardware:
    return Hardware(
        torch_build=_torch_build(),
        gpus=[_gpu(i) for i in range(torch.cuda.device_count())],
        device=None if device is None else str(device),
        why=why,
        arithmetic=[] if device is None else [_arithmetic(device, p, seconds) for p in PRECISIONS],
        auto_precision=None if device is None else precision_on(device, "auto"),
        cpu=cpu_name(),
        threads=_threads(device or torch.device("cpu")),
        ram_bytes=total_memory(),
        ram_available_bytes=available(),
        ram_limit_bytes=memory_limit(),
        compiled_in=str(cache_folder()),
        uncompiled=why_not_compiled(device or torch.device("cpu")),
        unrecorded=why_not_recorded(),
        commit=commit(),
    )


def _torch_build() -> str:
    """Which kind of GPU this torch was built for."""
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    hip = getattr(torch.version, "hip", None)
    return f"ROCm {hip}" if hip else "CPU build"


def _why(name: str, device: torch.device) -> str:
    """Why this device is the one in use."""
    if name != "auto":
        return f"--device {name} asks for it."
    if device.type == "cuda":
        return f"auto takes a GPU when there is one: {hardware(device)}."
    return f"auto takes the CPU: {why_no_gpu()}."


def _gpu(index: int) -> Gpu:
    free, total = torch.cuda.mem_get_info(index)
    major, minor = torch.cuda.get_device_capability(index)
    return Gpu(torch.cuda.get_device_name(index), f"{major}.{minor}", free, total)


def _arithmetic(device: torch.device, precision: Precision, seconds: float) -> Arithmetic:
    """Whether and by what this device has a precision, and the rate if it has."""
    if not supports(device, precision):
        return Arithmetic(precision, "emulated" if precision == "bf16" else "lack", "", None)
    by = ""
    if device.type == "cuda" and precision != "float32":
        by = "tensor cores"
    elif precision == "bf16":
        by = {"amx": "AMX", "avx512": "AVX512-BF16", "none": ""}[cpu_bf16()]
    try:
        return Arithmetic(precision, "have", by, product_rate(device, precision, seconds))
    except RuntimeError as error:  # such as a GPU for which this torch has no code
        return Arithmetic(precision, "fails", str(error).strip().splitlines()[0], None)


def _threads(device: torch.device) -> Threads:
    own, asked, cores = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), os.cpu_count()
    workers = default_workers(device)
    return Threads(own, asked, cores, allowed_cores(), cpu_quota(), workers, threads_each(workers))


def advice(machine: Hardware) -> Iterator[Finding]:
    """What deserves action, from the facts alone."""
    threads, share = machine.threads, machine.threads.quota_cores
    asked = (threads.omp_num_threads or "").strip()
    if asked.isdigit() and int(asked) > threads.allowed_cores:
        yield Finding(
            f"OMP_NUM_THREADS is {asked} where this process may use {counted(threads.allowed_cores, 'core')}, so "
            f"threads would wait for each other: export OMP_NUM_THREADS={threads.allowed_cores}."
        )
    if share is not None and share < threads.allowed_cores:
        fair = max(1, int(share))
        yield Finding(
            f"A control group (container or scheduler) grants the time of {share:.3g} of {threads.allowed_cores} "
            f"cores; what runs beyond it only waits: export OMP_NUM_THREADS={fair} (a sweep heeds it by itself)."
        )
    rates = {a.precision: a.rate for a in machine.arithmetic if a.rate}
    for failed in (a for a in machine.arithmetic if a.support == "fails"):
        yield Finding(f"{machine.device} cannot multiply in {failed.precision}: {failed.by}.", blocks=True)
    if machine.device == "cpu" and rates.get("bf16", 0.0) > FASTER * rates.get("float32", float("inf")):
        yield Finding(
            f"Large products in bfloat16 ran {rates['bf16'] / rates['float32']:.1f} times as fast as in float32: "
            "network.precision=bf16 trains wide networks faster where its rounding is acceptable; narrow ones gain "
            "little (docs/performance.md)."
        )
    if machine.uncompiled:
        yield Finding(f"Long trainings cannot be compiled, and are slower: {machine.uncompiled}.")
    if machine.unrecorded and machine.device == "cpu":
        yield Finding(
            f"Training steps cannot be recorded with this torch, so that small networks train slower, to the same "
            f"results: {machine.unrecorded}."
        )
    if machine.torch_build == "CPU build" and shutil.which("nvidia-smi"):
        yield Finding(
            "nvidia-smi is there, so this machine seems to have an NVIDIA GPU, but this torch is a CPU build: "
            "install a CUDA build (pytorch.org, Get started)."
        )
    for index, gpu in enumerate(machine.gpus):
        if gpu.free_bytes < gpu.total_bytes / 2:
            yield Finding(
                f"Less than half of the memory of cuda:{index} is free: another process uses it (nvidia-smi says "
                "which), and ensembles will be smaller and slower."
            )
