"""How many cores are ours, how many bytes a machine can spare and this process has taken, and when memory ran out."""

import gc
import os
import re
import sys

import torch

from dmdlab.device import cgroups

SHARE = 0.9
"""The part of a GPU's free memory that an ensemble may take by estimate (ours: the rest is for torch and cuBLAS)."""

CONTEXT = 2**29
"""What a process takes of a GPU before its first tensor, in bytes (ours: CUDA's context and cuBLAS's workspace)."""

PROCESS = 2**29 if torch.version.cuda is None else 2**30
"""What a process takes of the RAM before its first ensemble, in bytes (ours; measured at the end of a tiny run: 370 MiB
with torch's CPU build, of which all processes share 100, and 730 MiB with its CUDA build, on a CPU, too)."""

COMPILING = 2**30
"""What compiling a training takes beside that (ours; measured: 280 MiB in the process, and up to 645 MiB in the
compiler that it starts)."""

CPU_SHARE = 0.6
"""The part of the available RAM that all workers together may take by estimate (ours: a laptop is used beside it)."""

SHARING = 3
"""Workers that share a GPU at most by default (ours): two may measure at a time, more would divide its memory."""

OUT_OF_MEMORY_TEXTS = (
    *("DefaultCPUAllocator: can't allocate", "]: out of memory", "error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"),
)
"""How memory's end is told where it is not an error of its own: by torch on the CPU, Triton, CUDA and cuBLAS."""


def allowed_cores() -> int:
    """Cores on which this process may run: its affinity where the system has such a thing, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def granted_cores() -> int:
    """Cores whose time is ours: the allowed ones, as far as control groups grant their time, and one at least."""
    quota = cgroups.cpu_quota()
    return allowed_cores() if quota is None else max(1, min(allowed_cores(), int(quota)))


def threads_each(workers: int) -> int:
    """Threads for each of so many worker processes: this process's own, shared, but no more than get time."""
    return max(1, min(torch.get_num_threads(), granted_cores()) // workers)


def default_workers(device: torch.device) -> int:
    """One for each core whose time is ours on a CPU; on a GPU up to `SHARING`, with two such cores for each.

    One ensemble fills a GPU while it trains. Then its runs are measured in numpy on the CPU, about a second each at a
    thousand samples, and a lone worker would leave the GPU idle for as long.
    """
    cores = granted_cores()
    return cores if device.type == "cpu" else max(1, min(SHARING, cores // 2))


def memory(device: torch.device, workers: int = 1, stated: int | None = None) -> int:
    """Bytes that all ensembles at work on `device` together may take by estimate, once every process is there.

    stated: bytes for this process and its workers with all that they take; None measures. GPU: nine tenths of what is
    free there, or stated. CPU: all of what is stated, or a part of the RAM that is available, within the limits of
    control groups.
    """
    on_cpu, started = device.type == "cpu", workers if workers > 1 else 0  # a lone worker is this process
    if stated is None:
        stated = available() if on_cpu else torch.cuda.mem_get_info(device)[0]
        share = CPU_SHARE if on_cpu else SHARE
    else:
        started, share = started + 1, 1.0 if on_cpu else SHARE
    return max(0, int(share * (stated - started * process_bytes(device))))


def process_bytes(device: torch.device) -> int:
    """What a process takes of the device's memory beside its ensembles."""
    return PROCESS if device.type == "cpu" else CONTEXT


def available() -> int:
    """Bytes of RAM that this process could still take, 4 GiB where the system does not say."""
    known = [value for value in (_meminfo(), cgroups.memory_left()) if value is not None]
    return min(known) if known else 4 * 2**30


def _meminfo() -> int | None:
    """Linux's own estimate of what can be taken without swapping."""
    return _kilobytes("meminfo", "MemAvailable")


def _kilobytes(name: str, field: str) -> int | None:
    """Bytes of a line 'field: N kB' of a file in /proc."""
    found = re.search(rf"^{field}:\s+(\d+) kB", cgroups.read_or_empty(cgroups.ROOT / "proc" / name), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def total_memory() -> int | None:
    """Bytes of RAM in this machine, whoever uses them; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows; names that a system lacks
        return None


def peak_bytes(device: torch.device) -> int | None:
    """Bytes at their peak so far: of torch's tensors on a GPU, of this whole process on a CPU; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return process_peak()


def process_peak() -> int | None:
    """Bytes of RAM of this whole process at their peak so far; None where the system does not say."""
    own = _kilobytes("self/status", "VmHWM")  # ru_maxrss of a process that another started begins at that one's peak
    if own is not None:
        return own
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, here or in what led here: a capture that fails says only that it did."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(t in str(error) for t in OUT_OF_MEMORY_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def release_memory(device: torch.device) -> None:
    """Give back what nobody holds any more: an ensemble's loop refers to itself and would stay beside the next one."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def size_text(size: float) -> str:
    """'3.2 GiB': two digits or more, in the unit that leaves them below a thousand."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1000 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= 10 or units[0] == "B" else f"{size:.1f} {units[0]}"
