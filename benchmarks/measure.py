"""How things are timed side by side, and what a file of results says about where it was made."""

import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FORM = 3
"""Of the files of results; the report shows no other."""

Turn = Callable[[int], float]
"""Seconds that so many units of work took."""

WARM_UP = 6
"""Units before the clock counts: a CUDA graph is captured at the fourth cycle."""


@dataclass(frozen=True)
class Options:
    """How the benchmarks run. device: 'cpu' or 'cuda...'. threads: of each process. quick: tiny sizes, all in this
    process, to see that everything runs and not how fast."""

    device: str = "cpu"
    threads: int = 1
    quick: bool = False

    @property
    def cuda(self) -> bool:
        """Whether this is a GPU."""
        return self.device.startswith("cuda")

    @property
    def processes(self) -> int:
        """Fresh processes in which each contestant is measured."""
        return 1 if self.quick else 3

    @property
    def effort(self) -> tuple[int, float]:
        """Rounds in each process, and the shortest turn, in seconds."""
        return (1, 0.0) if self.quick else (3, 0.3)


def alternate(turns: Mapping[str, Turn], rounds: int, turn_s: float) -> dict[str, list[float]]:
    """Seconds per unit of each contestant in each round, to four digits. They take turns, in reverse order every second
    round, so that whatever else the machine does falls on all of them. Turns take `turn_s` at least."""
    units = {}
    for name, turn in turns.items():
        once = turn(1)
        if once < 0.5 * turn_s:  # else it is warm enough
            once = turn(WARM_UP) / WARM_UP
        units[name] = max(1, math.ceil(turn_s / once))
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for i in range(rounds):
        for name in list(turns)[:: -1 if i % 2 else 1]:
            taken[name].append(significant(turns[name](units[name]) / units[name]))
    return taken


def significant(value: float) -> float:
    """To four digits, as results keep what was measured: everything else is computed from these."""
    return float(f"{value:.4g}")


def middle(rounds: Iterable[Sequence[float]]) -> float:
    """Of the rounds in several processes: the median over processes of each one's median."""
    return statistics.median(map(statistics.median, rounds))


def ratio(above: Iterable[Sequence[float]], below: Iterable[Sequence[float]]) -> tuple[float, float, float]:
    """above / below, round by round: `middle`, and the least and most of all rounds."""
    found = [[a / b for a, b in zip(*process, strict=True)] for process in zip(above, below, strict=True)]
    every = [each for process in found for each in process]
    return middle(found), min(every), max(every)


def header(name: str, options: Options) -> dict[str, Any]:
    """Where and how the records below it were made."""
    import torch

    from dmdlab.device.environment import commit, cpu_name, versions
    from dmdlab.device.limits import allowed_cores

    words = f"{name} --device {options.device} --threads {options.threads}{' --quick' if options.quick else ''}"
    try:
        jax = {"jax": version("jax")}
    except PackageNotFoundError:
        jax = {}
    return {
        "form": FORM,
        "benchmark": name,
        "device": torch.device(options.device).type,
        "hardware": torch.cuda.get_device_name(options.device) if options.cuda else cpu_name(),
        "cores": allowed_cores(),
        "threads": options.threads,
        "versions": versions() | jax,
        "commit": commit("dmdlab", "benchmarks", ":(exclude)benchmarks/results"),
        "command": f"python -m benchmarks {words}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "quick": options.quick,
    }


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def write(results: Mapping[str, Any], out: Path) -> Path:
    """The results as `out`/NAME-DEVICE.json; the path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{results['benchmark']}-{results['device']}.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return path
