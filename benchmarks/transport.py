"""Exact transport, side by side in one process: `dmdlab.transport` against scipy, POT and lapx on the same clouds.

Every time includes the squared distances, because that is what a user waits for; solvers take turns, and the best of
three rounds counts, of two above n = 2000. The costs must agree to 1e-6, or the run fails. At the end, in a fresh
process, a certified interval beyond the dense solver's limit. A CPU's business, on whatever device the others run.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.lane import Lane
from benchmarks.measure import Options, say, significant
from benchmarks.peers import Record

SIZES = ((1000, 2), (1000, 64), (2000, 16), (2000, 64), (5000, 16), (5000, 64))
Cloud = np.ndarray


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
    return float(cost[linear_sum_assignment(cost)].mean())


def by_pot(P: Cloud, G: Cloud) -> float:
    """The same by POT, with iterations enough to finish."""
    import ot

    return float(ot.emd2([], [], full_matrix(P, G), numItermax=10**8))


def by_lapx(P: Cloud, G: Cloud) -> float:
    """The same by lapx as its manual opens: lapjv on the full matrix."""
    import lap

    cost, *_ = lap.lapjv(full_matrix(P, G))
    return float(cost) / len(P)


PEERS: dict[str, Callable[[Cloud, Cloud], float]] = {"scipy": by_scipy, "POT": by_pot, "lapx": by_lapx}
SOLVERS = {"dmdlab": by_dmdlab} | PEERS


def compare(clouds: str, P: Cloud, G: Cloud) -> Record:
    """One record; ArithmeticError when the solvers disagree."""
    seconds: dict[str, list[float]] = {name: [] for name in SOLVERS}
    costs = {}
    for turn in range(3 if len(P) <= 2000 else 2):
        for name, solve in list(SOLVERS.items())[:: -1 if turn % 2 else 1]:
            started = time.perf_counter()
            costs[name] = solve(P, G)
            seconds[name].append(significant(time.perf_counter() - started))
    for name in PEERS:
        if not np.isclose(costs["dmdlab"], costs[name], rtol=1e-6):
            raise ArithmeticError(f"{clouds}: cost {costs['dmdlab']} by dmdlab, {costs[name]} by {name}")
    record = {"clouds": clouds, "n": len(P), "d": P.shape[1], "seconds": seconds}
    say(f"{clouds}, n = {len(P)}, d = {P.shape[1]}: {1e3 * min(seconds['dmdlab']):.1f} ms")
    return record | {"figures": figures(record)}


def figures(record: Record) -> dict[str, float]:
    """From a record's rounds: the best time of each solver, and how many times dmdlab's the others take."""
    best = {name: min(rounds) for name, rounds in record["seconds"].items()}
    found = {f"{name}, ms": 1e3 * seconds for name, seconds in best.items()}
    return found | {f"{name}, ratio": best[name] / best["dmdlab"] for name in PEERS}


def certify(n: int, d: int, relative_gap: float) -> Record:
    """The certified interval, with the process's peak memory so far, None where the system does not say."""
    from dmdlab.device.limits import process_peak
    from dmdlab.transport import assignment

    P, G = np.random.default_rng(0).standard_normal((2, n, d), dtype=np.float32)
    started = time.perf_counter()
    found = assignment(P, G, relative_gap=relative_gap)
    seconds, interval = time.perf_counter() - started, {"lower": found.lower, "upper": found.upper, "gap": found.gap}
    return {"n": n, "d": d, "asked_gap": relative_gap, **interval, "seconds": seconds, "peak_bytes": process_peak()}


def run(options: Options) -> dict[str, Any]:
    """Independent clouds, correlated ones, near-copies; 20 000 points to a certified 1 %. `quick`: tiny clouds."""
    for backend in ("JAX", "TENSORFLOW", "CUPY"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    rng = np.random.default_rng(0)
    records = []
    with Lane(options, tuned=False) as lane:
        lane.call(compare, "imports", *rng.standard_normal((2, 9, 2)))
        for n, d in [(50, 2)] if options.quick else SIZES:
            P, E = rng.standard_normal((2, n, d))
            records.append(lane.call(compare, "independent", P, E))
            records.append(lane.call(compare, "correlated, 0.5", P, 0.5 * P + np.sqrt(0.75) * E))
        P, E = rng.standard_normal((2, 50 if options.quick else 2000, 64))
        records.append(lane.call(compare, "near-copies", P, P + 0.01 * E))
    with Lane(options, tuned=False) as lane:
        return {"records": records, "certified": [lane.call(certify, 50 if options.quick else 20_000, 64, 1e-2)]}
