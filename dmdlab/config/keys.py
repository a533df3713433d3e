"""Dotted keys: which there are, what they mean, and an experiment made of them."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dmdlab.config.experiment import Experiment, flatten, nest
from dmdlab.config.settings import MEMBER_OWN, OPEN, InputError, did_you_mean, in_sections, sentence

_BARE_LIST = re.compile(r"""\[([^]["'{}]*)\]""")
"""A flat list without quotes."""


def experiment_from(flat: Mapping[str, Any], source: str = "the configuration") -> Experiment:
    """An `Experiment` from dotted keys. Raises `InputError` naming the key, what was expected and the name meant."""
    check_keys(flat, source)
    try:
        return Experiment.model_validate(nest(flat))
    except (InputError, ValidationError) as error:
        said = sentence(error, known_keys()) if isinstance(error, ValidationError) else error
        raise InputError(f"{source}: {said}") from None


def check_keys(keys: Iterable[str], source: str) -> None:
    """Raise `InputError` for the first key that is neither a setting, a section, nor below one of `OPEN`."""
    known, sections = known_keys(), set(Experiment.model_fields)
    for key in keys:
        if key not in known and key not in sections and not key.startswith(OPEN):
            raise InputError(f"{source}: unknown key {key!r}{_hint(key, known, sections)}")


def _hint(key: str, known: Sequence[str], sections: Iterable[str]) -> str:
    """`did_you_mean`; of a key in a section that is like none of ours, what ends like it, and how terms are set."""
    section, _, rest = key.partition(".")
    glued = next((o for o in OPEN if not rest and len(key) > len(o) and key.lower().startswith(o[:-1])), "")
    if glued and key.lower() not in [name.replace(".", "") for name in known]:  # lawside, which `known` does not hold
        return f"; did you mean '{glued}{key[len(glued) - 1 :].lstrip('_-:/')}'?"
    near = difflib.get_close_matches(section.lower(), sections, n=1)
    if not section or not rest or (near and near[0] != "terms"):
        return did_you_mean(key, known)
    if near:
        return f"; did you mean 'terms.{rest}'?"
    if elsewhere := in_sections(rest.rpartition(".")[2], known):
        return f"; did you mean {' or '.join(map(repr, elsewhere))}, or, of a term of the loss, 'terms.{key}'?"
    own = sorted({"terms", *(name.partition(".")[0] for name in known if "." in name)})
    return f"; sections are {', '.join(own)}; a term of the loss is set as terms.NAME.KEY"


def known_keys() -> list[str]:
    """Every dotted key except the parameters of laws, networks and terms."""
    return list(flatten(Experiment()))


def describe() -> dict[str, str]:
    """What each of `known_keys` means."""
    return {key: field.description or "" for key, field in _fields()}


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every setting's dotted key and its field, sections unfolded."""
    for name, field in Experiment.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from ((f"{name}.{key}", own) for key, own in section.model_fields.items())
        else:
            yield name, field


def member_keys() -> frozenset[str]:
    """The dotted keys in which members of one ensemble may differ, by the marks on their fields."""
    return frozenset(key for key, field in _fields() if field.json_schema_extra == MEMBER_OWN)


def word_value(text: str) -> Any:
    """What a value on the command line means: TOML's, and a bare word is a string, in a list of such words, too, as a
    shell takes their quotes away. Raises `InputError`."""
    try:
        found = tomllib.loads(f"value = {text}")
        return found["value"] if len(found) == 1 else text  # a line's end begins another key
    except ValueError:  # no TOML, or a number of thousands of digits
        bare = _BARE_LIST.fullmatch(text)
        return [word_value(word) for part in bare[1].split(",") if (word := part.strip())] if bare else text
    except RecursionError:
        raise InputError("command line: brackets nested too deeply; expected a value or a list of values") from None
