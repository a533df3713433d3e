"""The measures that rest on a solved assignment, with what its certificate says of each.

A transport cost known within [lower, upper] leaves more than itself open: delta_e, copy_index and fidelity move with
it, and the share of rows that an optimal pairing keeps can be wide open although the cost is known to a part in a
thousand (`dmdlab.transport.certified`). Each measure therefore carries the bounds that the certificate implies.
"""

import math

import numpy as np

from dmdlab.pairing.in_place import in_place
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.moments import RowSums
from dmdlab.transport import Frame, Transport

# A saving of the best pairing over a random one below this share of the spread is rounding.
_NO_SAVING = 1e-12
WORTH_A_NOTE = 1e-6
"""Relative width of an interval of costs up to which no bounds are told: rounding, and what a solver left open. It
moves e_ot by a millionth of itself, delta_e by about a millionth, copy_index by more where a pairing saves little."""


def transport_measures(frame: Frame, total: RowSums, best: Transport, cost: np.ndarray | None) -> dict[str, Measured]:
    """e_ot, delta_e with its ceiling, copy_index and identity_fraction.

    Differences of costs are taken about the means: a shift of one cloud is in all of them alike.

    Args:
        frame: of teacher and student.
        total: of the pairs.
        best: their optimal pairing.
        cost: the matrix that it was solved from, None where there was none.
    """
    inside = np.array([best.best_within, best.within])  # (lower, upper)
    wasted = np.maximum(float(total.within) - inside, 0.0)  # e_dt - e_ot
    gain = float(total.gain)  # e_independent - e_dt
    costs = np.array([best.lower, best.upper])
    return {
        "e_ot": _between(best, costs),
        "delta_e": _excess(best, wasted, costs),
        "delta_e_ceiling": _excess(best, np.maximum(wasted + gain, 0.0), costs),
        "copy_index": _copy_index(best, gain, gain + wasted, float(total.within) + gain, float(total.shift)),
        "identity_fraction": in_place(frame, best, cost),
        "remap_angle": Measured.unresolved("it needs a calibration of the teacher under planted rotations"),
    }


def fidelity(student: Transport, teacher: Transport) -> Measured:
    """e_ot(Q, G) / e_ot(Q, P) from the two solved problems."""
    if teacher.cost == 0:
        return Measured.unresolved("the reference repeats the teacher's outputs; it must come from fresh noise")
    value = student.cost / teacher.cost
    if not (_open(student) or _open(teacher)):
        return Measured(value)
    largest = student.upper / teacher.lower if teacher.lower > 0 else math.inf
    return Measured(value, certain=(student.lower / teacher.upper, largest))


def gaps(transport: dict[str, Transport]) -> list[str]:
    """Notes on transport costs that are known within an interval only."""
    notes = [
        f"{name}: the transport cost lies between {_ends(t.lower, t.upper)}; the upper end is used."
        for name, t in transport.items()
        if _open(t)
    ]
    kept = transport["e_ot"].kept
    if kept is not None and kept[0] < kept[1]:
        notes.append(
            f"identity_fraction is that of the pairing found; an optimal one keeps between {100 * kept[0]:.3g} % and "
            f"{100 * kept[1]:.3g} % of the rows in place."
        )
    return notes


def _ends(low: float, high: float) -> str:
    """'40005.61 and 40005.65': both ends, six digits at least, with two of what lies between."""
    digits = 17 if low == high else 2 + math.floor(math.log10(high)) - math.floor(math.log10(high - low))
    digits = min(max(6, digits), 17)
    return f"{low:.{digits}g} and {high:.{digits}g}"


def _open(transport: Transport) -> bool:
    """Whether the interval is wide enough to be told."""
    return transport.gap > WORTH_A_NOTE


def _between(best: Transport, ends: np.ndarray) -> Measured:
    """The value at the upper end of the cost, the second of `ends`, with both where the interval is open."""
    low, high = float(ends.min()), float(ends.max())
    return Measured(float(ends[1]), certain=(low, high) if _open(best) else None)


def _excess(best: Transport, above: np.ndarray, costs: np.ndarray) -> Measured:
    """What a pairing costs above the best one as a share of that, 0 if both are 0; at both ends of the interval."""
    if costs[1] > 0:
        return _between(best, np.divide(above, costs, out=np.full(2, math.inf), where=costs > 0))
    if above[1] == 0:
        return Measured(0.0)
    return Measured.unresolved("it is infinite: the student's outputs are the teacher's own points, so e_ot is 0")


def _copy_index(best: Transport, gain: float, savings: np.ndarray, random: float, shift: float) -> Measured:
    """`gain` as a share of what the best pairing saves, at both ends of the interval; `shift`, the squared distance of
    the means, is what rounding follows where they are far apart."""
    if savings[1] <= _NO_SAVING * random + 8.0 * np.finfo(float).eps * math.sqrt(max(random, 0.0) * shift):
        return Measured.unresolved("no pairing of these points costs less than a random one")
    return _between(best, gain / savings)
