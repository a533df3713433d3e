"""How much of its *own* pairing a student kept: that of the map which it started with, the teacher's or not.

A student that starts behind a turn R of the noise, or at another teacher, never had the pairing of the run's teacher.
Its own is that of another map: Phi_K(R z), or the other teacher's flow. `own_angle` is what `remap_angle` would say if
that map were the teacher: it lost as much of its own pairing as turning the noise by so many degrees loses.

**Whose curve.** The teacher's calibration reads a map that keeps the prior exactly: Phi_K(R R_theta z) against
Phi_K(R z), z as Gaussian as R z, is what was calibrated, but for the distribution of R^T R_theta R, which for random
planes is R_theta's own when R is one rotation, and is taken to be when it depends on the norm of z. For another
teacher of the same law it is an approximation by the same law. A start whose only known map is itself, G_0, is turned
by itself (`planted_curve`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dmdlab.pairing.baselines import pair_cosine_of
from dmdlab.pairing.bases import random_basis, turned
from dmdlab.pairing.calibration import Calibration, remap_angle
from dmdlab.pairing.limits import unresolved
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.moments import RowMoments


@dataclass(frozen=True, eq=False)
class OwnPairing:
    """Attributes:
    outputs: (n, d) of the map that the student had at its start as its own, at the run's noise.
    start: (n, d) of the student itself before training, at that noise.
    curve: what turns before that map read, where the teacher's calibration says nothing of it; else None.
    """

    outputs: np.ndarray
    start: np.ndarray
    curve: Calibration | None = None

    def measured(self, student: np.ndarray, calibration: Calibration | None) -> dict[str, Measured]:
        """pair_cosine of the trained student's outputs (n, d) with the own map's, its calibrated `angle` in degrees,
        and `pair_cosine_start`, the same cosine before training. calibration: the teacher's."""
        if not (np.isfinite(self.outputs).all() and np.isfinite(self.start).all()):
            lost = Measured.unresolved("the outputs of the map that the student started with are not finite")
            return {"pair_cosine": lost, "angle": lost, "pair_cosine_start": lost}
        cosine, curve = pair_cosine_of(self.outputs, student), self.curve or calibration
        if reason := unresolved(RowMoments.of(self.outputs, student)).get("remap_angle"):
            angle = Measured.unresolved(reason)
        elif curve is None or not np.isfinite(curve.planted["pair_cosine"]).all():
            angle = Measured.unresolved("there is no calibration of the map that the student started with")
        else:
            angle = remap_angle(curve, cosine)
        before = pair_cosine_of(self.outputs, self.start)
        return {"pair_cosine": cosine, "angle": angle, "pair_cosine_start": before}


def planted_curve(
    map_: Callable[..., np.ndarray],
    noise: np.ndarray,
    *,
    rng: np.random.Generator,
    angles_degrees: Sequence[float],
    bases: int,
    label: np.ndarray | None = None,
) -> Calibration:
    """pair_cosine of a map with itself after planted turns of the noise (n, d), as a calibration that holds nothing
    else; NaN where the map's outputs are all the same. label: the rows' classes (n,), which the map is told, or None.
    """
    angles, told = np.unique(np.asarray(angles_degrees, float)), () if label is None else (label,)
    n, d = noise.shape
    plain = map_(noise, *told)

    def cosines() -> list[float]:
        basis = random_basis(d, rng)
        with np.errstate(invalid="ignore", divide="ignore"):
            moments = [RowMoments.of(plain, map_(turned(noise, basis, a), *told)) for a in angles]
            return [float(own.total().pair_cosine) for own in moments]

    table = np.array([cosines() for _ in range(bases)]).T  # (a, bases)
    return Calibration(n, d, angles, np.empty(0), {"pair_cosine": table}, {}, {}, {}, np.nan)
