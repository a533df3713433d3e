"""One HTML file of the page's parts: markup, styles, scripts and a payload, without a build tool.

Scripts are classic ones, each a function called at once that adds to the global `dmdlab`; so the same files run in a
page, one after the other, and in Node's test runner.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmdlab.pages.templates import embedded, render

HERE = Path(__file__).parent

LAST = "main.js"
"""The script that starts the page, after all that it uses."""


def scripts() -> list[Path]:
    """The files of the page's script in their order."""
    page = sorted((HERE / "page").glob("*.js"), key=lambda path: (path.name == LAST, path.name))
    return [*sorted((HERE / "numerics").glob("*.js")), *page]


def page(payload: Mapping[str, Any]) -> str:
    """The whole page as text."""
    return render(
        "explorer/page/index.html",
        style=_joined(sorted((HERE / "page").glob("*.css"))),
        script=_joined(scripts()),
        title=str(payload["title"]),
        payload=embedded(payload),
    )


def page_bytes() -> int:
    """The size of a page without its data."""
    return len(page({"title": ""}).encode())


def _joined(paths: Sequence[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
