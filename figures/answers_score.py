"""P2 of docs/answers.md: what a trained fake score's own rate does to Lambda, and what formulas say of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from answers_numbers import paces, share_lost, steps
from torch import Tensor

from dmdlab.networks.mlp import Fourier
from dmdlab.pairing import Interval, mean_interval
from dmdlab.records.cells import Cell
from dmdlab.records.record import Record
from dmdlab.theory import expected_variances, level_quadrature, trained_score_moments, trained_score_rates


@dataclass(frozen=True)
class Share:
    """Of what Eq. (11) of docs/theory.md says at a small rate: `batch`, what z and eps of the student's own batch add
    (Eq. 10 with the moments of Eq. 12, over b), and `larger`, by how much Eq. (11) grows at this rate."""

    batch: float
    larger: float


def formulas_hold_for(record: Record) -> bool:
    """Whether Eqs. (11) and (12) are about this run: a linear student and a trained linear score, both under SGD."""
    c = record.config
    kinds = (c["network.kind"], c["fake_score.kind"], c["student.optimiser"], c["fake_score.optimiser"])
    return kinds == ("linear", "network", "sgd", "sgd") and c["law.name"] == "gaussian"


def score_rate(record: Record, sigma: float | Tensor) -> float | Tensor:
    """The rate a of Eq. (12) at a level: that at which K, a denoiser's matrix, moves by the gradient of half a squared
    error. The score's loss is EDM's weighted mean over coordinates, whose gradient is 2 / d times as large; K's share
    of a parameter's step is (c_out c_in)^2 |f|^2 (`dmdlab.networks.linear`), and the weight takes c_out^2 away."""
    return _weighted_rate(record) / (1 + sigma**2)


def batch_share(record: Record) -> Share | None:
    """For a run of N(0, 1) at the law, as if each level had a matrix of its own; None where no formula says it."""
    if not formulas_hold_for(record):
        return None
    c = record.config
    levels = c["student.levels"]
    own = (int(c["law.dim"]), _weighted_rate(record), int(c["student.batch"]), int(c["fake_score.updates"]))
    return _batch_share(*own, (levels[0], levels[1]), float(c["noise.sigma_max"]))


def _weighted_rate(record: Record) -> float:
    c = record.config
    return float(c["fake_score.learning_rate"]) * 2 / int(c["law.dim"]) * paces(int(c["network.time_features"]), 0.0)[0]


@cache
def _batch_share(d: int, rate: float, b: int, k: int, bounds: tuple[float, float], sigma_max: float) -> Share:
    s, levels = torch.ones(d).double(), level_quadrature(bounds, sigma_max, 50)
    walk = float(trained_score_rates(s, levels)[0, 1]) / (b * k)
    batch = larger = 0.0
    for sigma in levels.tolist():
        own = rate / (1 + sigma**2)
        of = expected_variances(s, trained_score_moments(s, sigma, b, own), sigma)
        batch += float((of.latents + of.noise)[0, 1]) / b / len(levels)
        larger += float(trained_score_rates(s, torch.tensor([sigma]), batch=b, rate=own)[0, 1]) / (b * k) / len(levels)
    return Share(batch / walk, larger / walk - 1)


def shared_walk(record: Record) -> float:
    """Lambda from the law where all levels share the network's few matrices A_k, and the score starts without error.

    With C = <f f^T> over the score's levels and g = <c_out c_in f> over the student's, each eigenvector v of C with
    value l is a score of its own: it forgets the share r = a l of an error an update, a = 2 rate / d, is pushed by a
    variance a^2 l / b, and enters a step with g.v. Summed over the steps t = 1 to T that follow a push,

        Lambda = (d - 1) / 2 eta^2 / 2 sum_v (g.v)^2 a^2 l / b sum_t ((1 - (1 - r)^(T - t)) / r)^2

    whose limit for a T much longer than all 1 / r is Eq. (11) with h = c_out c_in projected onto f. For one update
    a step. Raises ValueError for more.
    """
    c = record.config
    if int(c["fake_score.updates"]) != 1:
        raise ValueError("one update of the fake score for each of the student, please")
    features, bounds = int(c["network.time_features"]), (*c["student.levels"], *c["fake_score.levels"])
    values, entering = _modes(features, bounds, float(c["noise.sigma_max"]))
    d, b, T = int(c["law.dim"]), int(c["student.batch"]), steps(record)
    eta = float(c["student.learning_rate"]) * paces(features, 0.0)[0]
    a, left = 2 * float(c["fake_score.learning_rate"]) / d, T - np.arange(1, T + 1)
    total = 0.0
    for value, g in zip(values, entering, strict=True):
        if (r := a * value) > 1e-12:
            total += g**2 * a**2 * value / b * float(((-np.expm1(left * np.log1p(-r)) / r) ** 2).sum())
    return (d - 1) / 4 * eta**2 * total


@cache
def _modes(features: int, bounds: tuple[float, float, float, float], sigma_max: float) -> tuple[np.ndarray, np.ndarray]:
    """The values of C, and g on its axes; bounds: of the student's levels, then of the score's."""
    own, its = (level_quadrature(part, sigma_max, 4000) for part in (bounds[:2], bounds[2:]))
    f = level_features(its, features)
    values, axes = np.linalg.eigh((f.T @ f / len(f)).numpy())
    return values, ((own / (1 + own**2)).unsqueeze(1) * level_features(own, features)).mean(0).numpy() @ axes


def level_features(levels: Tensor, features: int) -> Tensor:
    """f of the linear network at these levels, (m, 1 + features)."""
    own = Fourier(features)(levels.log().float().reshape(1, -1, 1) / 4)[0].double()
    return torch.cat([torch.ones(len(own), 1).double(), own], dim=1)


def times_lost(a: Cell, b: Cell) -> Interval:
    """Lambda of one cell over that of another, paired over seeds: exp of an interval of the logarithm, by the delta
    method; unknown where one has no Lambda above 0."""
    of = [{int(r.config["seed"]): float(r.row["pair_cosine"]) for r in cell.records if r.done} for cell in (a, b)]
    both = sorted(set(of[0]) & set(of[1]))
    middle, influences = 0.0, np.zeros(len(both))
    for values, sign in zip(of, (1, -1), strict=True):
        cosines = np.array([values[seed] for seed in both])
        if not len(both) or not 0 < cosines.mean() < 1:
            return mean_interval([math.nan])
        lost = -math.log(cosines.mean())
        middle += sign * math.log(lost)
        influences -= sign * (cosines / cosines.mean() - 1) / lost
    found = mean_interval((middle + influences).tolist())
    return Interval(*(math.exp(v) for v in (found.mean, found.low, found.high)), found.n)


@dataclass(frozen=True)
class RateContrast:
    """Two cells that differ in the fake score's rate alone, `slow` and `fast`, and how many times as much is lost."""

    slow: Cell
    fast: Cell
    times: Interval

    @property
    def shares(self) -> tuple[Share, Share] | None:
        """Of slow and fast, or None where no formula says them."""
        found = [batch_share(cell.records[0]) for cell in (self.slow, self.fast)]
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    @property
    def said(self) -> float:
        """`times` by Eqs. (10) to (12), at the law; NaN where they say nothing."""
        if self.shares is None:
            return math.nan
        slow, fast = (1 + share.batch + share.larger for share in self.shares)
        return fast / slow

    @property
    def shared(self) -> float:
        """`times` by `shared_walk`; NaN where that says nothing, also for a student that starts off the law."""
        if self.shares is None or self.slow.init != "regressed":
            return math.nan
        return shared_walk(self.fast.records[0]) / shared_walk(self.slow.records[0])


def rate_contrasts(found: Sequence[Cell]) -> list[RateContrast]:
    """Each cell beside the one of three times its fake score's rate, all else equal, in the order of the cells."""
    name = "fake_score.learning_rate"
    if not found or name not in found[0].keys:
        return []
    keys = [key for key in found[0].keys if key != name]
    pairs = [
        (slow, fast)
        for slow in found
        for fast in found
        if all(slow.value(key) == fast.value(key) for key in keys)
        and math.isclose(float(str(fast.value(name))), 3 * float(str(slow.value(name))))
    ]
    return [RateContrast(slow, fast, times_lost(fast, slow)) for slow, fast in pairs]


def ratio_to_shared(cell: Cell) -> float:
    """Measured Lambda over `shared_walk`."""
    return share_lost(cell).mean / shared_walk(cell.records[0])
