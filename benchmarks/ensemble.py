"""Does an ensemble pay? The same students trained together and one after another, side by side in one run.

    python -m benchmarks.ensemble [--members 16] [--cycles 20] [--rounds 5] [--out FILE]

Both ways run the same code on the quickstart's network, batch and law; rounds alternate, and each figure is the median
over rounds. The ratio is what to quote: single times on shared machines are noise.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dmdlab.config import Experiment
from dmdlab.lab.environment import commit, hardware, tune_allocator, versions
from dmdlab.lab.files import load
from dmdlab.laws import make_law
from dmdlab.randomness import generator
from dmdlab.training.distill import Distillation, Student
from dmdlab.training.teacher import denoiser_for, ensemble_of

ROOT = Path(__file__).resolve().parents[1]


def distillation(experiments: Sequence[Experiment], device: torch.device) -> Distillation:
    """An ensemble at a random start: the arithmetic of a cycle does not depend on where it starts."""
    first = experiments[0]
    law = make_law(first.law.model_dump()).to(device)
    student, fake = (denoiser_for(len(experiments), first.network, law, "cpu") for _ in range(2))
    for denoiser in (student, fake):
        ensemble_of(denoiser).initialise([generator(e.seed, "benchmark") for e in experiments]).to_device(device)
    return Distillation(experiments, law.denoise, Student(student, first.noise.sigma_max), fake)


def seconds(runs: Sequence[Distillation], cycles: int, device: torch.device) -> float:
    """Time for `cycles` cycles of each of `runs`, one after another."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for run in runs:
        for _ in range(cycles):
            run.cycle()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(dim: int, members: int, cycles: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Milliseconds per student and cycle both ways at one dimension, and the ratio."""
    words = [f"law.dim={dim}", "student.init=teacher", f"seed={{start=0, stop={members}}}"]
    experiments = load(ROOT / "experiments" / "quickstart.toml", None, words).experiments()
    together, alone = [distillation(experiments, device)], [distillation([e], device) for e in experiments]
    for runs in (together, alone):
        seconds(runs, 2, device)  # warm-up
    times = [(seconds(together, cycles, device), seconds(alone, cycles, device)) for _ in range(rounds)]
    per_student = 1e3 / (members * cycles)
    return {
        "dim": dim,
        "together_ms": statistics.median(t for t, _ in times) * per_student,
        "alone_ms": statistics.median(a for _, a in times) * per_student,
        "ratio": statistics.median(a / t for t, a in times),
        "ratio_min": min(a / t for t, a in times),
        "ratio_max": max(a / t for t, a in times),
    }


def main() -> None:
    """Print the table; with --out, write it as JSON, too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 8, 32, 128])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = torch.device(given.device)
    tune_allocator()
    print(f"{hardware(device)}; torch {torch.__version__}; commit {commit()}")
    print(f"{given.members} students of experiments/quickstart.toml, ms per student and cycle (medians of rounds)")
    print(f"{'d':>5} {'together':>9} {'alone':>7} {'alone/together (min ... max)':>30}")
    rows = []
    for dim in given.dims:
        row = compare(dim, given.members, given.cycles, given.rounds, device)
        rows.append(row)
        spread = f"{row['ratio']:.2f} ({row['ratio_min']:.2f} ... {row['ratio_max']:.2f})"
        print(f"{dim:>5} {row['together_ms']:>9.2f} {row['alone_ms']:>7.2f} {spread:>30}", flush=True)
    if given.out:
        record = {"hardware": hardware(device), "versions": versions(), "commit": commit(), "rows": rows}
        given.out.write_text(json.dumps(record | {"members": given.members, "cycles": given.cycles}, indent=2) + "\n")


if __name__ == "__main__":
    main()
