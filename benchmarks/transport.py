"""Exact transport, side by side in one run: `dmdlab.pairing.assignment` against scipy and POT on the same clouds.

Every time includes the squared distances, because that is what a user waits for; solvers take turns, and the best of
three rounds counts (one for solvers that take long). The costs must agree to 1e-6, or the run fails. Ratios above 1
mean that dmdlab is quicker. At the end, a certified interval beyond the dense solver's limit. A CPU's business, on
whatever device the others run.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import Options, say

SIZES = ((1000, 2), (1000, 64), (2000, 16), (2000, 64), (5000, 16), (5000, 64))
ROUNDS = 3
SLOW = 2000
"""Above so many points, scipy and POT run once: seconds each."""

Cloud = np.ndarray
Solver = Callable[[Cloud, Cloud], float]


def full_matrix(P: Cloud, G: Cloud) -> np.ndarray:
    """Squared distances as scipy's and POT's users write them, (n, n) float64."""
    cost = (G**2).sum(1)[:, None] + (P**2).sum(1) - 2.0 * G @ P.T
    return np.maximum(cost, 0.0, out=cost)


def by_dmdlab(P: Cloud, G: Cloud) -> float:
    """The mean cost of the best assignment."""
    from dmdlab.pairing import assignment

    return assignment(P, G).cost


def by_scipy(P: Cloud, G: Cloud) -> float:
    """The same by scipy."""
    from scipy.optimize import linear_sum_assignment

    cost = full_matrix(P, G)
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def by_pot(P: Cloud, G: Cloud) -> float:
    """The same by POT, with iterations enough to finish."""
    import ot

    return float(ot.emd2([], [], full_matrix(P, G), numItermax=10**8))


SOLVERS: dict[str, Solver] = {"dmdlab": by_dmdlab, "scipy": by_scipy, "pot": by_pot}


def compare(clouds: str, P: Cloud, G: Cloud) -> dict[str, Any]:
    """One record; ArithmeticError when the solvers disagree."""
    best, costs = dict.fromkeys(SOLVERS, np.inf), {}
    for turn in range(ROUNDS):
        for name, solve in SOLVERS.items():
            if turn and name != "dmdlab" and len(P) > SLOW:
                continue
            started = time.perf_counter()
            costs[name] = solve(P, G)
            best[name] = min(best[name], time.perf_counter() - started)
    for name in ("scipy", "pot"):
        if not np.isclose(costs["dmdlab"], costs[name], rtol=1e-6):
            raise ArithmeticError(f"{clouds}: cost {costs['dmdlab']} by dmdlab, {costs[name]} by {name}")
    record: dict[str, Any] = {"clouds": clouds, "n": len(P), "d": P.shape[1]}
    record |= {f"{name}_ms": 1e3 * seconds for name, seconds in best.items()}
    record |= {f"{name}_ratio": best[name] / best["dmdlab"] for name in ("scipy", "pot")}
    say(f"{clouds}, n = {len(P)}, d = {P.shape[1]}: scipy {record['scipy_ratio']:.1f}, POT {record['pot_ratio']:.1f}")
    return record


def certify(n: int, d: int, relative_gap: float) -> dict[str, Any]:
    """The certified interval beyond the dense limit, with the process's peak memory so far."""
    from dmdlab.lab.memory import process_peak
    from dmdlab.pairing import assignment

    P, G = np.random.default_rng(0).standard_normal((2, n, d), dtype=np.float32)
    started = time.perf_counter()
    found = assignment(P, G, relative_gap=relative_gap)
    return {
        "clouds": "independent, certified",
        "n": n,
        "d": d,
        "asked_gap": relative_gap,
        "lower": found.lower,
        "upper": found.upper,
        "gap": found.gap,
        "seconds": time.perf_counter() - started,
        "peak_bytes": process_peak(),
    }


def run(options: Options) -> dict[str, Any]:
    """Independent clouds, correlated ones, near-copies; and, unless quick, 20 000 points to a certified 1 %."""
    for backend in ("JAX", "TENSORFLOW", "CUPY"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    for solve in SOLVERS.values():
        solve(np.zeros((2, 2)), np.zeros((2, 2)))  # imports
    rng = np.random.default_rng(0)
    records = []
    for n, d in [(50, 2)] if options.quick else SIZES:
        P, E = rng.standard_normal((2, n, d))
        records.append(compare("independent", P, E))
        records.append(compare("correlated, 0.5", P, 0.5 * P + np.sqrt(0.75) * E))
    P, E = rng.standard_normal((2, 50 if options.quick else 2000, 64))
    records.append(compare("near-copies", P, P + 0.01 * E))
    return {"records": records, "certified": [] if options.quick else [certify(20_000, 64, 1e-2)]}
