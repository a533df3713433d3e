"""What is measured: two arrays of outputs, row by row at the same noise, checked once and then trusted.

Rows are samples and everything behind the first axis is flattened, so images come as they are. Nothing here
knows torch: a tensor is recognised by what it can do (`detach`, `cpu`, `numpy`).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmdlab.config import InputError

# Costs are squares, and the variance of a cost the square of that: both must stay within float64.
LARGEST_VALUE, SMALLEST_VALUE = 1e70, 1e-70
_NAMED_ROWS = 5
# The ranges in which pictures are kept, and how far off their ends an array of pictures may end.
_CONVENTIONS = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (0.0, 65535.0))
_OFF_THE_END = 0.15
# Two arrays whose ranges differ by this factor are unlikely to be in the same unit.
_OTHER_UNIT = 30.0


@dataclass(frozen=True, eq=False)
class Pairs:
    """Teacher and student outputs at the same noise, and what else is known about them.

    Build it with `Pairs.of`, which validates. Arrays are float32 or float64 and row-contiguous.

    Attributes:
        teacher: P, (n, d), the teacher's outputs Phi_K(z_i).
        student: G, (n, d), the student's outputs at the same z_i.
        noise: Z, (n, any), the latents z_i.
        one_step: P1, (n, d), the teacher's one-step outputs Phi_1(z_i).
        reference: Q, (m, d), teacher outputs at fresh noise.
        data: X, (m, d), training or fresh data.
        other_teacher: (n, d), another teacher's outputs at the same z_i, as of another seed.
        teacher_differences, student_differences: (l, d), how either map's output changed when the noise changed a
            little: at l points z and changes h v of their own, the same for both.
        notes: sentences on what was converted and what is unusual about the arrays.
        stored: name -> the type of floating numbers that an array came in, where it is narrower than float32.
    """

    teacher: np.ndarray
    student: np.ndarray
    noise: np.ndarray | None = None
    one_step: np.ndarray | None = None
    reference: np.ndarray | None = None
    data: np.ndarray | None = None
    other_teacher: np.ndarray | None = None
    teacher_differences: np.ndarray | None = None
    student_differences: np.ndarray | None = None
    notes: tuple[str, ...] = field(default=())
    stored: dict[str, np.dtype] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of pairs."""
        return int(self.teacher.shape[0])

    @property
    def d(self) -> int:
        """Dimension of an output, flattened."""
        return int(self.teacher.shape[1])

    @staticmethod
    def of(
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
    ) -> "Pairs":
        """Validated pairs from numpy arrays, torch tensors or nested lists of any trailing shape.

        Args:
            teacher, student, one_step, other_teacher: (n, ...) with equal shapes; n >= 2.
            noise: (n, ...), its trailing shape may differ.
            reference, data: (m, ...) with the teacher's trailing shape; m >= 2.
            teacher_differences, student_differences: both or none, (l, ...) of one shape, likewise.

        Raises:
            InputError: unequal shapes, fewer than two rows, no coordinates, NaN or infinite values (the rows are
                named), masked, text, complex or object arrays, values whose squares overflow or vanish.
        """
        notes: list[str] = []
        given = {"teacher": teacher, "student": student, "noise": noise}
        given |= {"one_step": one_step, "reference": reference, "data": data, "other_teacher": other_teacher}
        given |= {"teacher_differences": teacher_differences, "student_differences": student_differences}
        stored: dict[str, np.dtype] = {}
        arrays = {name: _as_array(name, value, notes, stored) for name, value in given.items() if value is not None}
        if missing := [name for name in ("teacher", "student") if name not in arrays]:
            raise InputError(f"{missing[0]} is missing: give the outputs of both maps at the same noise.")
        for name, array in arrays.items():
            _check_shape(name, array, arrays["teacher"])
        _check_differences(arrays)
        flat = {name: np.ascontiguousarray(array.reshape(len(array), -1)) for name, array in arrays.items()}
        for name, array in flat.items():
            _check_values(name, array)
        notes += _peculiarities(flat["teacher"], flat["student"])
        notes += _units({name: flat[name] for name in ("teacher", "student", "reference", "data") if name in flat})
        return Pairs(**flat, notes=tuple(notes), stored=stored)


def _as_array(name: str, value: Any, notes: list[str], stored: dict[str, np.dtype]) -> np.ndarray:
    """`value` as a float32 or float64 array; what was converted is added to `notes`, half precision to `stored`."""
    if all(hasattr(value, method) for method in ("detach", "cpu", "numpy")):
        value = _from_tensor(name, value, notes)
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(f"{name} has masked entries; every value is needed: remove those rows from all arrays.")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is not an array: its rows have unequal lengths.") from error
    if array.dtype.kind not in "fiub":
        kind = {"c": "complex", "U": "text", "S": "text", "O": "object"}.get(array.dtype.kind, "non-numeric")
        raise InputError(f"{name} is a {kind} array ({array.dtype}); expected real numbers (n, ...).")
    if array.dtype in (np.float32, np.float64):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        stored[name] = array.dtype.newbyteorder("=")
    # Half precision and integers of up to 16 bits are exact in float32.
    target = np.float32 if array.dtype.itemsize <= 2 else np.float64
    notes.append(f"{name} was {array.dtype} and is measured in {np.dtype(target)}.")
    return array.astype(target)


def _from_tensor(name: str, tensor: Any, notes: list[str]) -> np.ndarray:
    """The values of a torch tensor. Raises InputError for one that has none, or not one for each place."""
    kind = str(tensor.dtype).removeprefix("torch.")
    try:
        value = tensor.detach().cpu()
        if kind.startswith(("bfloat16", "float8")):  # numpy has no such types
            value = value.float()
            notes.append(f"{name} was {kind} and is measured in float32.")
        return value.numpy()
    except (TypeError, RuntimeError) as error:
        said = str(error).partition("\n")[0].rstrip(".;! ")
        raise InputError(
            f"{name} is a tensor that cannot be read as an array ({said}); expected real numbers: a sparse one as "
            "tensor.to_dense(), a quantized one as tensor.dequantize(), one on the meta device loaded first."
        ) from None


def _check_shape(name: str, array: np.ndarray, teacher: np.ndarray) -> None:
    """Raises InputError unless `array` has rows, coordinates, and the shape that its role asks for."""
    if array.ndim == 0 or len(array) < 2:
        held = "a single number" if array.ndim == 0 else f"{len(array)} row(s)"
        raise InputError(f"{name} has {held}; a pairing needs n >= 2 samples along the first axis.")
    if array.size == 0:
        raise InputError(f"{name} has shape {array.shape}: no coordinates; expected (n, ...) with at least one.")
    if name in ("student", "one_step", "noise", "other_teacher") and len(array) != len(teacher):
        raise InputError(
            f"{name} has {len(array)} rows and teacher has {len(teacher)}; "
            "row i of both must come from the same noise z_i."
        )
    if name == "noise":
        return
    ours, theirs = array.shape[1:], teacher.shape[1:]
    if np.prod(ours) != np.prod(theirs):
        raise InputError(f"{name} has rows of shape {ours} and teacher of shape {theirs}; they must agree.")
    ours, theirs = (tuple(size for size in shape if size > 1) for shape in (ours, theirs))
    if ours != theirs and min(len(ours), len(theirs)) > 1:
        raise InputError(
            f"{name} has rows of shape {ours} and teacher of shape {theirs}: as many numbers in another "
            "order; transpose one of them so that equal coordinates meet."
        )


def _check_differences(arrays: dict[str, np.ndarray]) -> None:
    """Raises InputError unless both maps' differences are there, row by row, or neither's."""
    sizes = {name: len(arrays[name]) for name in ("teacher_differences", "student_differences") if name in arrays}
    if len(sizes) == 1:
        raise InputError(f"{next(iter(sizes))} stand alone; give those of both maps, at the same noise and changes.")
    if len(set(sizes.values())) > 1:
        told = " and ".join(f"{name} has {rows} rows" for name, rows in sizes.items())
        raise InputError(f"{told}; row i of both must come from the same noise and the same change of it.")


def _check_values(name: str, array: np.ndarray) -> None:
    """Raises InputError on NaN, infinite or overflowing values in (n, d), naming at most a few rows."""
    largest = np.maximum(array.max(axis=1), -array.min(axis=1)).astype(np.float64)  # (n,); NaN and inf pass through
    wrong = np.flatnonzero(~np.isfinite(largest))
    if len(wrong):
        named = ", ".join(str(i) for i in wrong[:_NAMED_ROWS]) + (", ..." if len(wrong) > _NAMED_ROWS else "")
        raise InputError(
            f"{name} has NaN or infinite values in {len(wrong)} of {len(array)} rows ({named}); "
            "remove those rows from every array, or find out why the map diverged there."
        )
    if largest.max() > LARGEST_VALUE:
        raise InputError(
            f"{name} has a value of size {largest.max():.1e} in row {int(largest.argmax())}, whose square "
            f"overflows; expected at most {LARGEST_VALUE:.0e}: rescale all arrays by one common factor."
        )
    if 0 < largest.max() < SMALLEST_VALUE:
        raise InputError(
            f"{name} has no value larger than {largest.max():.1e}, whose square vanishes; expected 0 throughout or at "
            f"least {SMALLEST_VALUE:.0e} somewhere: rescale all arrays by one common factor."
        )


def _peculiarities(teacher: np.ndarray, student: np.ndarray) -> list[str]:
    """Notes on repeated rows, constant coordinates and rows that both have: allowed, but they change how the measures
    read."""
    notes = []
    if same := int((teacher == student).all(axis=1).sum()):
        asked = "; is one file given twice?" if same == len(teacher) else "."
        notes.append(f"{same} of {len(teacher)} rows of the student are the teacher's, number for number{asked}")
    for name, array in (("teacher", teacher), ("student", student)):
        distinct = len({hash((row + 0.0).tobytes()) for row in array})  # -0 is 0
        if distinct < len(array):
            notes.append(f"{name}: {len(array) - distinct} of {len(array)} rows repeat another row.")
        constant = int((array.max(axis=0) == array.min(axis=0)).sum())
        if constant:
            notes.append(f"{name}: {constant} of {array.shape[1]} coordinates are constant.")
    return notes


def _units(arrays: dict[str, np.ndarray]) -> list[str]:
    """Notes on arrays whose ranges look like other units than the teacher's: said, never converted.

    One-step outputs are the teacher's own, and narrow where the prior is wide.
    """
    ends = {name: (float(array.min()), float(array.max())) for name, array in arrays.items()}
    of_teacher = ends.pop("teacher")
    return [note for name, of_array in ends.items() if (note := _other_unit(name, of_array, of_teacher))]


def _other_unit(name: str, ends: tuple[float, float], teacher: tuple[float, float]) -> str:
    """Why these two ranges look like different units; empty where they do not, or where one array is constant."""
    ours, theirs = ends[1] - ends[0], teacher[1] - teacher[0]
    if not (ours > 0 and theirs > 0):
        return ""
    known, known_teacher = _convention(ends), _convention(teacher)
    factor = ours / theirs
    if known and known_teacher and known != known_teacher:
        factor = (known[1] - known[0]) / (known_teacher[1] - known_teacher[0])
    elif 1.0 / _OTHER_UNIT < factor < _OTHER_UNIT:
        return ""
    told = f"{float(f'{max(factor, 1.0 / factor):.4g}'):,.10g}"  # four digits, never 1e+03
    told += " times as wide" if factor > 1 else " times narrower"
    return (
        f"{name} runs from {ends[0]:.4g} to {ends[1]:.4g} and teacher from {teacher[0]:.4g} to {teacher[1]:.4g}: these "
        f"ranges look like different units ({name}'s is about {told}). Nothing was converted; if the units do differ, "
        "bring both arrays to the same one before measuring."
    )


def _convention(ends: tuple[float, float]) -> tuple[float, float] | None:
    """The range of pictures that an array fills, if any."""
    for low, high in _CONVENTIONS:
        if max(abs(ends[0] - low), abs(ends[1] - high)) <= _OFF_THE_END * (high - low):
            return low, high
    return None
