"""What every settings model is made of, and how its refusals are told."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Scalar = bool | int | float | str | None
Value = Scalar | list[Scalar]

MEMBER_OWN: dict[str, Any] = {"member_own": True}
"""Mark of a field in which members of one ensemble may differ: `Field(..., json_schema_extra=MEMBER_OWN)`."""


class InputError(ValueError):
    """Bad input from a user: a sentence that says what was wrong, what was expected and what to do."""


MANY = 30
"""Valid names from which on those with a dot are told by their sections: nobody reads a hundred."""


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """A hint `; did you mean 'x'?` for a misspelt name, or for one that lacks its section; the valid names when none is
    near: of many, sections.

    prefix: stands before each name where it is shown, as the section that a key must be given with.
    """
    valid = sorted(names)
    same = [own for own in valid if own.lower() == name.lower()]
    if close := same or in_sections(name, valid) or difflib.get_close_matches(name, valid, n=1, cutoff=0.5):
        return f"; did you mean {' or '.join(repr(prefix + own) for own in close)}?"
    if len(valid) > MANY:
        valid = sorted({f"{own.partition('.')[0]}.*" if "." in own else own for own in valid})
    return f"; valid names: {', '.join(prefix + own for own in valid) or 'none yet'}"


def in_sections(key: str, names: Iterable[str]) -> list[str]:
    """The names that are this key with a section before it, sorted."""
    return sorted(own for own in names if "." in own and own.partition(".")[2].lower() == key.lower())


class Section(BaseModel):
    """A group of settings: no unknown key, no silent conversion, no change after creation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _levels(value: object) -> object:
    numbers = isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value)
    if numbers and len(value) == 2 and value[0] >= value[1]:  # type: ignore[arg-type, index]
        raise ValueError("the first level must be below the second")
    return tuple(value) if isinstance(value, list) else value


def _falling(value: object) -> object:
    levels = list(value) if isinstance(value, list | tuple) else []
    if all(isinstance(v, int | float) for v in levels) and any(a <= b for a, b in pairwise(levels)):
        raise ValueError("the levels must fall, each below the one before")
    return tuple(value) if isinstance(value, list) else value


SMALLEST, LARGEST = 1e-15, 1e15
"""Between these lie noise levels and laws: the losses weigh by 1 / sigma^2 and 1 / sigma_data^2, in float32, which ends
at 1e38 and 1e-38 (measured: at 1e-20 and 1e20 every training diverges)."""

WITHIN_FLOAT32 = "expected 1e-15 to 1e15, as training squares it, in float32"
"""What a refusal of one beyond says."""


def in_float32(value: float) -> bool:
    """Whether networks can be trained at this noise level, or on data of this standard deviation; NaN is none."""
    return SMALLEST <= value <= LARGEST


def _level(value: float) -> float:
    if not in_float32(value):
        raise ValueError(WITHIN_FLOAT32)
    return value


Positive = Annotated[float, Field(gt=0)]
NoiseLevel = Annotated[Positive, AfterValidator(_level)]
Count = Annotated[int, Field(ge=1)]
Iterations = Annotated[int, Field(ge=1, le=10**7)]
Unit = Annotated[float, Field(ge=0, le=1)]
Levels = Annotated[tuple[Unit, Unit], BeforeValidator(_levels)]
StepLevels = Annotated[tuple[Positive, ...], BeforeValidator(_falling)]


class OpenSection(BaseModel):
    """Settings of something from a catalogue: further keys are its own, checked where the catalogue is known."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.__pydantic_extra__ or {})


OPEN = ("law.", "network.", "terms.")
"""Sections whose further keys only their catalogues know."""

S = TypeVar("S", bound=Section)


def as_list(value: object) -> str:
    """A hint for words with commas between them where one value was expected, else nothing."""
    return f"; several values are a list, [{value}]" if isinstance(value, str) and "," in value else ""


def section_from(model: type[S], values: Mapping[str, Any], prefix: str) -> S:
    """A catalogue entry's own settings, checked and completed. Raises `InputError` that calls a key `prefix`.key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(sentence(error, list(model.model_fields), f"{prefix}.")) from None


def sentence(error: ValidationError, known: Sequence[str], prefix: str = "") -> str:
    """Pydantic's first complaint in our words, of an unknown key before all others, since what is missing may be what
    it was to be; `known`: the names that a misspelt key is compared with."""
    first = min(error.errors(), key=lambda own: own["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper())
    if first["type"] == "extra_forbidden":
        return f"unknown key {prefix + key!r}{did_you_mean(key, known, prefix)}"
    missing, got = first["type"] == "missing", first.get("input")
    message = "is missing; it has no default" if missing else first["msg"].removeprefix("Value error, ")
    if not prefix and key.startswith(OPEN) and len(first["loc"]) > 2:  # a parameter, then the type pydantic tried
        key = ".".join(str(part) for part in first["loc"][: 3 if key.startswith("terms.") else 2])
        message = "expected a finite number, a word, true or false"
    if first["type"] in ("dict_type", "model_type"):
        message = "expected settings of its own, as [section] or section.key = value sets them"
    shown = "" if isinstance(got, BaseModel | dict) else f", got {got!r}{as_list(got)}"
    return f"{prefix}{key}: {message}{shown}" if key else f"{message}"
