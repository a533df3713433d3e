"""Numbers as a page reads them: little-endian arrays in base64 (`numerics/arrays.js`)."""

import base64
import math
from typing import Any, Literal

import numpy as np

from dmdlab.config import InputError

Kind = Literal["f32", "f16", "i16", "u8"]
_TYPES = {"f32": "<f4", "f16": "<f2", "i16": "<i2", "u8": "u1"}
_LARGEST_HALF = 65504.0


def packed(values: np.ndarray, kind: Kind) -> dict[str, Any]:
    """An array as {dtype, shape, data}; "i16" and "u8" with the scale and offsets (one a column) that undo rounding.

    Raises `InputError` for numbers that are not finite, or too large for 16 bits.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError("an array holds NaN or infinity, which no page can draw")
    found: dict[str, Any] = {"dtype": kind, "shape": list(values.shape)}
    if kind == "f16" and np.abs(values).max(initial=0) > _LARGEST_HALF:
        raise InputError("a weight is too large for 16 bits")
    if kind == "i16":
        centre = values.mean(axis=0)
        scale = float(np.abs(values - centre).max(initial=0)) / 32767 or 1.0
        found |= {"scale": scale, "offset": centre.tolist()}
        values = np.round((values - centre) / scale)
    return found | {"data": base64.b64encode(values.astype(_TYPES[kind]).tobytes()).decode()}


def greys(values: np.ndarray, limits: tuple[float, float]) -> dict[str, Any]:
    """Pictures (m, d) in 256 steps from the first limit to the second; what lies outside is cut off."""
    low, high = limits
    scale = (high - low) / 255 or 1.0
    steps = np.clip(np.round((values - low) / scale), 0, 255).astype("u1")
    data = base64.b64encode(steps.tobytes()).decode()
    return {"dtype": "u8", "shape": list(values.shape), "scale": scale, "offset": [low], "data": data}


def rounded(value: Any, digits: int = 5) -> Any:
    """The same with numbers to so many significant digits; None for those that are none."""
    if isinstance(value, dict):
        return {key: rounded(own, digits) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(own, digits) for own in value]
    if isinstance(value, np.ndarray | np.generic):
        return rounded(value.tolist(), digits)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value
