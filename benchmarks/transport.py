"""Exact transport, side by side in one run: `dmdlab.transport` against scipy, POT and lapx on the same clouds.

Every time includes the squared distances, because that is what a user waits for; solvers take turns in one process, and
the best of three rounds counts, of two above n = 2000. The costs must agree to 1e-6, or the run fails. Ratios above 1
mean that dmdlab is quicker. At the end, in a fresh process, a certified interval beyond the dense solver's limit. A
CPU's business, on whatever device the others run.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.lane import Lane
from benchmarks.measure import Options, say, significant

SIZES = ((1000, 2), (1000, 64), (2000, 16), (2000, 64), (5000, 16), (5000, 64))
ROUNDS, FEWER, MANY = 3, 2, 2000
"""Rounds of every solver; above so many points, fewer of them."""

Cloud = np.ndarray
Solver = Callable[[Cloud, Cloud], float]


def full_matrix(P: Cloud, G: Cloud) -> np.ndarray:
    """Squared distances as scipy's and POT's users write them, (n, n) float64."""
    cost = (G**2).sum(1)[:, None] + (P**2).sum(1) - 2.0 * G @ P.T
    return np.maximum(cost, 0.0, out=cost)


def by_dmdlab(P: Cloud, G: Cloud) -> float:
    """The mean cost of the best assignment."""
    from dmdlab.transport import assignment

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


def by_lapx(P: Cloud, G: Cloud) -> float:
    """The same by lapx as its manual opens: lapjv on the full matrix."""
    import lap

    cost, *_ = lap.lapjv(full_matrix(P, G))
    return float(cost) / len(P)


PEERS: dict[str, Solver] = {"scipy": by_scipy, "pot": by_pot, "lapx": by_lapx}
SOLVERS: dict[str, Solver] = {"dmdlab": by_dmdlab} | PEERS


def compare(clouds: str, P: Cloud, G: Cloud) -> dict[str, Any]:
    """One record; ArithmeticError when the solvers disagree."""
    record: dict[str, Any] = {"clouds": clouds, "n": len(P), "d": P.shape[1]} | {f"{name}_s": [] for name in SOLVERS}
    costs = {}
    for turn in range(ROUNDS if len(P) <= MANY else FEWER):
        for name, solve in list(SOLVERS.items())[:: -1 if turn % 2 else 1]:
            started = time.perf_counter()
            costs[name] = solve(P, G)
            record[f"{name}_s"].append(significant(time.perf_counter() - started))
    for name in PEERS:
        if not np.isclose(costs["dmdlab"], costs[name], rtol=1e-6):
            raise ArithmeticError(f"{clouds}: cost {costs['dmdlab']} by dmdlab, {costs[name]} by {name}")
    record |= figures(record)
    told = ", ".join(f"{name} {record[f'{name}_ratio']:.1f}" for name in PEERS)
    say(f"{clouds}, n = {len(P)}, d = {P.shape[1]}: {told}")
    return record


def figures(record: Mapping[str, Any]) -> dict[str, float]:
    """From a record's rounds: the best time of each solver, and how many times dmdlab's the others take."""
    best = {name: min(record[f"{name}_s"]) for name in SOLVERS}
    found = {f"{name}_ms": 1e3 * seconds for name, seconds in best.items()}
    return found | {f"{name}_ratio": best[name] / best["dmdlab"] for name in PEERS}


def certify(n: int, d: int, relative_gap: float) -> dict[str, Any]:
    """The certified interval, with the process's peak memory so far, None where the system does not say."""
    from dmdlab.device.limits import process_peak
    from dmdlab.transport import assignment

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
    """Independent clouds, correlated ones, near-copies; 20 000 points to a certified 1 %. `quick`: tiny clouds."""
    for backend in ("JAX", "TENSORFLOW", "CUPY"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    rng = np.random.default_rng(0)
    records = []
    with Lane(options, tuned=False) as lane:
        for solve in SOLVERS.values():
            lane.call(solve, np.zeros((2, 2)), np.zeros((2, 2)))  # imports
        for n, d in [(50, 2)] if options.quick else SIZES:
            P, E = rng.standard_normal((2, n, d))
            records.append(lane.call(compare, "independent", P, E))
            records.append(lane.call(compare, "correlated, 0.5", P, 0.5 * P + np.sqrt(0.75) * E))
        P, E = rng.standard_normal((2, 50 if options.quick else 2000, 64))
        records.append(lane.call(compare, "near-copies", P, P + 0.01 * E))
    with Lane(options, tuned=False) as lane:
        certified = lane.call(certify, 50 if options.quick else 20_000, 64, 1e-2)
    return {"records": records, "certified": [certified]}
