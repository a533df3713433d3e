"""How things are timed side by side, and what a file of results says about where it was made."""

import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

FORM = 2
"""Of the files of results; the report shows no other."""

Turn = Callable[[int], float]
"""Seconds that so many units of work took."""

WARM_UP = 6
"""Units before the clock counts: libraries set themselves up, and a CUDA graph is captured at the fourth cycle."""


@dataclass(frozen=True)
class Effort:
    """How long to measure. rounds: turns of each contestant; turn_s: the shortest turn; slow_s: who takes longer than
    this for one unit of work is warmed up by one unit, and all have three rounds."""

    rounds: int = 7
    turn_s: float = 0.3
    slow_s: float = 1.0


@dataclass(frozen=True)
class Options:
    """How the benchmarks run. device: 'cpu' or 'cuda...'. threads: of torch, in each process. quick: tiny sizes, all in
    this process, to see that everything runs and not how fast. full: nothing extrapolated (targets; half an hour)."""

    device: str = "cpu"
    threads: int = 1
    quick: bool = False
    full: bool = False

    @property
    def cuda(self) -> bool:
        """Whether this is a GPU."""
        return self.device.startswith("cuda")

    @property
    def effort(self) -> Effort:
        """How long to measure."""
        if self.quick:
            return Effort(rounds=1, turn_s=0.0, slow_s=0.0)
        return Effort(slow_s=math.inf) if self.cuda else Effort()  # compiled and captured before it is timed


def alternate(turns: Mapping[str, Turn], effort: Effort) -> dict[str, list[float]]:
    """Seconds per unit of each contestant in each round, to four digits. They take turns, in reverse order every second
    round, so that whatever else the machine does falls on all of them."""
    units, slow = {}, False
    for name, turn in turns.items():
        first = turn(1)
        is_slow = first > effort.slow_s
        once = first if is_slow else turn(WARM_UP) / WARM_UP
        units[name] = max(1, math.ceil(effort.turn_s / once))
        slow = slow or is_slow
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for i in range(min(3, effort.rounds) if slow else effort.rounds):
        for name in list(turns) if i % 2 == 0 else list(turns)[::-1]:
            taken[name].append(significant(turns[name](units[name]) / units[name]))
    return taken


def significant(value: float) -> float:
    """To four digits, as results keep what was measured: everything else is computed from these."""
    return float(f"{value:.4g}")


def quotient(above: Sequence[float], below: Sequence[float], factor: float = 1.0) -> dict[str, float]:
    """factor * above / below of each round: median, least and most."""
    found = [factor * a / b for a, b in zip(above, below, strict=True)]
    return {"ratio": statistics.median(found), "ratio_least": min(found), "ratio_most": max(found)}


def exponent(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """The least-squares slope of log y in log x, half the width of its 95 % t-interval (NaN from two points), and the
    slope between the last two points, where small sizes no longer hide what large ones cost."""
    u, v = np.log(x), np.log(y)
    du = u - u.mean()
    slope = float(du @ v / (du @ du))
    rest = v - v.mean() - slope * du
    free = len(u) - 2
    error = math.sqrt(float(rest @ rest) / free / float(du @ du)) if free else math.nan
    return {
        "slope": slope,
        "half": float(stats.t.ppf(0.975, free)) * error,
        "last": float((v[-1] - v[-2]) / (u[-1] - u[-2])),
    }


def header(name: str, options: Options) -> dict[str, Any]:
    """Where and how the records below it were made."""
    import torch

    from dmdlab.device.environment import commit, cpu_name, versions
    from dmdlab.device.limits import allowed_cores
    from dmdlab.device.precision import PRECISIONS, supports

    device = torch.device(options.device)
    flags = [f"--{flag}" for flag in ("quick", "full") if getattr(options, flag)]
    return {
        "form": FORM,
        "benchmark": name,
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device) if options.cuda else cpu_name(),
        "cores": allowed_cores(),
        "threads": options.threads,
        "precisions": [p for p in PRECISIONS if supports(device, p)],
        "versions": versions(),
        "commit": commit("dmdlab", "benchmarks", ":(exclude)benchmarks/results"),
        "command": " ".join(
            ["python -m benchmarks", name, f"--device {options.device} --threads {options.threads}", *flags]
        ),
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
