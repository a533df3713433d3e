"""Tables in Markdown, written between two markers of a page; how they were made."""

from collections.abc import Sequence
from pathlib import Path

from dmdlab.pairing.words import number, table
from dmdlab.records.record import Record

__all__ = ["listed", "made_by", "replace", "replaced", "seeds", "table"]


def replaced(text: str, name: str, lines: Sequence[str]) -> str:
    """The page's `text` with these lines between its markers <!-- name --> and <!-- end of name -->."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    return "\n".join([before + begin, *lines, end + rest.split(end)[1]])


def replace(page: Path, name: str, lines: Sequence[str]) -> None:
    """The same, in the file."""
    page.write_text(replaced(page.read_text(encoding="utf-8"), name, lines), encoding="utf-8")


def listed(records: Sequence[Record], key: str) -> str:
    """The values of a column in words, each once: '16', '2e-4, 5e-4'."""
    return ", ".join(
        sorted({number(r.row[key]) if isinstance(r.row[key], float) else str(r.row[key]) for r in records})
    )


def seeds(records: Sequence[Record]) -> str:
    """'seeds 0 to 3'."""
    found = sorted({int(r.row["seed"]) for r in records})
    return f"seeds {found[0]} to {found[-1]}"


def made_by(name: str, records: Sequence[Record], out: str = "") -> str:
    """How the runs of experiments/<name>.toml were made, and how many of their teachers are flagged. Files of pictures
    are the reader's own; out: the folder in which a script looks for the runs, where a sweep would choose another."""
    flagged = sum(not record.teacher_ok for record in records)
    words = ["law.path=..."] if any(record.config["law.name"] == "images" for record in records) else []
    words += ["law.labels=..."] if words and any(record.config["teacher.condition"] for record in records) else []
    command = " ".join([f"dmdlab sweep experiments/{name}.toml", *words, *([f"--out {out}"] if out else [])])
    return (
        f"`{command}` on {listed(records, 'hardware')}; commit {listed(records, 'commit')}; "
        f"{seeds(records)}; n = {listed(records, 'measure.samples')}, K = {listed(records, 'teacher.steps')}. "
        f"Teachers of {flagged} of {len(records)} runs failed their own check."
    )
