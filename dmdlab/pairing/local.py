"""How alike two maps are nearby: their answers to the same small change of the noise.

`pair_cosine` and its kin compare *where* two maps send a noise vector. This compares how they answer when it moves a
little, by J v with J the Jacobian at z and v a random direction:

    local_cosine = mean over z and v of <J_G v, J_P v> / (|J_G v| |J_P v|)
    local_gain   = exp(mean over z and v of log(|J_G v| / |J_P v|))

Neither depends on a sample size, and no best pairing that could saturate is involved. They tell a student that turned
the noise (gain 1, cosine lost) from one that no longer listens to it (gain below 1), as distilled students are said to
(Huang et al., arXiv 2606.01651).

The gain is a geometric mean. A map is steep between modes, by orders of magnitude, and a ratio of root mean squares
would be that of the few steepest points, and vary from sample to sample by whole factors. Here every point counts
alike, and exchanging the maps inverts the gain exactly. The cosine is a mean over points for the same reason.

Closed forms, held by tests: 1 for a copy; 0 on average over independent maps (with a standard deviation of about 1 / d
over random turns of an isotropic Gaussian's map); for that map after `planted_rotation` by theta cos(theta) at even d,
cos(theta) + (1 - cos(theta)) / d at odd d, where one axis rests, and a gain of 1.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.bases import random_basis, turned
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.statistics import jackknife_interval

NumpyMap = Callable[[np.ndarray], np.ndarray]
Answers = Callable[..., np.ndarray]
"""From noise z and directions v, (n, d) both, and class labels (n,) where there are some, to a map's answers J v, (n,
D), up to one factor for all."""

STEP = 0.01
"""Length of the change of the noise, in standard deviations of one of its coordinates (ours; its ends are 0.02 apart).
The two ends' outputs differ by far more than float32 rounds off, and by far less than a mode is wide."""

SILENT_SHARE = 0.01
"""Beyond this share of points at which a map does not answer at all, the measures are unresolved (ours)."""


def local_measures(cosine: np.ndarray, gain: np.ndarray) -> dict[str, Measured]:
    """`local_cosine` and `local_gain` from what was found at each point.

    Args:
        cosine: (n,) or (n, p), cosines of J_G v with J_P v at n points, along p directions each; NaN where either is 0.
        gain: of the same shape, |J_G v| / |J_P v|: 0 where the student does not answer, infinite or NaN where the
            teacher does not.

    Returns:
        Both with a 95 % jackknife interval over points (directions at one point are not independent). A point where a
        map does not answer along a direction is left out, up to a share `SILENT_SHARE` of them; beyond, both are
        unresolved. A student that answers nowhere has gain 0, and no cosine.

    Raises:
        InputError: unequal shapes, or no points.
    """
    if cosine.shape != gain.shape or cosine.ndim not in (1, 2) or cosine.size == 0:
        raise InputError(f"local measures need cosines and gains (n, p) alike, got {cosine.shape} and {gain.shape}.")
    with np.errstate(invalid="ignore"):  # a point where one direction is lost, and another on the other side
        cosine, gain = (np.asarray(x, np.float64).reshape(len(x), -1).mean(axis=1) for x in (cosine, _logarithm(gain)))
    answered = np.isfinite(cosine) & np.isfinite(gain)  # (n,)
    silent = 1.0 - answered.mean()
    if silent > SILENT_SHARE:
        reason = f"at {100 * silent:.3g} % of the points a map does not answer a small change of the noise at all"
        dead = bool((gain == -math.inf).all())
        return {
            "local_cosine": Measured.unresolved(reason),
            "local_gain": Measured(0.0) if dead else Measured.unresolved(reason),
        }
    return {
        "local_cosine": _averaged("local_cosine", cosine[answered], lambda mean: np.clip(mean, -1.0, 1.0)),
        "local_gain": _averaged("local_gain", gain[answered], np.exp),
    }


def local_from_differences(teacher: Any, student: Any) -> dict[str, Measured]:
    """The same from the differences themselves.

    Args:
        teacher, student: (m, ...) each, row i of both being map(z_i + h v_i) - map(z_i - h v_i), or a one-sided
            difference, at the same z_i, h and v_i; every row at a z of its own. The length of h v drops out.

    Raises:
        InputError: arrays of unequal shape or without rows.
    """
    p, g = (np.asarray(x, np.float64) for x in (teacher, student))
    if p.shape != g.shape or p.ndim < 2 or p.size == 0:
        raise InputError(f"differences of both maps must have one shape (m, ...), got {p.shape} and {g.shape}.")
    return local_measures(*cosine_and_gain(p.reshape(len(p), -1), g.reshape(len(g), -1)))


def cosine_and_gain(teacher: np.ndarray, student: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and gain of each row, (m,) twice, of answers J_P v and J_G v (m, d); see `local_measures`."""
    # Each row in units of its largest entry: the squares of differences can vanish.
    sizes = [np.abs(x).max(axis=1) for x in (teacher, student)]
    p, g = (x / np.where(size > 0, size, 1.0)[:, None] for x, size in zip((teacher, student), sizes, strict=True))
    lengths = [np.sqrt(np.einsum("id,id->i", x, x)) for x in (p, g)]
    with np.errstate(invalid="ignore", divide="ignore"):  # a map that does not answer
        cosine = np.einsum("id,id->i", p, g) / (lengths[0] * lengths[1])
        return cosine, lengths[1] * sizes[1] / (lengths[0] * sizes[0])


def differences(map_: NumpyMap, noise: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """map(z + h v) - map(z - h v) of each row, (n, D) in float64; h is `STEP` standard deviations of a coordinate.

    Args:
        map_: from (n, d) noise to (n, ...) outputs, each row by itself.
        noise, directions: (n, d) z and unit vectors v.
    """
    h = STEP * float(np.sqrt(np.mean(np.square(noise, dtype=np.float64))))
    moved = (h * directions).astype(noise.dtype)
    ahead, behind = (np.asarray(map_(z), np.float64).reshape(len(z), -1) for z in (noise + moved, noise - moved))
    return ahead - behind


def random_directions(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """(n, d) independent unit vectors, uniform on the sphere."""
    v = rng.standard_normal((n, d))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def planted_local(
    answers: Answers,
    noise: np.ndarray,
    fresh_noise: np.ndarray,
    *,
    rng: np.random.Generator,
    angles_degrees: Sequence[float],
    bases: int,
    labels: Sequence[np.ndarray] = (),
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What both measures read for the teacher after planted turns of its noise, and for the teacher at other noise.

    The teacher at turned noise, G(z) = P(R z), answers J_P(R z) R v. The points are shared out among the bases, so the
    mean over bases is one over all points: nothing here depends on n, and 128 points are enough.

    Args:
        answers: of the teacher; asked once, for n (1 + angles above 0) rows and n for the null.
        noise, fresh_noise: (n, d) points, and as many independent ones.
        rng: for the directions, one for each point, and for the bases.
        labels: the classes of both noises, (n,) each, where the teacher is told them; a turned point keeps its own.

    Returns:
        key -> (angles, bases), and for the null key -> (bases,), where the teacher answers at `fresh_noise`.
    """
    n, d = noise.shape
    v, drawn = random_directions(n, d, rng), [random_basis(d, rng) for _ in range(bases)]
    own = [np.arange(b, n, bases) if n >= bases else np.arange(n) for b in range(bases)]
    planted = [(angle, b) for angle in angles_degrees if angle != 0 for b in range(bases)]
    asked = [(noise, v), (fresh_noise, v)]
    asked += [(turned(noise[own[b]], drawn[b], a), turned(v[own[b]], drawn[b], a)) for a, b in planted]
    at = np.cumsum([len(z) for z, _ in asked])[:-1]
    z, directions = (np.concatenate(arrays) for arrays in zip(*asked, strict=True))
    told = [np.concatenate([*labels, *(labels[0][own[b]] for _, b in planted)])] if labels else []
    plain, elsewhere, *others = np.split(answers(z, directions, *told), at)  # (n, D) twice, (about n / bases, D)
    turns = dict(zip(planted, others, strict=True))
    table = [_by_basis(plain, [turns.get((a, b), plain[own[b]]) for b in range(bases)], own) for a in angles_degrees]
    keys, null = ("local_cosine", "local_gain"), _by_basis(plain, [elsewhere[rows] for rows in own], own)
    found = np.array(table)  # (angles, bases, 2)
    return {k: found[..., i] for i, k in enumerate(keys)}, {k: null[:, i] for i, k in enumerate(keys)}


def _by_basis(plain: np.ndarray, others: Sequence[np.ndarray], own: Sequence[np.ndarray]) -> np.ndarray:
    """Both measures, (bases, 2), of others[b] against the rows own[b] of `plain`; judged resolved or not as a whole."""
    found = [cosine_and_gain(plain[rows], other) for other, rows in zip(others, own, strict=True)]
    whole = local_measures(*(np.concatenate(part) for part in zip(*found, strict=True)))
    if not all(measured.resolved for measured in whole.values()):
        return np.full((len(own), 2), np.nan)
    answered = [(c[keep], g[keep]) for c, g in found for keep in [np.isfinite(c) & (g > 0) & np.isfinite(g)]]
    return np.array([[m.value for m in local_measures(c, g).values()] if len(c) else [np.nan] * 2 for c, g in answered])


def _logarithm(gain: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.asarray(gain, np.float64))


def _averaged(key: str, values: np.ndarray, of_mean: Callable[[Any], Any]) -> Measured:
    """`of_mean` of the mean of values (n,), with its jackknife interval."""
    n, value = len(values), float(of_mean(values.mean()))
    without = of_mean((values.sum() - values) / (n - 1)) if n > 1 else np.empty(0)
    return Measured(value, *jackknife_interval(value, without, METRICS[key].bounds))
