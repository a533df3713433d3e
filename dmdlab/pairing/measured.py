"""One measured number: its value and interval, or the reason why there is none."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One measure of one sample.

    Attributes:
        value: the estimate, NaN where the sample cannot resolve it.
        low, high: 95 % interval over draws of the noise, None where none was computed.
        reason: why the value is NaN, or in which sense it is only a bound (a remap angle of 90 or more); else None.
    """

    value: float
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    @staticmethod
    def unresolved(reason: str) -> "Measured":
        """A value that this sample cannot resolve."""
        return Measured(math.nan, reason=reason)

    @property
    def resolved(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    def to_dict(self) -> dict[str, float | str | None]:
        """JSON-ready: NaN becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        finite = {key: x if x is not None and math.isfinite(x) else None for key, x in numbers.items()}
        return {**finite, "reason": self.reason}
