"""Where a result was made: versions, commit, hardware. And which device to use."""

import ctypes
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dmdlab.config import InputError

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
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InputError(f"--device {name}: this machine has {count} CUDA devices; use --device cpu")
    return device


def hardware(device: torch.device) -> str:
    """The name a table quotes: the GPU's, or the CPU's with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {torch.get_num_threads()} of {os.cpu_count()} threads"


def tune_allocator() -> None:
    """Let glibc keep freed memory for reuse: a training step allocates and frees arrays of a megabyte or so, which
    glibc would map and unmap each time (`benchmarks/ensemble.py` measures what it saves)."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4  # malloc.h
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 1 << 26)


@cache
def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def commit() -> str:
    """The checkout's commit, with '+changes' when the package's files differ from it; 'none' outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return "none"

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+changes" if git("status", "-s", "dmdlab") else "")
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


def environment(device: torch.device, seconds: dict[str, float]) -> dict[str, Any]:
    """What environment.json holds. `seconds` are of the whole ensemble, divided by its members."""
    return {
        "versions": versions(),
        "commit": commit(),
        "device": str(device),
        "hardware": hardware(device),
        "cores": os.cpu_count(),
        "seconds": round(sum(seconds.values()), 3),
        "seconds_by_stage": {k: round(v, 3) for k, v in seconds.items()},
    }
