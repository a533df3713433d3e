"""Exact transport, side by side in one run: `dmdlab.pairing.assignment` against scipy and POT on the same clouds.

    python -m benchmarks.transport              # about two minutes on one core
    python -m benchmarks.transport --large      # adds n = 20 000, certified, about another minute

Every time includes the squared distances, because that is what a user waits for; the best of `--repeats` runs counts.
The costs must agree to 1e-6, or the run fails. Ratios above 1 mean that dmdlab is quicker.
"""

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable

import numpy as np

SIZES = ((1000, 2), (1000, 64), (2000, 16), (2000, 64), (5000, 16), (5000, 64))


def best_of(repeats: int, call: Callable[[], float]) -> tuple[float, float]:
    """The shortest time in seconds, and what the call returned."""
    seconds, value = np.inf, np.nan
    for _ in range(repeats):
        started = time.perf_counter()
        value = call()
        seconds = min(seconds, time.perf_counter() - started)
    return seconds, value


def full_matrix(P: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Squared distances as scipy's and POT's users write them, (n, n) float64."""
    cost = (G**2).sum(1)[:, None] + (P**2).sum(1) - 2.0 * G @ P.T
    return np.maximum(cost, 0.0, out=cost)


def by_dmdlab(P: np.ndarray, G: np.ndarray) -> float:
    from dmdlab.pairing import assignment

    return assignment(P, G).cost


def by_scipy(P: np.ndarray, G: np.ndarray) -> float:
    from scipy.optimize import linear_sum_assignment

    cost = full_matrix(P, G)
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def by_pot(P: np.ndarray, G: np.ndarray) -> float:
    import ot

    return float(ot.emd2([], [], full_matrix(P, G), numItermax=10**8))


def compare(name: str, P: np.ndarray, G: np.ndarray, repeats: int) -> None:
    """One row of the table; SystemExit when the solvers disagree."""
    ours, cost = best_of(repeats, lambda: by_dmdlab(P, G))
    row = f"{name:<24} {len(P):>6} {P.shape[1]:>4} {1e3 * ours:>10.1f} ms"
    for other in (by_scipy, by_pot):
        seconds, theirs = best_of(1 if len(P) > 2000 else repeats, lambda other=other: other(P, G))  # type: ignore[misc]
        if not np.isclose(cost, theirs, rtol=1e-6):
            raise SystemExit(f"{name}: cost {cost} by dmdlab, {theirs} by {other.__name__}")
        row += f" {1e3 * seconds:>10.1f} ms {seconds / ours:>6.1f} x"
    print(row, flush=True)


def certify(n: int, d: int, relative_gap: float) -> None:
    """The certified interval beyond the dense limit, with its peak memory."""
    from dmdlab.pairing import assignment

    P, G = np.random.default_rng(0).standard_normal((2, n, d), dtype=np.float32)
    started = time.perf_counter()
    found = assignment(P, G, relative_gap=relative_gap)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"n = {n}, d = {d}: e_ot in [{found.lower:.6f}, {found.upper:.6f}], gap {found.gap:.1e}, "
        f"{time.perf_counter() - started:.0f} s, peak {peak:.1f} GiB (the matrix alone: {4 * n * n / 2**30:.1f} GiB)"
    )


def describe() -> str:
    """Hardware, threads and versions, as a line under every table."""
    from importlib.metadata import version

    versions = ", ".join(f"{package} {version(package)}" for package in ("numpy", "scipy", "lapx", "POT"))
    threads = os.environ.get("OMP_NUM_THREADS", "default")
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, Python {platform.python_version()}, "
        f"{versions}, {platform.system()}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="add n = 20 000, d = 64 to a certified 1 %%")
    options = parser.parse_args()
    for backend in ("JAX", "TENSORFLOW", "CUPY"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    by_dmdlab(*np.zeros((2, 2, 2))), by_scipy(*np.zeros((2, 2, 2))), by_pot(*np.zeros((2, 2, 2)))  # imports
    print(f"{'clouds':<24} {'n':>6} {'d':>4} {'dmdlab':>13} {'scipy':>13} {'':>8} {'POT emd2':>13}")
    rng = np.random.default_rng(0)
    for n, d in SIZES:
        P, E = rng.standard_normal((2, n, d))
        compare("independent", P, E, options.repeats)
        compare("correlated, 0.5", P, 0.5 * P + np.sqrt(0.75) * E, options.repeats)
    P, E = rng.standard_normal((2, 2000, 64))
    compare("near-copies", P, P + 0.01 * E, max(5, options.repeats))
    if options.large:
        certify(20_000, 64, 1e-2)
    print(describe())


if __name__ == "__main__":
    main()
