"""Imports go one way and in no circle, files stay short, and what must be light is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dmdlab

PACKAGE = Path(dmdlab.__file__).parent
CHECKOUT = PACKAGE.parent
LAWS = {"config", "trouble", "randomness", "device", "laws", "diffusion"}
TRAINING = LAWS | {"group", "networks", "training"}
MEASURING = {"config", "trouble", "transport", "pairing", "records"}
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),
    "trouble": {"config"},
    "randomness": set(),
    "group": {"config"},
    "device": {"config"},
    "laws": {"config", "trouble", "randomness", "device"},
    "diffusion": {"config", "randomness", "device"},
    "theory": {"laws", "diffusion"},
    "networks": LAWS,
    "training": LAWS | {"group", "networks"},
    "experiments": TRAINING,
    "transport": {"config"},
    "pairing": {"config", "trouble", "transport"},
    "records": {"config", "trouble", "transport", "pairing"},
    "plots": MEASURING,
    "pages": MEASURING | {"plots"},
    "lab": TRAINING | MEASURING | {"experiments", "theory"},
    "cli": TRAINING | MEASURING | {"experiments", "theory", "plots", "pages", "lab"},
}
"""The rooms, and which other rooms each may import: a room added to the package must be placed here."""

WITHOUT_TORCH = {"config", "trouble", "group", "transport", "pairing", "records", "plots", "pages"}
KNOWS_TORCH = {PACKAGE / "transport" / "on_gpu.py"}
MOST_LINES = 350


def room(path: Path) -> str:
    """'laws' of laws/law.py, 'config' of config.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, source: str) -> Iterator[str]:
    """Every module that a file imports anywhere in it, by its full name; for `from a import b` both a and a.b."""
    package = ["dmdlab", *path.relative_to(PACKAGE).parts[:-1]] if path.is_relative_to(PACKAGE) else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(path: Path, source: str) -> list[str]:
    """What a file imports and may not, as sentences."""
    own, found = room(path), []
    for name in imports(path, source):
        first, *rest = name.split(".")
        if first == "dmdlab" and rest and rest[0] in MAY_IMPORT and rest[0] not in {own, *MAY_IMPORT[own]}:
            found.append(f"{path.relative_to(PACKAGE)} imports {name}: {own} may not import {rest[0]}")
        if first in ("benchmarks", "figures"):
            found.append(f"{path.relative_to(PACKAGE)} imports {name}: the package may not import {first}")
        if first == "torch" and own in WITHOUT_TORCH and path not in KNOWS_TORCH:
            found.append(f"{path.relative_to(PACKAGE)} imports {name}: {own} does without torch")
    return sorted(set(found))


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name not in ("__init__.py", "__main__.py"))


def test_every_room_has_its_place() -> None:
    assert {room(p) for p in FILES} == set(MAY_IMPORT)
    assert all(allowed <= set(MAY_IMPORT) for allowed in MAY_IMPORT.values())


def test_the_order_has_no_circle() -> None:
    done: set[str] = set()
    while ready := {r for r, needs in MAY_IMPORT.items() if r not in done and needs <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way_and_files_stay_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert violations(path, source) == []
    lines = len(source.splitlines())
    assert lines <= MOST_LINES, f"{path.name} has {lines} lines: it is asking to be two things"


def module(path: Path) -> str:
    """'dmdlab.laws' of laws/__init__.py."""
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")


def circles(needs: dict[str, set[str]]) -> list[list[str]]:
    """What is left when modules that need nothing, and those that nobody needs, are taken off again and again."""
    left = {name: set(own) for name, own in needs.items()}
    while ready := [name for name, own in left.items() if not own & set(left)]:
        for name in ready:
            del left[name]
    while idle := set(left) - {other for own in left.values() for other in own}:
        for name in idle:
            del left[name]
    return [sorted(left)] if left else []


def test_no_file_imports_itself_through_others() -> None:
    """Not even inside functions, or for types only."""
    modules = {module(p): p for p in PACKAGE.rglob("*.py")}
    needs = {
        name: {other for other in imports(path, path.read_text(encoding="utf-8")) if other in modules} - {name}
        for name, path in modules.items()
    }
    for name in needs:  # for `from a.b import c` what is needed is a.b.c where that is a file, and not its folder
        needs[name] = {n for n in needs[name] if not any(o.startswith(f"{n}.") for o in needs[name])}
    assert circles(needs) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


@pytest.mark.skipif(not (CHECKOUT / "figures").is_dir(), reason="figures are part of a checkout")
def test_figures_are_made_of_records_and_plots_alone() -> None:
    for path in (CHECKOUT / "figures").glob("*.py"):
        rooms = {name.split(".")[1] for name in imports(path, path.read_text()) if name.startswith("dmdlab.")}
        assert rooms <= {"records", "plots", "pairing", "config"}, path.name


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("laws/ring.py", "from dmdlab.training.distill import Student", "laws may not import training"),
        ("laws/ring.py", "from dmdlab import lab", "laws may not import lab"),
        ("laws/ring.py", "def f():\n    import dmdlab.cli.app as x", "laws may not import cli"),
        ("laws/ring.py", "from ..networks import MLP", "laws may not import networks"),
        ("laws/ring.py", "from .. import networks", "laws may not import networks"),
        ("device/limits.py", "from dmdlab.lab import plan", "device may not import lab"),
        ("lab/run.py", "if TYPE_CHECKING:\n    from dmdlab.plots import draw", "lab may not import plots"),
        ("cli/app.py", "def f():\n    from benchmarks import suite", "the package may not import benchmarks"),
        ("plots/style.py", "import dmdlab.lab.store", "plots may not import lab"),
        ("records/record.py", "import torch", "records does without torch"),
        ("transport/exact.py", "def f():\n    from torch import nn", "transport does without torch"),
        ("pairing/pairs.py", "from dmdlab.laws import LAWS", "pairing may not import laws"),
        ("config.py", "import dmdlab.randomness", "config may not import randomness"),
    ],
)
def test_an_upward_import_is_seen(file: str, source: str, expected: str) -> None:
    assert any(expected in sentence for sentence in violations(PACKAGE / file, source))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("laws/ring.py", "from . import law\nfrom .law import Law\nfrom dmdlab.laws.checks import checked"),
        ("cli/run.py", "from dmdlab.lab import store\nfrom dmdlab.plots import draw\nimport torch"),
        ("lab/run.py", "import torch\nfrom dmdlab import __version__"),
        ("transport/on_gpu.py", "import torch"),
    ],
)
def test_a_downward_import_is_not_held_against_anyone(file: str, source: str) -> None:
    assert violations(PACKAGE / file, source) == []


def loaded(code: str) -> set[str]:
    """Top-level modules in memory after running `code` in a fresh interpreter."""
    script = f"import sys\n{code}\nprint('|', *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.rpartition("|")[2].split()}


def test_help_loads_nothing_heavy() -> None:
    ask = "from dmdlab.cli import main\nsys.argv = ['dmdlab', '--help']\ntry:\n    main()\nexcept SystemExit: pass"
    heavy = {"torch", "matplotlib", "scipy", "numpy", "ot", "lap", "ray", "safetensors"}
    assert heavy & loaded(ask) == set()
    assert "torch" in loaded("import dmdlab.randomness")  # the check sees torch where there is some
