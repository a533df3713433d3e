"""The lessons' outputs, figures and notebooks, all from their Markdown.

    .venv/bin/python docs/lessons/make.py [NAME ...]      # about half a minute a lesson on one core

A lesson is a Markdown page. Its Python blocks run here, in their order and in one namespace. Each ```text block right
under one holds what it printed; each figure that a block leaves open is saved beside the page as <lesson>-<block>.png,
which the page shows. The notebook is the same page in cells, without outputs. Nothing is written by hand twice.
"""

import io
import json
import re
import sys
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
FIGURE = re.compile(r"^!\[[^\]]*\]\([a-z]+-\d+\.png\)\n+", re.M)


@dataclass(frozen=True)
class Cell:
    """A piece of a lesson: prose, or code with what it is said to print."""

    code: bool
    text: str
    printed: str = ""


def cells(page: str) -> list[Cell]:
    """The page in its order."""
    found, last = [], 0
    for block in BLOCK.finditer(page):
        found += [Cell(False, page[last : block.start()]), Cell(True, block[1], block[2] or "")]
        last = block.end()
    return [*found, Cell(False, page[last:])]


def lessons() -> list[Path]:
    """Every lesson's page."""
    return sorted(HERE.glob("*.md"))


def notebook(page: str) -> str:
    """The page as a notebook, without outputs: figures and printed lines come when it is run."""
    made = []
    for i, cell in enumerate(cells(page)):
        text = cell.text.strip() if cell.code else FIGURE.sub("", cell.text).strip()
        if text:
            own: dict[str, Any] = {"cell_type": "code" if cell.code else "markdown", "id": f"cell-{i}", "metadata": {}}
            own |= {"execution_count": None, "outputs": []} if cell.code else {}
            made.append(own | {"source": text.splitlines(keepends=True)})
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    book = {"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def run(page: str, name: str, folder: Path) -> str:
    """Run a lesson; the page with what its blocks printed. Figures go into `folder` as <name>-<block>.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": "__main__"}
    parts, blocks = [], 0
    for cell in cells(page):
        if not cell.code:
            parts.append(cell.text)
            continue
        blocks += 1
        printed = io.StringIO()
        with redirect_stdout(printed), chdir(HERE):
            exec(compile(cell.text, f"{name}, block {blocks}", "exec"), names)
        for number in plt.get_fignums():
            plt.figure(number).savefig(folder / f"{name}-{blocks}.png", dpi=150, metadata={"Software": None})
            plt.close(number)
        said = f"\n```text\n{printed.getvalue()}```\n" if printed.getvalue() else ""
        parts.append(f"```python\n{cell.text}```\n{said}")
    return "".join(parts)


def main() -> None:
    """Make the lessons named on the command line, or all."""
    for path in lessons():
        if len(sys.argv) == 1 or path.stem in sys.argv[1:]:
            page = run(path.read_text(encoding="utf-8"), path.stem, HERE)
            path.write_text(page, encoding="utf-8")
            path.with_suffix(".ipynb").write_text(notebook(page), encoding="utf-8")


if __name__ == "__main__":
    main()
