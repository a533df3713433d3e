"""How much of a few-step student's pairing is its first step's, and how much its later noises decide.

A student of several steps maps the noise z and later noises w to data. With w held fixed it is a map of z, which every
measure of a run is about. Beside it stand its first step alone, a map of z without any w, and draws of w:

    redraw_agreement = pair_cosine of G(z, w) and G(z, w')       1 where w decides nothing, 0 where z decides nothing

With centred outputs it is E|E[G | z]|^2 / E|G|^2, the share of the outputs' variance that z explains (the law of total
variance). By the inequality of Cauchy and Schwarz no map P of z alone, the teacher's among them, has a larger
pair_cosine with G than its root: <P, G> = <P, E[G | z]> in expectation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from dmdlab.pairing.baselines import pair_cosine_of
from dmdlab.pairing.calibration import Calibration, remap_angle
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.limits import unresolved
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.moments import RowMoments
from dmdlab.pairing.statistics import jackknife_interval


@dataclass(frozen=True, eq=False)
class StepOutputs:
    """Attributes:
    first: (n, d) x after the first step.
    redrawn: (n, d) G(z, w) for each of several draws of w; none of a student that takes no later noises.
    """

    first: np.ndarray
    redrawn: Sequence[np.ndarray]

    def measured(self, teacher: np.ndarray, calibration: Calibration | None) -> dict[str, Measured]:
        """`first_pair_cosine` and `redrawn_pair_cosine` with the teacher's outputs (n, d), the latter a mean over the
        draws of w; each one's calibrated angle in degrees; and `redraw_agreement`, a mean over their pairs."""
        first = pair_cosine_of(teacher, self.first)
        if len(self.redrawn) > 1:
            redrawn = _mean_cosine([(teacher, own) for own in self.redrawn])
            agreement = _mean_cosine(list(combinations(self.redrawn, 2)))
        else:
            redrawn = agreement = Measured.unresolved("this student takes no later noises (student.sampler = 'ode')")
        return {
            "first_pair_cosine": first,
            "first_angle": _angle(first, calibration),
            "redrawn_pair_cosine": redrawn,
            "redrawn_angle": _angle(redrawn, calibration),
            "redraw_agreement": agreement,
        }


def _mean_cosine(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Measured:
    """The mean pair_cosine over pairs of arrays with rows in common, with its jackknife interval over rows."""
    moments = [RowMoments.of(a, b) for a, b in pairs]
    if reason := next((why for own in moments if (why := unresolved(own).get("pair_cosine"))), None):
        return Measured.unresolved(reason)
    value = float(np.mean([float(own.total().pair_cosine) for own in moments]))
    without = np.mean([own.leave_one_out().pair_cosine for own in moments], axis=0)
    return Measured(value, *jackknife_interval(value, without, METRICS["pair_cosine"].bounds))


def _angle(cosine: Measured, calibration: Calibration | None) -> Measured:
    if calibration is None:
        return Measured.unresolved("there is no calibration of the teacher")
    return remap_angle(calibration, cosine)
