"""Where a result was made: versions, commit, hardware. And which device to use."""

import hashlib
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dmdlab.config import InputError
from dmdlab.device.limits import peak_bytes
from dmdlab.device.precision import Precision, arithmetic

PACKAGES = ("dmdlab", "torch", "numpy", "scipy", "POT", "lapx")


def choose_device(name: str) -> torch.device:
    """'auto' (CUDA when present), 'cpu', 'cuda' or 'cuda:N'. Raises `InputError` for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count()
    if count == 0:
        raise InputError(f"--device {name}: {why_no_gpu()}; use --device cpu")
    if (device.index or 0) >= count:
        there = "cuda:0 only" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise InputError(f"--device {name}: this machine has {there}; choose one of these, or cpu")
    return device


def why_no_gpu() -> str:
    """Why torch sees no GPU that dmdlab uses on this machine, as the half of a sentence."""
    if torch.backends.mps.is_available():
        return "dmdlab computes on NVIDIA's GPUs, not on Apple's"
    if not torch.backends.cuda.is_built():
        return f"this torch ({torch.__version__}) is built without CUDA (pytorch.org has builds with it)"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES is {visible!r}, which hides every GPU"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().splitlines()[0].rstrip(".")
        return f"this torch ({torch.__version__}) sees no GPU ({first})"
    return f"this torch ({torch.__version__}) sees no GPU"


def hardware(device: torch.device) -> str:
    """The name a table quotes: the GPU's, or the CPU's with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} of {os.cpu_count()} threads"


@cache
def cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


@cache
def cpu_kind() -> str:
    """Twelve hex digits that differ where code that is compiled for this CPU might not run."""
    facts = f"{platform.machine()} {cpu_name()} {_cpu_info('flags') or _cpu_info('Features')}"
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _cpu_info(field: str) -> str:
    """What Linux says of the first core; nothing elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


@cache
def commit(*paths: str) -> str:
    """The checkout's commit, with '+changes' when files under `paths` (git's pathspecs; by default the package) differ
    from it; 'none' outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return "none"

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True).stdout

    try:
        changes = git("status", "-s", "--", *(paths or ["dmdlab"]))
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "none"


@cache
def versions() -> dict[str, str]:
    """Version of each package that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked to do, so that a clock means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(device: torch.device, precision: Precision, seconds: float = 0.25, size: int | None = None) -> float:
    """Floating-point operations (two a multiply-add) a second of a large matrix product, the fastest in `seconds`.

    size: of the square matrices, by default 4096 on a GPU and 1024 on a CPU, enough to reach what the machine can do.
    Raises RuntimeError when the device cannot compute it.
    """
    on_gpu = device.type == "cuda"
    size, at_once = size or (4096 if on_gpu else 1024), 10 if on_gpu else 1  # one alone is over before a clock ticks
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    own = torch.Generator(device).manual_seed(0)  # random numbers: a GPU multiplies constant ones faster than real ones
    a, b = (torch.randn(size, size, generator=own, device=device).to(dtype) for _ in range(2))
    out, best, end = torch.empty_like(a), math.inf, time.perf_counter() + seconds
    with arithmetic("tf32" if precision == "tf32" else "float32", device), torch.inference_mode():
        torch.mm(a, b, out=out)  # libraries set themselves up
        while True:
            synchronise(device)
            start = time.perf_counter()
            for _ in range(at_once):
                torch.mm(a, b, out=out)
            synchronise(device)
            now = time.perf_counter()
            best = min(best, now - start)
            if now >= end:
                return 2 * size**3 * at_once / best


def environment(
    device: torch.device,
    seconds: dict[str, float],
    precision: str | None = None,
    ways: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What environment.json holds. `seconds` are this member's part of what its ensemble took since this process took
    it up, and what was spent on it alone; precision: that of the networks' products, resolved; ways: how each training
    ran (`dmdlab.device.compiling`), one that came from the store not among them. The peak memory is the process's so
    far, other ensembles' included."""
    return {
        "versions": versions(),
        "commit": commit(),
        "device": str(device),
        "hardware": hardware(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "ways": dict(ways or {}),
        "peak_memory_bytes": peak_bytes(device),
        "seconds": round(sum(seconds.values()), 3),
        "seconds_by_stage": {k: round(v, 3) for k, v in seconds.items()},
    }
