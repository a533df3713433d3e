"""docs/reproduction.md, from the kept summaries in figures/reproduce/ alone.

    dmdlab reproduce all --data train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz
    .venv/bin/python figures/reproduction.py

Takes over what runs/reproduce-quick holds, where it is there: kept summaries and figures; then writes the page.
"""

import shutil
from pathlib import Path

from dmdlab.paper.kept import read_kept
from dmdlab.paper.page import page

HERE = Path(__file__).resolve().parent
MADE = HERE.parent / "runs" / "reproduce-quick"
KEPT, PAGE, FIGURES = HERE / "reproduce", HERE.parent / "docs" / "reproduction.md", "../figures/reproduce"


def main() -> None:
    """Take over what is there, and write the page."""
    KEPT.mkdir(exist_ok=True)
    for path in sorted([*(MADE / "kept").glob("*.json"), *(MADE / "figures").glob("fig*.*")]):
        shutil.copy(path, KEPT / path.name)
    PAGE.write_text(page(read_kept(KEPT), FIGURES), encoding="utf-8")


if __name__ == "__main__":
    main()
