"""The sources of the documentation site: the pages as they stand, and the reference made from the code.

    make docs        # python docs/_generate.py docs/_build/source, then sphinx-build

Every Markdown page of `docs` is taken by glob, README, CONTRIBUTING and CHANGELOG beside them; a page that `SECTIONS`
does not name comes at the end of the guides. Links are written for a reader of the repository; here those between
pages become the site's own, and files (figures, numbers, notebooks) travel along. A link to nothing is an error; a
figure that is not there yet is named so.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import _reference

ROOT = Path(__file__).resolve().parents[1]
BESIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages outside `docs`, and what they are called in the site."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Begin": ("quickstart", "tutorials/researcher", "tutorials/author", "tutorials/teacher"),
    "Lessons": ("lessons/dmd", "lessons/copying", "lessons/metrics", "lessons/inheritance"),
    "Guides": (
        "using",
        "measuring",
        "pictures",
        "losses",
        "few-steps",
        "own-teacher",
        "explorer",
        "store",
        "machine",
        "clusters",
        "scale",
        "reliability",
        "healthy-runs",
    ),
    "Findings": (
        "findings",
        "reproduction",
        "answers",
        "answers-cells",
        "start-or-gradient",
        "theory",
        "log",
        "performance",
        "performance-more",
    ),
    "Reference": ("reference/cli", "reference/config", "reference/metrics", "reference/api"),
    "The house": ("house", "contributing", "changelog"),
}
UNNAMED = "Guides"
"""The section of pages that none names."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)[^\n]*$", re.M | re.S)
CODE = re.compile(r"`[^`]*`")
EQUATION = re.compile(r"^(    .*?\S) {4,}(\(\d+\))$", re.M)
"""A formula and its number, which stands at the page's right edge: further out than the site is wide."""


class BrokenLink(ValueError):
    """A link of a page leads nowhere."""


def pages() -> dict[str, str]:
    """Every page from the repository's root -> its place in the site, both with slashes."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    own = [p.relative_to(ROOT / "docs").as_posix() for p in found if "_build" not in p.parts]
    return {f"docs/{name}": name for name in own} | BESIDE


def links(text: str) -> list[tuple[int, int, re.Match[str]]]:
    """The links of a page outside its code: (begin, end, match)."""
    blank: Callable[[re.Match[str]], str] = lambda m: re.sub(r"[^\n]", "\0", m[0])  # noqa: E731
    return [(m.start(), m.end(), m) for m in LINK.finditer(CODE.sub(blank, FENCED.sub(blank, text)))]


def target(page: str, address: str) -> tuple[str, str] | None:
    """Where a link of `page` leads: (file or folder from the root, '#anchor' or ''); None for one out of the project.

    Raises `BrokenLink` where there is nothing.
    """
    if re.match(r"[a-z][a-z+.-]*:", address) or address.startswith("#"):
        return None
    path, mark, anchor = address.partition("#")
    found = os.path.normpath(os.path.join(os.path.dirname(page), path)).replace(os.sep, "/")
    if found.startswith("..") or not (ROOT / found).exists():
        raise BrokenLink(f"{page}: the link to {address!r} leads nowhere; expected a file of the repository")
    return found, mark + anchor


def rewritten(page: str, text: str, known: dict[str, str]) -> tuple[str, list[str]]:
    """A page's text with its links as the site's own, and the files that have to travel with it."""
    place, parts, last, files = known[page], [], 0, []
    for begin, end, _ in links(text):
        match = LINK.fullmatch(text, begin, end)
        assert match is not None
        parts.append(text[last:begin])
        last = end
        try:
            found = target(page, match[3])
        except BrokenLink:
            if not match[1]:
                raise
            parts.append(f"*{match[2]}: not drawn yet*")
            continue
        if found is None:
            parts.append(match[0])
            continue
        path, anchor = found
        if path in known:
            to = known[path]
        elif (ROOT / path).is_file():
            to = f"files/{path}"
            files.append(path)
        else:  # a folder: it has no page
            parts.append(match[2])
            continue
        away = os.path.relpath(to, os.path.dirname(place) or ".").replace(os.sep, "/")
        parts.append(f"{match[1]}[{match[2]}]({away}{anchor})")
    return "".join(parts) + text[last:], files


def contents(places: set[str]) -> str:
    """The trees of pages, by section: what the index ends with."""
    named = {name for section in SECTIONS.values() for name in section}
    others = sorted(places - named - {"index"})
    trees = []
    for section, names in SECTIONS.items():
        own = [name for name in names if name in places] + (others if section == UNNAMED else [])
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {section}\n\n" + "\n".join(own) + "\n```\n")
    return "\n".join(trees)


def generate(out: Path) -> None:
    """Write the sources of the site into `out`, which is made anew. Raises `BrokenLink`."""
    shutil.rmtree(out, ignore_errors=True)
    known, texts = pages(), _reference.pages()
    travelling: set[str] = set()
    for page, place in known.items():
        text = EQUATION.sub(r"\1   \2", (ROOT / page).read_text(encoding="utf-8"))
        texts[place], files = rewritten(page, text, known)
        travelling |= set(files)
    texts["index.md"] += "\n" + contents({name.removesuffix(".md") for name in texts})
    for place, text in texts.items():
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_text(text, encoding="utf-8")
    for path in travelling:
        (out / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, out / "files" / path)


if __name__ == "__main__":
    try:
        generate(Path(sys.argv[1]))
    except BrokenLink as error:
        sys.exit(str(error))
