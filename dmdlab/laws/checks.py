"""The types that the laws' parameters have, and the sentence that a wrong value gets."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

from pydantic import ConfigDict, Field, ValidationError, validate_call

from dmdlab.config import InputError, as_list, did_you_mean

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0)]

P = ParamSpec("P")
S = TypeVar("S")


def checked(init: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """A law's `__init__`, made to check its arguments against their annotations (strictly: no "4" for 4).

    Raises:
        InputError: an argument is missing, unknown, of the wrong type or out of range; it is called `law.<key>`.
    """
    validated: Callable[..., Any] = validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True))(init)

    @functools.wraps(init)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            validated(self, *args, **kwargs)
        except ValidationError as error:
            known = list(inspect.signature(init).parameters)[1:]
            raise InputError(_sentence(getattr(self, "name", ""), error, known)) from None

    return call


def _sentence(law: str, error: ValidationError, known: list[str]) -> str:
    """The first complaint of pydantic, said about `law.<key>`."""
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] in ("missing_keyword_only_argument", "missing_argument"):
        return f"law.{key} is missing: the law {law!r} needs it"
    if first["type"] == "unexpected_keyword_argument":
        return f"law.{key} is not a parameter of the law {law!r}{did_you_mean(key, known, 'law.')}"
    where = "".join(f"[{part}]" for part in first["loc"][1:] if isinstance(part, int))
    expected = first["msg"].removeprefix("Input ")
    return f"law.{key}{where} of the law {law!r} is {first['input']!r}, but {expected}{as_list(first['input'])}"
