"""The measures of a pairing: arrays in, a report out.

Each number either means something for this sample or is reported as unresolved with the reason. The criterion for a
*collapsed* student is a variance ratio below `COLLAPSED_VARIANCE_RATIO` (see the glossary for why); then delta_e,
copy_index, identity_fraction and remap_angle, which would read "perfect copy" whatever the pairing, are unresolved,
while pair_cosine, pair_auc, the recalls, r2 and the measures of the law still say what they say.
"""

import math
from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.baselines import pair_cosine_of
from dmdlab.pairing.calibration import Calibration, remap_angle
from dmdlab.pairing.certificate import fidelity, gaps, transport_measures
from dmdlab.pairing.glossary import METRICS, unasked
from dmdlab.pairing.in_place import note_on_ties
from dmdlab.pairing.independence import dependent, nearly_dependent, notes_on, why_dependent, why_nearly_dependent
from dmdlab.pairing.law import debiased_cost, law_agrees, total_variance
from dmdlab.pairing.limits import notes_on_size, unresolved
from dmdlab.pairing.local import local_from_differences
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.moments import RowMoments, RowSums
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.ranks import Ranks
from dmdlab.pairing.report import PairingReport
from dmdlab.pairing.statistics import jackknife_interval, wilson_interval
from dmdlab.transport import DENSE_LIMIT, Engine, Frame, Transport, check_sizes, solved, transport_cost


def measure(
    teacher: Any,
    student: Any,
    *,
    noise: Any = None,
    one_step: Any = None,
    reference: Any = None,
    data: Any = None,
    other_teacher: Any = None,
    teacher_differences: Any = None,
    student_differences: Any = None,
    calibration: Calibration | None = None,
) -> PairingReport:
    """Every measure of the glossary for outputs of teacher and student at the same noise.

    Args:
        teacher, student: (n, ...) arrays, row i of both from the same z_i; numpy or torch, any trailing shape.
        noise, one_step, data: validated and kept for the per-sample analyses; no measure here uses them.
        reference: (m, ...) teacher outputs at *fresh* noise, for fidelity; best with m = n.
        other_teacher: (n, ...) another teacher's outputs at the same noise, for pair_cosine_teachers.
        teacher_differences, student_differences: (l, ...) how both maps answer small changes of the noise, for
            local_cosine and local_gain (see `local_from_differences`).
        calibration: of the same teacher at this dimension, for remap_angle (see `calibrate`).

    Returns:
        A PairingReport whose `metrics` hold one Measured per key of `METRICS`, in that order. The intervals of the
        smooth measures are 95 % jackknife intervals over rows, those of the recalls Wilson intervals. Those that need
        more than arrays are unresolved, until `PairingReport.with_measures` adds what their own functions give.

    Raises:
        InputError: arrays that are no pairs (see `Pairs.of`), a calibration of another dimension.
        TransportError: an assignment solver failed.
    """
    pairs = Pairs.of(
        teacher,
        student,
        noise=noise,
        one_step=one_step,
        reference=reference,
        data=data,
        other_teacher=other_teacher,
        teacher_differences=teacher_differences,
        student_differences=student_differences,
    )
    return measure_pairs(pairs, calibration=calibration)


def measure_pairs(
    pairs: Pairs,
    *,
    calibration: Calibration | None = None,
    floor: Transport | None = None,
    engine: Engine | None = None,
    planted: bool = False,
) -> PairingReport:
    """`measure` for arrays that are already validated.

    Args:
        pairs: the arrays.
        calibration: for remap_angle, made at the same dimension.
        floor: e_ot(Q, P) where the caller has solved it already.
        engine: of the transport solver for n above `DENSE_LIMIT`; numpy when None.
        planted: for a student that is the teacher by construction: rows are not compared, the law not judged anew
            (debiased_cost is unresolved), which would double the price of a calibration.

    Raises:
        InputError: a calibration of another dimension, a reference of another size that is too large (`check_sizes`).
        TransportError: an assignment solver failed.
    """
    if calibration is not None and calibration.d != pairs.d:
        raise InputError(f"the calibration is for d = {calibration.d}, the arrays have d = {pairs.d}.")
    if pairs.reference is not None:
        check_sizes(len(pairs.reference), pairs.n)  # before anything is solved
    P, G = pairs.teacher, pairs.student
    frame = Frame.of(P, G)
    moments = RowMoments.within(frame)
    ranks = Ranks.within(frame, keep_cost=pairs.n <= DENSE_LIMIT)
    transport = {"e_ot": solved(frame, ranks.cost, engine=engine)}
    paired = transport_measures(frame, moments.total(), transport["e_ot"], ranks.cost)
    ranks = ranks.without_cost()  # before the next matrix of this size
    if pairs.reference is not None:
        transport["e_ot_reference_student"] = transport_cost(pairs.reference, G, engine=engine)
        transport["e_ot_reference_teacher"] = floor or transport_cost(pairs.reference, P, engine=engine)
    measured = _smooth(moments) | _recognition(ranks) | paired
    overlaps, near = ({}, {}) if planted else (dependent(pairs), nearly_dependent(pairs))
    shared = why_dependent(overlaps, "reference") or why_nearly_dependent(near)
    measured |= _of_the_law(pairs, transport, shared, planted) | unasked() | _of_more_arrays(pairs)
    if calibration is not None:
        measured["remap_angle"] = remap_angle(calibration, measured["pair_cosine"])
    for key, reason in unresolved(moments).items():
        measured[key] = Measured.unresolved(reason)
    sizes = () if pairs.reference is None else (pairs.n, len(pairs.reference))
    ties = note_on_ties(transport["e_ot"], measured["identity_fraction"])
    notes = (*notes_on_size(moments), *gaps(transport), *ties)
    return PairingReport(
        metrics={key: measured[key] for key in METRICS},
        transport=transport,
        notes=(*pairs.notes, *notes, *([] if planted else notes_on(pairs, overlaps, near))),
        n=pairs.n,
        d=pairs.d,
        chance_sd=_chance_sd(moments.total(), ranks.inner_square),
        directions=_directions(moments, ranks.inner_square) if measured["pair_cosine"].resolved else None,
        law=law_agrees({key: m.value for key, m in measured.items()}, calibration, sizes),
    )


def _chance_sd(total: RowSums, inner_square: float) -> float:
    """Standard deviation of pair_cosine over random pairings of the same points; NaN for a constant array."""
    scale = float(total.teacher * total.student)
    return float(np.sqrt(inner_square / (total.n - 1) / scale)) if scale > 0 else float("nan")


def _directions(moments: RowMoments, inner_square: float) -> int:
    """Directions of equal variance that outputs spread over, 1 to d: tr S_P tr S_G / tr(S_P S_G), S the covariances.

    Where both laws are alike this is the participation ratio of their spectrum, (tr S)^2 / tr S^2. The last trace is a
    mean of <p_j, g_i>^2 over different rows: those of one noise are larger in a copy, by d / n in all.
    """
    total, d = moments.total(), moments.frame.P.points.shape[1]
    others = inner_square - float(moments.cross @ moments.cross)
    if others <= 0:
        return d
    return max(1, round(min(d, (1 - 1 / total.n) * float(total.teacher * total.student) / others)))


def _smooth(moments: RowMoments) -> dict[str, Measured]:
    """The measures that need no distance between different rows, with jackknife intervals."""
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant array: replaced by `unresolved`
        whole, without = moments.total(), moments.leave_one_out()
        measured = {}
        for key in ("e_dt", "e_independent", "pair_cosine", "r2", "variance_ratio"):
            value = float(getattr(whole, key))
            measured[key] = Measured(value, *jackknife_interval(value, getattr(without, key), METRICS[key].bounds))
    return measured


def _recognition(ranks: Ranks) -> dict[str, Measured]:
    """pair_auc and the recalls."""
    n = len(ranks.nearer)
    auc, without = ranks.auc()
    measured = {"pair_auc": Measured(auc, *jackknife_interval(auc, without, METRICS["pair_auc"].bounds))}
    for k in (1, 10):
        recall = ranks.recall(k)
        measured[f"recall_at_{k}"] = Measured(recall, *wilson_interval(recall, n))
    return measured


def _of_the_law(pairs: Pairs, transport: dict[str, Transport], shared: str, planted: bool) -> dict[str, Measured]:
    """The measures of the law that need a reference; `shared`: why it is not independent, where it is not."""
    if pairs.reference is None:
        shared = "it needs teacher outputs at fresh noise (reference)"
    if shared:
        return dict.fromkeys(("fidelity", "debiased_cost"), Measured.unresolved(shared))
    solved_twice = (transport["e_ot_reference_student"], transport["e_ot_reference_teacher"])
    return {"fidelity": fidelity(*solved_twice), "debiased_cost": _debiased(pairs, planted)}


def _of_more_arrays(pairs: Pairs) -> dict[str, Measured]:
    """The measures of arrays that most pairs come without."""
    found: dict[str, Measured] = {}
    if pairs.teacher_differences is not None:
        found |= local_from_differences(pairs.teacher_differences, pairs.student_differences)
    if pairs.other_teacher is not None:
        found["pair_cosine_teachers"] = pair_cosine_of(pairs.teacher, pairs.other_teacher, "other_teacher")
    return found


def _debiased(pairs: Pairs, planted: bool) -> Measured:
    """`debiased_cost` of the reference and the student over the teacher's spread."""
    assert pairs.reference is not None
    if planted:
        return Measured.unresolved("it is not measured for planted remaps, whose law is the teacher's")
    cost, size = debiased_cost(pairs.reference, pairs.student), total_variance(pairs.teacher)
    if math.isnan(cost) or size == 0:
        return Measured.unresolved("it needs 4 rows of the student and of the reference, to halve them")
    return Measured(cost / size)
