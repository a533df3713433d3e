"""From a curve to the few numbers that a diagnosis is made of."""

import numpy as np

from dmdlab.diagnosis.columns import Curve

LATE = 0.5
"""Where the end of a training begins, as a share of its iterations (ours)."""

LAST = ("score_excess", "variance_ratio", "fidelity", "coverage", "lost")
ONCE = ("teacher_excess_risk", "teacher_transport_ratio", "fidelity_limit", "transport_limit")
NEEDS = {
    "student_step": ("student_step",),
    "updates_ratio": ("student_updates",),
    "gan_share": ("gan_gradient_norm", "dmd_gradient_norm"),
}
"""Numbers that are not just the end of a column of the same name, and the columns that they need."""


def evidence(curve: Curve) -> dict[str, float]:
    """The numbers that the curve's columns allow, by name.

    Medians over the late half of the training, but for student_step, the largest of all, and those of the teacher and
    of the calibration, which have one value. gan_share: the GAN's gradient over matching's. updates_ratio: iterations
    for each of the student's.
    """
    iteration, found = curve.columns["iteration"], dict[str, float]()
    late = iteration >= LATE * iteration[-1]
    for name in LAST:
        if curve.has(name) and (values := _finite(curve.columns[name][late])).size:
            found[name] = float(np.median(values))
    for name in ONCE:
        if curve.has(name):
            found[name] = float(_finite(curve.columns[name])[-1])
    if curve.has("student_step"):
        found["student_step"] = float(_finite(curve.columns["student_step"]).max())
    if curve.has("student_updates") and (last := curve.columns["student_updates"][-1]) > 0:
        found["updates_ratio"] = float(iteration[-1] / last)
    if curve.has(*NEEDS["gan_share"]):
        gan, dmd = (curve.columns[name][late] for name in NEEDS["gan_share"])
        shares = _finite(np.divide(gan, dmd, out=np.full(len(gan), np.nan), where=dmd > 0))
        found |= {"gan_share": float(np.median(shares))} if shares.size else {}
    return found


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
