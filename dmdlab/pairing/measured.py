"""One measured number: a value with its interval, or the reason why there is none; and how it becomes JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measured:
    """One measure of one sample.

    Attributes:
        value: the estimate, NaN where the sample cannot resolve it.
        low, high: 95 % interval over draws of the noise, None where none was computed.
        reason: why the value is NaN, or in which sense it is only a bound (a remap angle of 90 or more); else None.
        certain: bounds of what an optimal pairing gives, where the solver knows its cost within an interval only, or
            several pairings cost the same.
    """

    value: float
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    certain: tuple[float, float] | None = None

    @staticmethod
    def unresolved(reason: str) -> "Measured":
        """A value that this sample cannot resolve."""
        return Measured(math.nan, reason=reason)

    @property
    def resolved(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: NaN and infinity become null; `certain` is there only where there is one."""
        known = {"value": self.value, "low": self.low, "high": self.high, "reason": self.reason}
        return jsonable(known | ({} if self.certain is None else {"certain": self.certain}))


def jsonable(value: Any) -> Any:
    """The same in what JSON knows: mappings, lists, text and numbers; arrays as lists, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
