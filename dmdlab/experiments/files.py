"""From files and words to experiments: TOML files, presets, `key=value`, sweep axes.

An experiment file holds a `question`, sections of settings (those of `dmdlab config show`), and for a sweep a table

    [sweep]
    "law.dim" = [2, 8, 32, 128]
    seed = { start = 0, stop = 8 }          # 0 ... 7, as Python's range

whose axes are any keys; the sweep is their product. An axis may be a whole section, too, its values tables of what
changes together: network = [{kind = "unet"}, {kind = "residual", width = 94}]; what changes together across sections
is an axis named `together`: together = [{fake_score.updates = 1, student.iterations = 4000}, ...]. Settings come in the
order defaults, preset, file, key=value: the later wins, and a `key=value` on a swept key replaces its axis. Who names
another law or kind of network leaves behind what only the one before knew.
"""

import itertools
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from dmdlab.config import (
    Experiment,
    InputError,
    check_keys,
    did_you_mean,
    experiment_from,
    flatten,
    known_keys,
    leaves,
    word_value,
)
from dmdlab.experiments.resolved import resolve
from dmdlab.laws import LAWS, law_parameters
from dmdlab.networks import NETWORKS
from dmdlab.training.terms import TERMS
from dmdlab.trouble import explained

TOGETHER = "together"
"""The axis whose values are tables of any keys."""

MAX_RUNS = 100_000
"""A sweep above this is taken for a slip."""


@dataclass(frozen=True)
class Sweep:
    """A question, the settings that differ from the defaults (dotted keys) and the axes of the sweep."""

    source: str
    question: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, list[Any]] = field(default_factory=dict)

    def experiments(self) -> list[Experiment]:
        """Every experiment of the product of the axes, resolved and checked, without repeats."""
        count = math.prod(map(len, self.axes.values()))
        if count > MAX_RUNS:
            raise InputError(f"{self.source}: [sweep] makes {count} runs; at most {MAX_RUNS} (shorten an axis)")
        found: dict[str, Experiment] = {}
        for point in itertools.product(*self.axes.values()):
            experiment = resolve(experiment_from(self.at(point), self.source), self.source)
            found.setdefault(experiment.id, experiment)
        return list(found.values())

    def at(self, point: Sequence[Any]) -> dict[str, Any]:
        """The settings at a point of the axes, a value for each; a table among these sets several keys at once."""
        given = dict(zip(self.axes, point, strict=True))
        together = dict(leaves(given.pop(TOGETHER, {})))
        tables = dict(leaves({key: value for key, value in given.items() if isinstance(value, dict)})) | together
        return _still_meant(self.settings, self.settings, tables) | dict(leaves(given)) | together


def presets() -> dict[str, str]:
    """Name -> TOML text of the presets inside the package."""
    folder = files("dmdlab") / "presets"
    return {
        p.name.removesuffix(".toml"): p.read_text(encoding="utf-8")
        for p in folder.iterdir()
        if p.name.endswith(".toml")
    }


def load(path: Path | None, preset: str | None = None, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep described by a preset, a file and `key=value` words, in that order of precedence.

    Raises `InputError` that names the file or word, the key, what was expected and the nearest valid name.
    """
    sweep = Sweep("defaults")
    if path is not None:
        text = _read(path)
        document = _parse(text, str(path))
        named = document.pop("preset", None)
        if not isinstance(named, str | None):
            raise InputError(f"{path}: preset: expected a name in quotes, got {named!r}")
        preset = preset or named
    for name, own in _presets_to(preset):
        sweep = _merge(sweep, own, f"preset {name}")
    if path is not None:
        sweep = _merge(sweep, document, str(path))
    return _override(sweep, overrides)


def _presets_to(name: str | None) -> list[tuple[str, dict[str, Any]]]:
    """A preset and those that it is based on, each by its own `preset` key, the last of them first."""
    known, found = presets(), list[tuple[str, dict[str, Any]]]()
    while name is not None:
        if name not in known:
            raise InputError(f"unknown preset {name!r}{did_you_mean(name, known)}")
        own = _parse(known[name], f"preset {name}")
        found.insert(0, (name, own))
        name = own.pop("preset", None)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except FileNotFoundError:
        near = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near) if near else ""
        asked = f", or a setting with its value, as in {path}=..." if str(path) in known_keys() else ""
        raise InputError(f"{path}: no such file; expected an experiment file (TOML){asked}{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        why = explained(error, reading=True)
        raise InputError(f"{path}: cannot be read ({why}); expected an experiment file (TOML, UTF-8)") from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # of tomllib, or of Python for a number of thousands of digits
        raise InputError(f"{source}: not valid TOML ({error})") from None
    except RecursionError:
        raise InputError(f"{source}: brackets nested too deeply; expected values and lists of values") from None


def _merge(sweep: Sweep, document: Mapping[str, Any], source: str) -> Sweep:
    """`sweep` with the settings and axes of a parsed file on top."""
    document = dict(document)
    question, axes = document.pop("question", sweep.question), document.pop("sweep", {})
    check_keys(document, source)  # an empty section has no dotted key, so sections are checked by themselves, too
    if not isinstance(question, str):
        raise InputError(f"{source}: question: expected a sentence, got {question!r}")
    if not isinstance(axes, dict):
        raise InputError(f"{source}: sweep: expected a table of axes, got {axes!r}")
    given = _once(leaves(document), source)
    settings = _still_meant(sweep.settings, sweep.settings, given) | given
    once = _once(_dotted_axes(axes), f"{source}: sweep")
    checked = {key: axis_values(key, value, source) for key, value in once.items()}
    base = {key: value for key, value in settings.items() if key not in checked}
    before = _still_meant(sweep.axes, sweep.settings, given)
    anew = set(given).union(*(_sets(key, values) for key, values in checked.items()))
    old = {key: values for key, values in before.items() if key in checked or anew.isdisjoint(_sets(key, values))}
    check_keys([*base, *_swept(checked, source)], source)
    return Sweep(source, question, base, old | checked)


def _once(given: Iterable[tuple[str, Any]], source: str) -> dict[str, Any]:
    """The settings by key. Raises `InputError` where one comes twice, dotted and in its section: one would be lost."""
    found: dict[str, Any] = {}
    for key, value in given:
        if key in found:
            raise InputError(f"{source}: {key} is set twice, as a dotted key and in its section; leave one of them out")
        found[key] = value
    return found


def _still_meant(old: Mapping[str, Any], settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`old` without what only the law or the network of `settings` knows, where `given` names another one; without
    `law.dim`, too, where that one is a law of pictures, which sets it."""
    kept = dict(old)
    for section, key, names, parameters in (
        ("law.", "law.name", LAWS, law_parameters),
        ("network.", "network.kind", NETWORKS, lambda kind: NETWORKS[kind].Settings.model_fields),
    ):
        name = given.get(key)
        if isinstance(name, str) and name in names and name != settings.get(key, flatten(Experiment())[key]):
            known = {f"{section}{own}" for own in parameters(name)} | set(known_keys())
            if "law.side" in known:
                known.remove("law.dim")
            kept = {k: v for k, v in kept.items() if not k.startswith(section) or k in known}
    return kept


def _swept(axes: Mapping[str, list[Any]], source: str) -> list[str]:
    """The axes, `TOGETHER` as the keys that its tables set.

    Raises `InputError` where one of its values is no table, or where two axes set the same: one of them would be lost.
    """
    for value in axes.get(TOGETHER, []):
        if not isinstance(value, dict):
            raise InputError(f"{source}: sweep.{TOGETHER}: expected tables of settings, got {value!r}")
    found = [key for key in axes if key != TOGETHER]
    by_others = set[str]()
    for axis in (*found, *({TOGETHER} & set(axes))):
        own = _sets(axis, axes[axis])
        if twice := by_others & own:
            raise InputError(f"{source}: sweep.{axis} sets {min(twice)}, which another axis sets, too; leave out one")
        by_others |= own
    return found + [key for value in axes.get(TOGETHER, []) for key, _ in leaves(value)]


def _sets(axis: str, values: Iterable[Any]) -> set[str]:
    """The dotted keys that an axis sets at one of its values or more."""
    tables = (v if axis == TOGETHER and isinstance(v, dict) else {axis: v} for v in values)
    return {key for table in tables for key, _ in leaves(table)}


def _dotted_axes(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Axes by dotted key: `"law.dim" = [...]` and `[sweep.law] dim = [...]` alike; a {start, stop} table is a value."""
    for key, value in table.items():
        if isinstance(value, dict) and "start" not in value and "stop" not in value:
            yield from _dotted_axes(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def axis_values(key: str, value: object, source: str) -> list[Any]:
    """The values of one axis: a list, or {start, stop, step} of integers (stop not included)."""
    if isinstance(value, dict):
        unknown = set(value) - {"start", "stop", "step"}
        if (
            unknown
            or not all(type(v) is int for v in value.values())
            or "stop" not in value
            or value.get("step", 1) == 0
        ):
            raise InputError(f"{source}: sweep.{key}: expected {{start, stop, step}} of integers, got {value!r}")
        span = range(value.get("start", 0), value["stop"], value.get("step", 1))
        if span[MAX_RUNS:]:
            raise InputError(f"{source}: sweep.{key}: more than {MAX_RUNS} values (shorten the axis)")
        value = list(span)
    if not isinstance(value, list):
        raise InputError(f"{source}: sweep.{key}: expected a list or {{start, stop}}, got {value!r}")
    if not value:
        raise InputError(f"{source}: sweep.{key}: the axis is empty; give at least one value or leave the axis out")
    return value


def _override(sweep: Sweep, words: Sequence[str]) -> Sweep:
    """`sweep` with `key=value` words on top; a list or range on a key makes or replaces its axis."""
    given = parse_words(words)
    settings, axes = (_still_meant(part, sweep.settings, given) for part in (sweep.settings, sweep.axes))
    for key, value in given.items():
        section = key.partition(".")[0]  # whose own axis goes, too
        axes = {k: v for k, v in axes.items() if k not in (key, section) and key not in _sets(k, v)}
        settings.pop(key, None)
        if (isinstance(value, list) and key not in list_keys()) or isinstance(value, dict):
            axes[key] = axis_values(key, value, "command line")
        else:
            settings[key] = value
    if not words:
        return sweep
    check_keys([*settings, *_swept(axes, "command line")], "command line")
    source = "command line" if sweep.source == "defaults" else f"{sweep.source} with the command line"
    return replace(sweep, source=source, settings=settings, axes=axes)


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as a dictionary; values are TOML, a bare word is a string."""
    found = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{word!r}: expected key=value, as in law.dim=8")
        found[key.strip()] = word_value(text.strip())
    return found


def list_keys() -> set[str]:
    """The keys whose value is itself a list, so that a list on the command line is no axis."""
    catalogues = [("network", kind.Settings) for kind in NETWORKS.values()]
    catalogues += [(f"terms.{name}", term.Settings) for name, term in TERMS.items()]
    found = {key for key, value in flatten(Experiment()).items() if isinstance(value, list)}
    for prefix, settings in catalogues:
        lists = (k for k, field in settings.model_fields.items() if isinstance(field.default, list | tuple))
        found |= {f"{prefix}.{key}" for key in lists}
    return found
