"""Pages of reference made from the code: commands, settings, measures, and which modules autodoc is to walk."""

import inspect
import pkgutil
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import typer.main

from dmdlab.cli.app import app
from dmdlab.config import MEMBER_OWN, Experiment, OpenSection
from dmdlab.experiments.files import presets
from dmdlab.laws import LAWS, law_parameters
from dmdlab.networks import NETWORKS
from dmdlab.pairing import METRICS
from dmdlab.training.terms import TERMS

API: dict[str, str] = {
    "dmdlab.pairing": "Measures, calibration, and what they say in words: numpy in, numbers out.",
    "dmdlab.laws": "Data laws of tunable dimension.",
    "dmdlab.diffusion": "Noise, denoisers and the flow.",
    "dmdlab.theory": "Closed forms, in float64.",
    "dmdlab.training": "Teachers, students and their starts, and the training cycle.",
    "dmdlab.lab.distil": "A teacher of one's own.",
}
"""The public modules, and what each is for."""


def pages() -> dict[str, str]:
    """Place in the site -> Markdown."""
    found = {"cli": cli(), "config": config(), "metrics": metrics()} | api()
    return {f"reference/{name}.md": text for name, text in found.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; bars and line breaks inside cells are taken care of."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


def plain(text: str) -> str:
    """Text that is not to be read as Markdown, code in backticks excepted."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*_<>\[\]#$\\])", r"\\\1", p) for p in parts)


# --- commands


def cli() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    text = ["# Commands", inspect.cleandoc(root.help or "")]
    text += ["Settings are words `key=value` with [the keys of an experiment](config.md).", "## Exit status"]
    status = inspect.getdoc(import_module("dmdlab.cli.app")) or ""
    text += [plain(status.partition("Exit status:")[2].strip())]
    for words, command in commands(root, ("dmdlab",)):
        text += [f"## {' '.join(words)}", plain(inspect.cleandoc(command.help or ""))]
        asked = [p for p in command.params if p.param_type_name == "argument"]
        usage = [*words, "[OPTIONS]", *(p.metavar or p.name.upper() for p in asked)]
        text += [f"```text\n{' '.join(usage)}\n```"]
        shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name not in ("help",)]
        if shown:
            text += [table(("argument or option", "default", "what it is"), map(parameter, shown))]
    return "\n\n".join(text) + "\n"


def commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be called, with its words; groups are only walked through."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name, own in below.items():
        yield from commands(own, (*words, name))


def parameter(p: Any) -> tuple[str, str, str]:
    """The row of an argument or an option."""
    if p.param_type_name == "argument":
        name = f"`{p.metavar or p.name.upper()}`"
    else:
        value = "" if p.is_flag else f" {p.metavar or 'VALUE'}"
        name = ", ".join(f"`{option}{value}`" for option in [*p.opts, *p.secondary_opts])
    default = "needed" if p.required else "" if p.default in (None, False, (), []) else f"`{p.default}`"
    return name, default, plain(p.help or "")


# --- settings


def config() -> str:
    """Every key of an experiment, and the own keys of laws, networks and loss terms."""
    text = [
        "# Settings",
        "An experiment is a TOML file, or words `key=value` on the command line: a `preset`, a `question`, these keys, "
        "and `[sweep]` axes over any of them. What a file resolves to is shown by `dmdlab config show FILE`. A key "
        "marked *own* may differ among the members of one ensemble, so that a sweep over it trains as one network.",
    ]
    for name, field in Experiment.model_fields.items():
        section = field.annotation
        if not isinstance(section, type) or not hasattr(section, "model_fields"):
            text += [f"## `{name}`", keys("", Experiment, (name,))]
            continue
        text += [f"## `[{name}]`", plain(inspect.getdoc(section) or "")]
        if section.model_fields:
            text += [keys(f"{name}.", section)]
        if issubclass(section, OpenSection):
            text += further(name)
    text += ["## Presets", '`--preset NAME`, or `preset = "NAME"` in a file.']
    questions = [(f"`{name}`", plain(question(name))) for name in sorted(presets())]
    return "\n\n".join([*text, table(("preset", "question"), questions)]) + "\n"


def question(preset: str) -> str:
    """What a preset asks, its own question or that of the preset it is based on."""
    held = tomllib.loads(presets()[preset])
    return str(held.get("question") or question(held["preset"]))


def further(section: str) -> list[str]:
    """The keys of the entries of a section's catalogue."""
    if section == "law":
        rows = ((f"`{name}`", plain(first_sentence(law)), own_keys(law_parameters(name))) for name, law in LAWS.items())
        return [table(("`law.name`", "what it is", "its own keys, `law.<key>`, and defaults"), rows)]
    catalogue: Mapping[str, Any] = NETWORKS if section == "network" else TERMS
    text = []
    for name, entry in catalogue.items():
        text += [f"### `{'network.kind = ' if section == 'network' else 'terms.'}{name}`", plain(first_sentence(entry))]
        if entry.Settings.model_fields:
            text += [keys("network." if section == "network" else f"terms.{name}.", entry.Settings)]
    return text


def own_keys(parameters: Mapping[str, object]) -> str:
    """'`side = 8`, `channels = 1`'."""
    return ", ".join(f"`{key} = {value!r}`" for key, value in parameters.items())


def first_sentence(thing: Any) -> str:
    """The first paragraph of its docstring."""
    return (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")


def keys(prefix: str, model: Any, only: Sequence[str] = ()) -> str:
    """The table of a model's keys: value, default, mark, meaning."""
    schema = model.model_json_schema(mode="serialization")
    rows = []
    for name, field in model.model_fields.items():
        if only and name not in only:
            continue
        default = field.get_default(call_default_factory=True)
        own = " *own*" if field.json_schema_extra == MEMBER_OWN else ""
        meaning = plain(field.description or "") or first_sentence(field.annotation)
        held = f"{meaning}<br>{values(schema['properties'][name])}{own}"
        rows.append((f"`{prefix}{name}`", f"`{toml(default)}`", held))
    return table(("key", "default", "what it is, and what it may hold"), rows)


def values(schema: Mapping[str, Any]) -> str:
    """What a key may hold, from its JSON schema."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(values(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        inner = [*schema.get("prefixItems", []), *([schema["items"]] if schema.get("items") else [])]
        return f"list of {values(inner[0])}" if inner else "list"
    name = {"integer": "integer", "number": "number", "boolean": "true, false", "string": "text", "null": "nothing"}
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    told = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    return " ".join([name.get(str(schema.get("type")), "value"), ", ".join(told)]).strip()


def toml(value: object) -> str:
    """A default as a file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, tuple) else str(value)


# --- measures


def metrics() -> str:
    """The glossary."""
    text = [
        "# Measures",
        "P are the teacher's outputs, G the student's, Q the teacher's at fresh noise; rows are samples at the same "
        "noise. Costs are squared Euclidean, summed over coordinates and averaged over rows. How to read them in "
        "order: [measuring](../measuring.md), section 3.",
        table(("measure", "range", "perfect copy", "chance"), (ranges(m) for m in METRICS.values())),
    ]
    for m in METRICS.values():
        text += [f"## {m.key}", f"```text\n{m.definition}\n```", plain(f"{m.reads_as[:1].upper()}{m.reads_as[1:]}.")]
        if m.needs:
            text += [plain(f"{m.needs[:1].upper()}{m.needs[1:]}.")]
    return "\n\n".join(text) + "\n"


def ranges(m: Any) -> tuple[str, ...]:
    """The row of a measure."""
    best = "" if m.best is None else f"{m.best:g}"
    return f"[`{m.key}`](#{m.key.replace('_', '-')})", f"{m.lowest:g} to {m.highest:g}", best, plain(m.chance)


# --- the API


def api() -> dict[str, str]:
    """A page a public module, and one that names them."""
    found, names = {}, {}
    for module, says in API.items():
        names[module] = f"api/{module.removeprefix('dmdlab.').replace('.', '-')}"
        found[names[module]] = f"# {module}\n\n{says}\n\n```{{eval-rst}}\n" + "\n".join(automodules(module)) + "```\n"
    listed = table(("module", ""), ((f"[`{m}`]({name}.md)", API[m]) for m, name in names.items()))
    tree = "```{toctree}\n:hidden:\n\n" + "\n".join(names.values()) + "\n```\n"
    return found | {"api": f"# Python\n\n{listed}\n\n{tree}"}


def automodules(module: str) -> list[str]:
    """Directives for a module: by its `__all__` where it has one, else for each of its files."""
    package = import_module(module)
    if hasattr(package, "__all__"):
        return [f".. automodule:: {module}\n   :members:\n   :imported-members:\n"]
    if not hasattr(package, "__path__"):
        return [f".. automodule:: {module}\n   :members:\n"]
    names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{module}.")]
    heads = ((name, f"{name}\n{'-' * len(name)}\n\n") for name in sorted(names))
    return [f"{head}.. automodule:: {name}\n   :members:\n" for name, head in heads]
