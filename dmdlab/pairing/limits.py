"""What an array's own numbers cannot resolve: constant and collapsed clouds, lost digits, rows that are far out."""

from collections.abc import Iterable

import numpy as np

from dmdlab.pairing.glossary import COLLAPSED_VARIANCE_RATIO, METRICS, unasked
from dmdlab.pairing.moments import RowMoments, steps_of_spread
from dmdlab.transport.exact import rounding
from dmdlab.transport.frame import Cloud

# A cloud that spreads over fewer steps of its number type differs by rounding only; below the second, it is worth a
# note: at 1000 steps rounding adds a ten-millionth of the variance.
_LOST_STEPS, _FEW_STEPS = 4.0, 1000.0
# Rounding above this share of a typical squared distance leaves no assignment and no rank to be trusted.
_DROWNED = 1e-3
# Means so many times farther apart than either array spreads leave little else in a distance.
_FAR_APART = 30.0
_MEDIAN_ROWS = 256
# Up to this ratio of mean to median squared distance no row can be so far out.
_EVEN = 1.5

_COSTS = ("e_dt", "e_ot", "e_independent")
_OF_THE_PAIRING = ("delta_e", "copy_index", "identity_fraction", "remap_angle")
_OF_NEIGHBOURS = ("pair_auc", "recall_at_1", "recall_at_10")
_OF_THE_LAW = ("fidelity", "debiased_cost")


def unresolved(moments: RowMoments) -> dict[str, str]:
    """key -> reason, for the measures that these pairs leave without meaning."""
    frame = moments.frame
    if reason := _constant("teacher", frame.P):
        left = set(_COSTS) | set(unasked())  # those of other arrays say by themselves what they lack
        return dict.fromkeys(set(METRICS) - left, f"{reason}, so there is no pairing to copy")
    if reason := _far_out(moments):
        return dict.fromkeys(("e_ot", "delta_e_ceiling", *_OF_THE_PAIRING, *_OF_NEIGHBOURS, *_OF_THE_LAW), reason)
    found = {}
    ratio = float(moments.total().variance_ratio)
    if ratio < COLLAPSED_VARIANCE_RATIO:
        collapsed = (
            f"the student is collapsed (variance ratio {ratio:.2g}, below {COLLAPSED_VARIANCE_RATIO}), "
            "so every pairing costs nearly the same"
        )
        found = dict.fromkeys(_OF_THE_PAIRING, collapsed)
    if reason := _constant("student", frame.G):
        found["pair_cosine"] = f"{reason}, so the cosine is 0 / 0"
        if frame.G.sum_of_squares > 0:  # what differs is rounding, and its ranks are, too
            found |= dict.fromkeys((*_OF_THE_PAIRING, *_OF_NEIGHBOURS), reason)
    return found


def notes_on_size(moments: RowMoments) -> list[str]:
    """Sentences on arrays that lost digits before they came here, and on means that are far from each other."""
    notes = []
    spread, apart = max(_spread(moments.frame.P), _spread(moments.frame.G)), float(np.sqrt(moments.shift))
    if apart > _FAR_APART * spread > 0:
        notes.append(
            f"the means of teacher and student are {apart:.3g} apart, and their outputs spread by {spread:.3g}: "
            "delta_e, pair_auc, the recalls, r2 and fidelity compare distances that are nearly all this shift; "
            "copy_index, pair_cosine, identity_fraction, variance_ratio and remap_angle do not see it."
        )
    for name, cloud in (("teacher", moments.frame.P), ("student", moments.frame.G)):
        steps = steps_of_spread(cloud)
        if _LOST_STEPS <= steps < _FEW_STEPS:
            notes.append(
                f"{name}: numbers of size {_size(cloud):.2g} in {cloud.points.dtype} spread over only {steps:.0f} of "
                "its steps, so digits were lost before they came here: subtract a constant before storing them, or "
                "store float64."
            )
    return notes


def _constant(name: str, cloud: Cloud) -> str:
    """Why all rows of an array are the same, or not told apart; empty where they differ."""
    if cloud.sum_of_squares == 0:
        return f"the {name}'s outputs are all the same"
    if steps_of_spread(cloud) >= _LOST_STEPS:
        return ""
    return (
        f"the {name}'s outputs differ by no more than {cloud.points.dtype} can tell at their size "
        f"(spread {_spread(cloud):.2g} at {_size(cloud):.2g})"
    )


def _far_out(moments: RowMoments) -> str:
    """Why a few rows drown all others in rounding; empty where they do not."""
    error = rounding(moments.frame)
    for name, cloud in (("teacher", moments.frame.P), ("student", moments.frame.G)):
        if cloud.mean_square <= _EVEN * float(np.median(cloud.squares)):
            continue
        from_median = _from_median(cloud)
        moving = from_median[from_median > 0]
        typical = float(np.median(moving)) if len(moving) else 0.0
        if cloud.mean_square > 0 and error > _DROWNED * typical:
            far = np.flatnonzero(from_median > cloud.mean_square)
            rows = f"row {far[0]} holds" if len(far) == 1 else f"{len(far)} rows (the first is {far[0]}) hold"
            return (
                f"{rows} nearly all of the {name}'s spread ({_spread(cloud):.2g}), and beside it the others "
                f"({np.sqrt(typical) * cloud.unit:.2g}) are rounding: remove such rows from every array"
            )
    return ""


def _from_median(cloud: Cloud) -> np.ndarray:
    """Squared distances of all rows, (n,), from the coordinate-wise median of some, which no far row moves."""
    median = np.median(cloud.rows(slice(None, None, 1 + len(cloud.points) // _MEDIAN_ROWS)), axis=0)
    parts: Iterable[np.ndarray] = (cloud.rows(rows) - median for rows in cloud.parts())
    return np.concatenate([np.einsum("id,id->i", x, x) for x in parts])


def _spread(cloud: Cloud) -> float:
    """Root mean square distance from the mean, in the caller's units."""
    return float(np.sqrt(cloud.mean_square)) * cloud.unit


def _size(cloud: Cloud) -> float:
    """The largest absolute value."""
    return float(max(np.abs(cloud.points[rows]).max() for rows in cloud.parts()))
