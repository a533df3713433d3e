"""Imports go one way and never in a circle, files stay short, and what must be light is light."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from packaging.version import Version

import dmdlab

ROOT = Path(dmdlab.__file__).parents[1]
MAKING = {"config", "folders", "arrays", "group", "device", "randomness", "laws", "diffusion", "networks", "training"}
MEASURING = {"config", "trouble", "folders", "arrays", "transport", "pairing", "records"}
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),
    "trouble": {"config"},
    "folders": {"config", "trouble"},
    "arrays": {"config", "trouble", "folders"},
    "group": {"config"},
    "device": {"config", "trouble"},
    "randomness": set(),
    "laws": {"config", "folders", "arrays", "randomness", "device"},
    "diffusion": {"config", "laws", "device"},
    "theory": {"config", "laws", "diffusion"},
    "networks": {"config", "laws", "diffusion", "device"},
    "training": MAKING - {"training"},
    "experiments": {"config", "trouble", "laws", "networks", "training"},
    "transport": {"config"},
    "pairing": {"config", "trouble", "folders", "arrays", "transport"},
    "records": {"config", "trouble", "pairing"},
    "diagnosis": {"config", "trouble", "pairing", "records"},
    "plots": MEASURING,
    "pages": MEASURING | {"plots"},
    "paper": MEASURING | {"plots"},
    "lab": MAKING | MEASURING | {"experiments"},
    "cli": MAKING | MEASURING | {"experiments", "theory", "diagnosis", "plots", "pages", "paper", "lab"},
}
"""The rooms in their order, and which other rooms each may import: a room added to the package must be placed here."""

WITHOUT_TORCH = MEASURING | {"group", "diagnosis", "plots", "pages", "paper"}
KNOWS_TORCH = "dmdlab/transport/on_gpu.py"
OUTSIDE: dict[str, set[str]] = {
    "benchmarks": set(MAY_IMPORT) - {"cli"},
    "figures": {"config", "networks", "theory", "pairing", "records", "diagnosis", "plots", "paper"},
    "docs": set(MAY_IMPORT),
}
"""Folders beside the package, and the rooms that they may import; the package imports neither."""

MOST_LINES = 350


def room(name: str) -> str:
    """'laws' of dmdlab/laws/law.py and of dmdlab.laws.law, 'theory' of dmdlab/theory.py, '' of what has no room."""
    parts = name.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "dmdlab" and parts[1] != "__init__" else ""


def imports(name: str, source: str) -> Iterator[tuple[str, str]]:
    """Everything that a file imports, in functions and under TYPE_CHECKING, too: (module, the name in it or '')."""
    package = name.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((base, alias.name) for alias in node.names)


def violations(name: str, source: str) -> list[str]:
    """What a file imports and may not, as sentences."""
    own, found = room(name), set()
    for base, member in imports(name, source):
        module = f"{base}.{member}"
        top, other = base.split(".")[0], room(module)
        if top in OUTSIDE and name.startswith("dmdlab/"):
            found.add(f"{name} imports {base}: dmdlab may not import {top}")
        if top == "torch" and own in WITHOUT_TORCH and name != KNOWS_TORCH:
            found.add(f"{name} imports {base}: {own} does without torch")
        user = own or name.split("/")[0]
        allowed = OUTSIDE.get(user, MAY_IMPORT.get(user, set(MAY_IMPORT)))
        if other in MAY_IMPORT and other not in {own, *allowed}:
            found.add(f"{name} imports {base}: {user} may not import {other}")
    return sorted(found)


@lru_cache
def sources() -> dict[str, str]:
    """Every file of the package and beside it, by its name from the root."""
    paths = [p for folder in ("dmdlab", *OUTSIDE) for p in sorted((ROOT / folder).rglob("*.py"))]
    return {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in paths}


def graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """The files that each file imports by name; `from a import b` means a/b.py where there is one, else a."""
    found: dict[str, set[str]] = {}
    for name, source in files.items():
        found[name] = set()
        for base, member in imports(name, source):
            path, deeper = base.replace(".", "/"), f"{base.replace('.', '/')}/{member}"
            candidates = (f"{deeper}.py", f"{deeper}/__init__.py", f"{path}.py", f"{path}/__init__.py")
            found[name] |= set([c for c in candidates if c in files][:1])
    return found


def circle(files: Mapping[str, str]) -> list[str]:
    """The files of a circle of imports, none when there is no circle."""
    try:
        TopologicalSorter(graph(files)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_has_its_place() -> None:
    rooms = {room(name) for name in sources() if name.startswith("dmdlab/")} - {"", "__main__"}
    assert rooms == set(MAY_IMPORT)


def test_the_rooms_stand_in_their_order() -> None:
    before: set[str] = set()
    for name, allowed in MAY_IMPORT.items():
        assert allowed <= before
        before.add(name)


def test_imports_go_one_way() -> None:
    assert [sentence for name, source in sources().items() for sentence in violations(name, source)] == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Nor by imports inside functions, nor for types alone."""
    assert circle(sources()) == []


def test_files_stay_short() -> None:
    lines = {name: len(source.splitlines()) for name, source in sources().items()}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}, "a file this long is asking to be two things"


PRIVATE = re.compile(
    r"""from\ dmdlab[\w.]*\ import\ (?: \([^)]* | [^\n]* ) \b(?P<imported>_[A-Za-z]\w*)"""
    r"""|setattr\( (?:[\w.]+,\s*)? ["'] (?!torch\.) (?P<patched>(?:[\w.]+\.)?_[A-Za-z]\w*) ["']""",
    re.VERBOSE,
)
"""A private name of ours that a test imports or patches."""


def test_tests_go_through_public_doors() -> None:
    """One that knows a private name is in the way of who would change it."""
    own = {p.name: p.read_text(encoding="utf-8") for p in sorted((ROOT / "tests").glob("*.py"))}
    del own[Path(__file__).name]
    assert {name: found[0] for name, source in own.items() if (found := PRIVATE.search(source))} == {}


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("from dmdlab.lab.plan import a, _b", True),
        ("from dmdlab.lab.plan import (\n    a,\n    _B,\n)", True),
        ("monkeypatch.setattr(trial, '_known', {})", True),
        ('monkeypatch.setattr("dmdlab.lab.plan._known", {})', True),
        ('monkeypatch.setattr("torch._inductor.compile", {})', False),
        ("from dmdlab.lab.plan import a_b\nmonkeypatch.setattr(Cycle, '__call__', called)", False),
    ],
)
def test_a_private_name_in_a_test_is_seen(source: str, seen: bool) -> None:
    assert bool(PRIVATE.search(source)) == seen


def test_a_name_of_a_class_means_one_thing() -> None:
    """However many rooms there are: who meets a name in one knows it in all."""
    places: dict[str, list[str]] = {}
    for name, source in sources().items():
        for own in re.findall(r"^class ([A-Z]\w*)", source, re.MULTILINE) if name.startswith("dmdlab/") else ():
            places.setdefault(own, []).append(name)
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


SAME_IN_SEVERAL = {
    "draw": "each figure of the paper, and of the catalogue of plots",
    "page": "each page as text",
    "gaussian_flow": "in torch, where trainings are predicted, and in numpy, where pairings are measured",
    "hartley": "in torch, which turns a start, and in numpy, which turns noise",
    "read_npy": "with what a law, or a file of pairs, says where it fails",
    "read_npz": "with what a law says where it fails",
    "readable": "with what a file of pairs says where it fails",
}
"""Public functions that several files define, and what they have in common: the same thing, done in each."""


def functions(source: str) -> Iterator[str]:
    """The public functions of a file, but for commands: users name them, often as what they call."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if not any(".command" in ast.unparse(decorator) for decorator in node.decorator_list):
            yield node.name


def repeated(files: Mapping[str, str]) -> dict[str, list[str]]:
    """The files that define a public function of one name, where there are several."""
    places: dict[str, list[str]] = {}
    for name, source in files.items():
        for own in set(functions(source)) if name.startswith("dmdlab/") else ():
            places.setdefault(own, []).append(name)
    return {own: found for own, found in places.items() if len(found) > 1}


def test_a_name_of_a_function_means_one_thing() -> None:
    found = repeated(sources())
    assert {own: files for own, files in found.items() if own not in SAME_IN_SEVERAL} == {}
    assert set(SAME_IN_SEVERAL) == set(found), "an exception that none needs any more"


def test_a_function_that_means_two_things_is_seen() -> None:
    files = {
        "dmdlab/laws/ring.py": "def told(): ...\ndef _own(): ...\ndef plan(): ...",
        "dmdlab/lab/run.py": "class A:\n    def told(self): ...\ndef _own(): ...",
        "dmdlab/cli/plan.py": "@app.command()\ndef plan(): ...",
        "figures/one.py": "def told(): ...",
    }
    assert repeated(files) == {}
    files["dmdlab/lab/plan.py"] = "@cache\ndef told(): ..."
    assert repeated(files) == {"told": ["dmdlab/laws/ring.py", "dmdlab/lab/plan.py"]}


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("dmdlab/laws/ring.py", "from dmdlab.training.distill import Student", "laws may not import training"),
        ("dmdlab/laws/ring.py", "from dmdlab import lab", "laws may not import lab"),
        ("dmdlab/laws/ring.py", "def f():\n    import dmdlab.cli.app as x", "laws may not import cli"),
        ("dmdlab/laws/ring.py", "from ..networks import MLP", "laws may not import networks"),
        ("dmdlab/laws/ring.py", "from .. import networks", "laws may not import networks"),
        ("dmdlab/laws/__init__.py", "from dmdlab.training import terms", "laws may not import training"),
        ("dmdlab/device/limits.py", "from dmdlab.laws import Law", "device may not import laws"),
        ("dmdlab/lab/run.py", "if TYPE_CHECKING:\n    from dmdlab.plots import draw", "lab may not import plots"),
        ("dmdlab/plots/style.py", "import dmdlab.lab.store", "plots may not import lab"),
        ("dmdlab/plots/style.py", "import torch", "plots does without torch"),
        ("dmdlab/pairing/pairs.py", "def f():\n    from torch import nn", "pairing does without torch"),
        ("dmdlab/transport/exact.py", "import torch.cuda", "transport does without torch"),
        ("dmdlab/group.py", "import torch", "group does without torch"),
        ("dmdlab/config/keys.py", "import dmdlab.randomness", "config may not import randomness"),
        ("dmdlab/cli/app.py", "from benchmarks import suite", "dmdlab may not import benchmarks"),
        ("dmdlab/__init__.py", "import figures.quickstart", "dmdlab may not import figures"),
        ("figures/one.py", "from dmdlab.lab.store import Store", "figures may not import lab"),
        ("figures/one.py", "def f():\n    from dmdlab import cli", "figures may not import cli"),
        ("benchmarks/one.py", "from dmdlab.cli.run import app", "benchmarks may not import cli"),
    ],
)
def test_an_upward_import_is_seen(file: str, source: str, expected: str) -> None:
    assert any(expected in sentence for sentence in violations(file, source))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("dmdlab/laws/ring.py", "from . import law\nfrom .law import Law\nfrom dmdlab.laws.checks import checked"),
        ("dmdlab/cli/run.py", "from dmdlab.lab import store\nfrom dmdlab.plots import draw\nimport torch"),
        ("dmdlab/lab/run.py", "import torch\nfrom dmdlab import __version__"),
        ("dmdlab/transport/on_gpu.py", "import torch"),
        ("figures/one.py", "from dmdlab.plots import draw\nfrom dmdlab.records.record import load_records"),
        ("benchmarks/one.py", "from benchmarks import lane\nfrom dmdlab.lab.store import Store\nimport torch"),
    ],
)
def test_a_downward_import_is_not_held_against_anyone(file: str, source: str) -> None:
    assert violations(file, source) == []


def test_a_circle_is_seen() -> None:
    files = {
        "dmdlab/laws/__init__.py": "from dmdlab.laws.ring import Ring",
        "dmdlab/laws/ring.py": "def f():\n    from .law import Law",
        "dmdlab/laws/law.py": "import torch",
    }
    assert circle(files) == []
    files["dmdlab/laws/law.py"] = "if TYPE_CHECKING:\n    from dmdlab.laws import Ring"
    assert set(circle(files)) == set(files)


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


def test_what_reads_runs_and_measures_them_loads_no_torch() -> None:
    rooms = ", ".join(f"dmdlab.{name}" for name in sorted(WITHOUT_TORCH))
    also = "dmdlab.records.cells, dmdlab.pairing.analysis, dmdlab.pages.report, dmdlab.pages.explorer.payload"
    found = loaded(f"import {rooms}, {also}")
    assert "numpy" in found
    assert "torch" not in found


def test_the_oldest_releases_that_are_tested_are_those_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    allowed = dict(one.lower().split(">=") for one in asked if not one.startswith(("ruff", "mypy")))
    lines = (ROOT / "constraints-lowest.txt").read_text().lower().partition("\n\n")[0].splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned.keys() == allowed.keys()
    assert {name: Version(own) for name, own in pinned.items()} == {name: Version(own) for name, own in allowed.items()}
