"""All benchmarks by name: `python -m benchmarks [NAME ...]` runs them and keeps their results as JSON."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import counts, limits, start, targets, throughput, transport
from benchmarks.measure import Options, header, say, write
from dmdlab.config import InputError, nearest

BENCHMARKS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "counts": counts.run,
    "throughput": throughput.run,
    "limits": limits.run,
    "start": start.run,
    "transport": transport.run,
    "targets": targets.run,
}
APART = {"counts": "seed 0", "transport": "clouds from numpy's default_rng(0)"}
"""What runs on a CPU whatever the device of the others, and its seeds."""

RESULTS = Path(__file__).parent / "results"
"""Where the results are that docs/performance.md shows."""


def about() -> dict[str, str]:
    """What each benchmark measures: the first sentence of its file."""
    modules = (counts, throughput, limits, start, transport, targets)
    return {name: (module.__doc__ or "").split("\n\n")[0] for name, module in zip(BENCHMARKS, modules, strict=True)}


def run(names: Sequence[str], options: Options, out: Path) -> Iterator[Path]:
    """Run these benchmarks, all if none is named; the file of results of each as it is written.

    Raises `InputError` for a name that there is not.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise InputError(f"no benchmark {name!r}{nearest(name, BENCHMARKS)}")
    if options.quick:
        say("Quick: tiny sizes whatever the names say, to see that everything runs. The numbers mean nothing.")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)  # of what runs in this process: all of it when quick
    try:
        for name in names or BENCHMARKS:
            say(f"--- {name}")
            own, seeds = options, "seeds 0 to members - 1 of dmdlab's, torch.manual_seed(0) in the plain loop's process"
            if name in APART:  # a CPU's business
                own, seeds = replace(options, device="cpu"), APART[name]
            started = time.perf_counter()
            results = header(name, own) | {"seeds": seeds} | BENCHMARKS[name](own)
            yield write(results | {"seconds": time.perf_counter() - started}, out)
    finally:
        torch.set_num_threads(threads)
