"""The pages of the project and the code in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.M | re.S)
HISTORY = ("docs/log.md", "CHANGELOG.md")
"""Pages that tell what was done at a time, by the commands of that time."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page: its language ('' where it names none), its text, the line that it begins in."""

    page: str
    language: str
    text: str
    line: int


def pages() -> list[str]:
    """README and every page of docs, but for the histories, from the root."""
    found = [p.relative_to(ROOT).as_posix() for p in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in p.parts]
    return ["README.md", "CONTRIBUTING.md", *(name for name in found if name not in HISTORY)]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str = "") -> list[Block]:
    """The blocks of all pages, those of one language or all."""
    found = []
    for page in pages():
        text = read(page)
        for match in FENCED.finditer(text):
            if language in ("", match[1]):
                found.append(Block(page, match[1], match[2], text[: match.start()].count("\n") + 2))
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each `dmdlab` or `make` command of a block of shell or of no language, without comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in line.removeprefix("$ ").split(";"):
            if re.match(r"\s*(dmdlab|make) ", part):
                words = shlex.split(part, comments=True)
                yield words[: next((i for i, word in enumerate(words) if word in ("|", "&&", ">", "2>")), len(words))]
