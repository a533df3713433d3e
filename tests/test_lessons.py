"""The lessons: each notebook is its page in cells, runs, and prints what the page says."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "lessons"
PAGES = sorted(FOLDER.glob("*.md"))
TRAINED = {"dmd": 0.35}
"""Lessons that train a network, whose last digits another machine makes differently: how far numbers may lie apart."""

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """docs/lessons/make.py, which is no package."""
    spec = importlib.util.spec_from_file_location("make_lessons", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclass
    spec.loader.exec_module(module)
    return module


def same(said: str, printed: str, share: float) -> bool:
    """Whether two texts have the same words, and numbers within `share` of each other (0.02 where they are small)."""
    ours, theirs = ([float(x) for x in NUMBER.findall(text)] for text in (said, printed))
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (said, printed)]
    return words[0] == words[1] and all(abs(a - b) <= 0.02 + share * abs(a) for a, b in zip(ours, theirs, strict=True))


def test_there_are_four_lessons_and_a_notebook_for_each() -> None:
    assert {page.stem for page in PAGES} == {"dmd", "copying", "metrics", "inheritance"}
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {page.stem for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_its_page_without_outputs(page: Path, make: ModuleType) -> None:
    """`python docs/lessons/make.py` was run after the last change."""
    text = page.read_text(encoding="utf-8")
    assert page.with_suffix(".ipynb").read_text(encoding="utf-8") == make.notebook(text)
    assert all(cell.printed for cell in make.cells(text) if cell.code and re.search(r"^ *print\(", cell.text, re.M))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_lesson_shows_every_figure_that_its_code_draws(page: Path, make: ModuleType) -> None:
    text, drawn, blocks = page.read_text(encoding="utf-8"), set(), 0
    for cell in make.cells(text):
        blocks += cell.code
        if cell.code and "plt.subplots" in cell.text:
            drawn.add(f"{page.stem}-{blocks}.png")
    assert (
        drawn == set(re.findall(r"\(([a-z]+-\d+\.png)\)", text)) == {p.name for p in FOLDER.glob(f"{page.stem}-*.png")}
    )


def test_cells_take_what_a_block_prints_and_leave_other_text(make: ModuleType) -> None:
    page = "# A\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\nB\n\n```python\nx = 2\n```\n\n![f](a-2.png)\n\nC\n"
    found = [(cell.code, cell.text.strip(), cell.printed) for cell in make.cells(page)]
    expected = [(False, "# A", ""), (True, "print(1)", "1\n"), (False, "B", ""), (True, "x = 2", "")]
    assert found == [*expected, (False, "![f](a-2.png)\n\nC", "")]
    assert "a-2.png" not in make.notebook(page)


def test_numbers_and_words_are_compared() -> None:
    assert same("delta_e 10.50, of 4 seeds", "delta_e   10.52, of 4 seeds", 0.01)
    assert not same("delta_e 10.50", "delta_e 12.50", 0.01)
    assert not same("delta_e 10.50", "pair_auc 10.50", 0.01)


@pytest.mark.lessons
@pytest.mark.filterwarnings("ignore")  # of the notebook's own machinery
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_runs_and_prints_what_its_page_says(
    page: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this Python, from the lessons' folder; a cell may take ten minutes on a busy machine."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as in Jupyter; the tests' is Agg
    book: Any = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(book)
    client = nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(FOLDER)}})
    client.create_kernel_manager()
    client.km.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client.execute()
    said = [cell for cell in make.cells(page.read_text(encoding="utf-8")) if cell.code]
    ran = [cell for cell in book.cells if cell.cell_type == "code"]
    for there, here in zip(said, ran, strict=True):
        printed = "".join(out["text"] for out in here["outputs"] if out.get("name") == "stdout")
        assert same(there.printed, printed, TRAINED.get(page.stem, 0.02)), printed
        figures = [out for out in here["outputs"] if "image/png" in out.get("data", {})]
        assert bool(figures) == ("plt.subplots" in there.text)
