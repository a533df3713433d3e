"""Measures within classes, for runs whose networks are told the class.

A class that is told with the noise is copied without any pairing of the noise: pairs of different classes are far
apart however the noise is paired within each. So the measures over all rows can flatter a conditional student, and its
chance levels, which re-pair rows across classes, are those of a student that ignores the class, too. Within a class
only the noise can pair.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.measured import jsonable
from dmdlab.pairing.metrics import measure
from dmdlab.pairing.words import spoken

LEAST_ROWS = 20
"""A class with fewer pairs, or fewer rows of the reference, is left out (ours)."""

WITHIN = ("delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "fidelity")
"""What is measured within classes."""


@dataclass(frozen=True)
class WithinClasses:
    """The keys of `WITHIN` in each class that has rows enough.

    Attributes:
        rows: class -> pairs that it was measured on.
        values: class -> key -> value, NaN where unresolved.
        left_out: how many classes, and how many pairs, were not measured.
    """

    rows: dict[int, int]
    values: dict[int, dict[str, float]]
    left_out: tuple[int, int]

    def means(self) -> dict[str, float]:
        """key -> mean over the measured classes, weighted by their rows; NaN unless it is resolved in each of them."""
        total = sum(self.rows.values())
        if not total:
            return dict.fromkeys(WITHIN, math.nan)
        return {key: sum(n * self.values[label][key] for label, n in self.rows.items()) / total for key in WITHIN}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the means, the classes, and how much was left out; NaN becomes null."""
        classes = [{"label": label, "rows": n, **self.values[label]} for label, n in self.rows.items()]
        told = {"least_rows": LEAST_ROWS, "classes_left_out": self.left_out[0], "rows_left_out": self.left_out[1]}
        return jsonable({"means": self.means(), "classes": classes} | told)

    def in_words(self) -> list[str]:
        """What the means say beside the measures over all rows."""
        classes, _ = self.left_out
        out = f"; {classes} with fewer than {LEAST_ROWS} rows left out" if classes else ""
        if not self.rows:
            return [f"Nothing was measured within classes: none has {LEAST_ROWS} rows."]
        mean = {key: spoken(value) for key, value in self.means().items()}
        return [
            "Matching across classes can flatter, since the class was told with the noise. Within classes (mean of "
            f"{len(self.rows)} by their rows{out}) delta_e is {mean['delta_e']} where a random pairing gets "
            f"{mean['delta_e_ceiling']}, copy_index {mean['copy_index']}, pair_cosine {mean['pair_cosine']}, fidelity "
            f"{mean['fidelity']}."
        ]


def within_classes(
    teacher: np.ndarray,
    student: np.ndarray,
    *,
    label: np.ndarray,
    reference: np.ndarray,
    reference_label: np.ndarray,
) -> WithinClasses:
    """`measure` in each class on its rows alone: the first of its pairs, and as many of its rows of the reference.

    Args:
        teacher, student: (n, ...) outputs at the same noise.
        label: (n,) the class that both were told.
        reference, reference_label: (m, ...) teacher outputs at fresh noise, and (m,) their classes.

    Raises:
        InputError: labels that are not one integer for each row; as for `measure`.
        TransportError: an assignment solver failed.
    """
    for name, own, array in (("label", label, teacher), ("reference_label", reference_label, reference)):
        if own.shape != (len(array),) or own.dtype.kind not in "iu":
            raise InputError(f"{name} is {own.dtype} of shape {own.shape}; expected {len(array)} integers, one a row.")
    rows, values, found = {}, {}, np.unique(label).tolist()
    for one in found:
        pairs, fresh = np.flatnonzero(label == one), np.flatnonzero(reference_label == one)
        n = min(len(pairs), len(fresh))
        if n >= LEAST_ROWS:
            own = pairs[:n]
            read = measure(teacher[own], student[own], reference=reference[fresh[:n]]).values()
            rows[one], values[one] = n, {key: read[key] for key in WITHIN}
    return WithinClasses(rows, values, (len(found) - len(rows), len(label) - sum(rows.values())))
