"""The code in README and docs: Python runs, commands are commands, experiment files are experiments; links lead on."""

import contextlib
import csv
import importlib.util
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from types import ModuleType
from typing import Any

import pytest
import typer.main
from pages_of_docs import ROOT, Block, blocks, commands, read

from dmdlab.cli.app import app
from dmdlab.cli.run import first_of
from dmdlab.config import InputError, known_keys
from dmdlab.experiments import load
from dmdlab.pairing import METRICS
from dmdlab.records.catalogue import chosen

Command = Callable[..., tuple[int, str, str]]
ELSEWHERE = {
    "docs/measuring.md": "test_guide.py",
    "docs/own-teacher.md": "test_distil.py",
    "docs/answers.md": "test_theory_walk.py",
}
"""Pages whose Python another test runs, with what it needs."""

SMALLER = {
    "docs/using.md": {"1000, 32": "60, 4", "dim=32": "dim=4"},
    "docs/tutorials/author.md": {"400, 12": "60, 12", "800, 12": "120, 12"},
}
"""What is made smaller for a test: as printed -> as run."""

RUN = ("laws", "metrics", "config show experiments/quickstart.toml")
"""Commands of pages that are cheap enough to be run, from the repository's root."""

TAKE_SETTINGS = ("run", "sweep", "plan", "calibrate", "config show", "profile")
TAKE_FILTERS = ("table", "plot", "runs ls")


def by_page(language: str) -> dict[str, list[Block]]:
    found: dict[str, list[Block]] = {}
    for block in blocks(language):
        found.setdefault(block.page, []).append(block)
    return found


PYTHON = {page: own for page, own in by_page("python").items() if not page.startswith("docs/lessons/")}


@pytest.mark.parametrize("page", sorted(set(PYTHON) - set(ELSEWHERE)))
def test_the_python_of_a_page_runs_as_printed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    text = {block: block.text for block in PYTHON[page]}
    for printed, smaller in SMALLER.get(page, {}).items():
        assert any(printed in own for own in text.values())
        text = {block: own.replace(printed, smaller) for block, own in text.items()}
    for block, own in text.items():
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(own, f"{page}:{block.line}", "exec"), names)


def test_the_python_of_other_pages_is_run_by_other_tests() -> None:
    for page, test in ELSEWHERE.items():
        assert PYTHON[page]
        assert Path(page).name in (ROOT / "tests" / test).read_text(encoding="utf-8")


def told(words: list[str]) -> tuple[str, dict[str, Any]]:
    """A command's name ('runs ls') and the values of its parameters. Raises for one that the application refuses."""
    command, name, rest = typer.main.get_command(app), [], words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"no command {' '.join([*name, rest[0]])}"
        command, name, rest = command.commands[rest[0]], [*name, rest[0]], rest[1:]
    return " ".join(name), command.make_context(" ".join(name), list(rest)).params


def checked(words: list[str], files: dict[str, str], folder: Path) -> None:
    """Raise unless a `dmdlab` command parses, its settings are settings and its filters filters.

    files: experiment files that the page itself gives, by name.
    """
    name, values = told(words)
    if name in TAKE_SETTINGS:
        path, overrides = None, list(values.get("words") or [])
        if overrides and overrides[0].isupper():  # FILE: whatever file it is
            overrides.pop(0)
        elif overrides and "=" not in overrides[0]:
            path = ROOT / overrides.pop(0)
            if path.name in files:
                path = folder / path.name
                path.write_text(files[path.name])
        found = load(path, values.get("preset"), overrides)
        if not any(word.startswith("law.path=") for word in overrides):  # the reader's own files
            assert first_of(found).experiments()
    if name in TAKE_FILTERS:
        chosen([], values.get("filters") or ())
    for key in (values.get("measures") or "").split(",") if name == "plot" else ():
        assert not key or key in METRICS or key in known_keys(), key


SHELL = [block for block in blocks() if block.language in ("sh", "bash", "console", "")]


@pytest.mark.parametrize("page", sorted({block.page for block in SHELL}))
def test_the_commands_of_a_page_are_commands(page: str, tmp_path: Path) -> None:
    targets = {line.split(":")[0] for line in read("Makefile").splitlines() if ":" in line and line[:1].isalpha()}
    given = [block.text for block in blocks("toml") if block.page == page]
    for block in (block for block in SHELL if block.page == page):
        for words in commands(block):
            if words[0] == "make":
                assert set(words[1:]) <= targets, f"{page}: {' '.join(words)}"
                continue
            files = {Path(word).name: given[0] for word in words if given and word.endswith(".toml")}
            try:
                checked(words, files, tmp_path)
            except Exception as error:
                raise AssertionError(f"{page}: {' '.join(words)}: {error!r}") from error


def test_a_table_names_the_files_that_its_sweep_needs() -> None:
    """`dmdlab sweep FILE` below a table ends in an error where FILE leaves `law.path` to the reader."""
    pages = [path for path in (ROOT / "docs").glob("*.md") if path.is_file()]
    found = [
        (path.name, command, ROOT / command.split()[2])
        for path in pages
        for command in re.findall(r"`(dmdlab sweep experiments/[\w/-]+\.toml[^`]*)`", path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 20
    lacking = [
        (page, command)
        for page, command, file in found
        if "law.path" in file.read_text(encoding="utf-8") and "law.path=" not in command
    ]
    assert lacking == []


@pytest.mark.parametrize(
    "line",
    [
        "dmdlab nothing",
        "dmdlab run --no-such-option",
        "dmdlab sweep experiments/quickstart.toml law.dimension=3",
        "dmdlab sweep experiments/nowhere.toml",
        "dmdlab plot axis runs/x --x law.dim --measures pair_cosin",
        "dmdlab runs ls runs/x 'law.dim>=many'",
    ],
)
def test_a_command_that_is_none_is_seen(line: str, tmp_path: Path) -> None:
    (words,) = commands(Block("a page", "sh", line, 1))
    with pytest.raises(BaseException):  # noqa: B017, PT011 - of many kinds: click's, ours, an assertion
        checked(words, {}, tmp_path)


@pytest.mark.parametrize("line", RUN)
def test_cheap_commands_of_pages_run(line: str, dmdlab: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert any(line in " ".join(words) for block in SHELL for words in commands(block)), "no page has it"
    code, out, _ = dmdlab(*line.split())
    assert code == 0
    assert len(out.splitlines()) > 5


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: f"{block.page}:{block.line}")
def test_an_experiment_file_of_a_page_is_one(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "page.toml"
    path.write_text(block.text)
    assert first_of(load(path)).experiments()


def test_the_tutorials_table_is_that_of_its_kept_numbers() -> None:
    with (ROOT / "docs" / "tutorials" / "prior.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    rows = re.findall(r"^\| (\d+ \| (?:teacher|rotated) \|.*) \|$", read("docs/tutorials/researcher.md"), re.M)
    assert len(rows) == 4
    for row in rows:
        level, init, delta_e, _, pair_cosine, *_ = row.split(" | ")
        own = [r for r in runs if float(r["noise.sigma_max"]) == float(level) and r["student.init"] == init]
        assert len(own) == 4
        for told, key in ((delta_e, "delta_e"), (pair_cosine, "pair_cosine")):
            assert float(told.split()[0]) == pytest.approx(mean(float(r[key]) for r in own), rel=0.01, abs=0.006)


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 150


def test_every_folder_of_the_package_is_named_where_it_is_said_what_is_where() -> None:
    folders = {path.name for path in (ROOT / "dmdlab").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert [name for name in sorted(folders) if f"`dmdlab/{name}`" not in read("docs/house.md")] == []


def test_using_it_has_every_command_in_a_line() -> None:
    named = {words[1] for block in SHELL if block.page == "docs/using.md" for words in commands(block)}
    shown = {name for name, command in typer.main.get_command(app).commands.items() if not command.hidden}
    assert shown - named == set()


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/_generate.py, which is no package."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        spec = importlib.util.spec_from_file_location("_generate", ROOT / "docs" / "_generate.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return module


def test_every_link_of_every_page_leads_somewhere(generate: ModuleType) -> None:
    known = generate.pages()
    for page in known:
        generate.rewritten(page, read(page), known)


def test_every_page_is_reached_by_links_from_the_readme(generate: ModuleType) -> None:
    known, reached, next_ = generate.pages(), {"README.md"}, ["README.md"]
    while next_:
        page = next_.pop()
        led = [generate.target(page, match[3]) for _, _, match in generate.links(read(page)) if not match[1]]
        found = {to[0] for to in led if to} & set(known) - reached
        reached |= found
        next_ += sorted(found)
    assert set(known) - reached - {"CHANGELOG.md"} == set()


def test_links_become_the_sites_own(generate: ModuleType) -> None:
    known = generate.pages()
    text = "[a](docs/theory.md#x) ![b](figures/quickstart.png) [c](https://x.org) [d](experiments) `[e](nowhere.md)`\n"
    found, files = generate.rewritten("README.md", text, known)
    assert found == "[a](theory.md#x) ![b](files/figures/quickstart.png) [c](https://x.org) d `[e](nowhere.md)`\n"
    assert files == ["figures/quickstart.png"]
    assert generate.rewritten("docs/lessons/dmd.md", "[a](../../README.md)", known)[0] == "[a](../index.md)"
    assert generate.rewritten("README.md", "![c](figures/none.png)", known)[0] == "*c: not drawn yet*"
    with pytest.raises(generate.BrokenLink, match=r"nowhere\.md"):
        generate.rewritten("README.md", "[a](nowhere.md)", known)


def test_a_page_that_no_section_names_is_a_guide(generate: ModuleType) -> None:
    places = {"index", "theory", "brand-new"}
    guides = next(t for t in generate.contents(places).split("```{toctree}") if ":caption: Guides" in t)
    assert "brand-new" in guides
    assert "theory" not in guides


def test_the_reference_names_every_command_setting_and_measure(generate: ModuleType) -> None:
    found = generate._reference.pages()
    cli, config, measures = (found[f"reference/{name}.md"] for name in ("cli", "config", "metrics"))
    for words, command in generate._reference.commands(typer.main.get_command(app), ("dmdlab",)):
        assert f"## {' '.join(words)}\n" in cli
        assert all(option in cli for p in command.params for option in p.opts if option.startswith("--"))
    assert [key for key in known_keys() if f"`{key}`" not in config] == []
    assert "`terms.gan.weight`" in config
    assert "`network.channels`" in config
    assert [key for key in METRICS if f"## {key}\n" not in measures] == []


def test_the_reference_says_what_a_key_may_hold(generate: ModuleType) -> None:
    config = generate._reference.config()
    row = next(line for line in config.splitlines() if line.startswith("| `student.rollout` "))
    assert "`random`, `fixed`" in row
    assert '`"random"`' in row
    assert "*own*" in next(line for line in config.splitlines() if line.startswith("| `student.init` "))
    with pytest.raises(InputError):  # the table's keys are the application's: no other passes
        load(None, "smoke", ["student.rolout=fixed"]).experiments()
