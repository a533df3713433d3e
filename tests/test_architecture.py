"""Imports go one way, files stay short, and what must be light is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dmdlab

PACKAGE = Path(dmdlab.__file__).parent
CORE = {
    "config",
    "randomness",
    "precision",
    "fusing",
    "capture",
    "laws",
    "diffusion",
    "networks",
    "training",
    "pairing",
}
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),
    "randomness": set(),
    "precision": {"config"},
    "fusing": set(),
    "capture": set(),
    "pairing": {"config"},
    "laws": {"config", "randomness", "precision"},
    "diffusion": {"config", "randomness", "precision", "fusing", "laws"},
    "theory": {"laws", "diffusion"},
    "networks": {"config", "randomness", "precision", "laws", "diffusion"},
    "training": {"config", "randomness", "precision", "fusing", "capture", "laws", "diffusion", "networks"},
    "plots": {"config", "pairing"},
    "lab": CORE | {"theory"},
    "cli": CORE | {"theory", "lab", "plots"},
}
"""The rooms, and which other rooms each may import: a room added to the package must be placed here."""

WITHOUT_TORCH = {"config", "pairing", "plots"}
MOST_LINES = 350


def room(path: Path) -> str:
    """'laws' of laws/law.py, 'config' of config.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, source: str) -> Iterator[str]:
    """Every module that a file imports anywhere in it, by its full name; for `from a import b` both a and a.b."""
    package = ["dmdlab", *path.relative_to(PACKAGE).parts[:-1]]
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
        if first == "torch" and own in WITHOUT_TORCH:
            found.append(f"{path.relative_to(PACKAGE)} imports {name}: {own} does without torch")
    return sorted(set(found))


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name not in ("__init__.py", "__main__.py"))


def test_every_room_has_its_place() -> None:
    assert {room(p) for p in FILES} <= set(MAY_IMPORT)
    assert all(allowed <= set(MAY_IMPORT) for allowed in MAY_IMPORT.values())


def test_the_order_has_no_cycle() -> None:
    done: set[str] = set()
    while ready := {r for r, needs in MAY_IMPORT.items() if r not in done and needs <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    assert violations(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("laws/ring.py", "from dmdlab.training.distill import Student", "laws may not import training"),
        ("laws/ring.py", "from dmdlab import lab", "laws may not import lab"),
        ("laws/ring.py", "def f():\n    import dmdlab.cli.app as x", "laws may not import cli"),
        ("laws/ring.py", "from ..networks import MLP", "laws may not import networks"),
        ("laws/ring.py", "from .. import networks", "laws may not import networks"),
        ("networks/mlp.py", "from dmdlab.training import optimiser", "networks may not import training"),
        ("lab/run.py", "if TYPE_CHECKING:\n    from dmdlab.plots import draw", "lab may not import plots"),
        ("plots/style.py", "import dmdlab.lab.store", "plots may not import lab"),
        ("plots/style.py", "import torch", "plots does without torch"),
        ("pairing/pairs.py", "def f():\n    from torch import nn", "pairing does without torch"),
        ("pairing/pairs.py", "from dmdlab.laws import LAWS", "pairing may not import laws"),
        ("theory.py", "from dmdlab.config import NoiseConfig", "theory may not import config"),
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
    ],
)
def test_a_downward_import_is_not_held_against_anyone(file: str, source: str) -> None:
    assert violations(PACKAGE / file, source) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{path.name} has {lines} lines: it is asking to be two things"


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
