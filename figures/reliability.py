"""The table of docs/reliability.md, out of the kept counts of a chaos run: `python figures/reliability.py`.

The counts are what `DMDLAB_CHAOS_RESULTS=FILE python -m pytest -m chaos` appends to FILE, a line of JSON for each test;
`python figures/reliability.py FILE` takes them over, with this machine's hardware and today's commit.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tables import replaced, table

ROOT = Path(__file__).parents[1]
KEPT, PAGE = ROOT / "figures" / "reliability.json", ROOT / "docs" / "reliability.md"
HEADS = {"injected": "injected", "lost": "runs lost", "duplicated": "runs twice"}
COMMAND = "DMDLAB_CHAOS_RESULTS=FILE python -m pytest -m chaos -n 0"

Row = Mapping[str, Any]


def counts_lines(kept: Mapping[str, Any]) -> list[str]:
    """The counts as Markdown."""
    faults = [row for row in kept["tests"] if "injected" in row]

    def total(key: str) -> int:
        return sum(row[key] for row in faults)

    rows = [[row["test"], row["what"], *(str(row[key]) for key in HEADS)] for row in faults]
    lines = [
        f"Command: `{kept['command']}`. Hardware: {kept['hardware']}. Commit {kept['commit']}.",
        "",
        *table(["fault", "what is done", *HEADS.values()], [*rows, ["all", "", *(str(total(key)) for key in HEADS)]]),
    ]
    for row in kept["tests"]:
        if "readers" in row:
            lines += ["", *_fuzzed(row)]
    return lines


def _fuzzed(row: Row) -> list[str]:
    read = {name: counts.get("read", 0) for name, counts in row["readers"].items()}
    refused = {name: counts.get("refused", 0) for name, counts in row["readers"].items()}
    return [
        f"Damaged files: {row['cases']} cases, {sum(refused.values())} refused in a sentence, {sum(read.values())} "
        "read, or passed over where a store is read that holds other runs; none ended in another error, took longer "
        "than 5 s or more than 1 GiB, or wrote anything beside.",
        "",
        *table(["reader", "refused", "read"], [[n, str(refused[n]), str(read[n])] for n in row["readers"]]),
    ]


def page(text: str, kept: Mapping[str, Any]) -> str:
    """The page with the table of these counts in it."""
    return replaced(text, "counts", ["", *counts_lines(kept), ""])


def taken_over(lines: Sequence[str]) -> dict[str, Any]:
    """What is kept of a run's lines: the last of each test."""
    tests = {row["test"]: row for row in map(json.loads, lines)}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    hardware = f"{_processor()}, {os.cpu_count()} threads, {platform.system()}, Python {platform.python_version()}"
    return {"command": COMMAND, "hardware": hardware, "commit": commit.stdout.strip(), "tests": list(tests.values())}


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in about.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main(words: Sequence[str]) -> None:
    if words:
        kept = taken_over(Path(words[0]).read_text(encoding="utf-8").splitlines())
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
