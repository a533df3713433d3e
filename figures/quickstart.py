"""Figure 1 of the README: copying against dimension, from the quickstart sweep, and the table under it.

    make demo && .venv/bin/python figures/quickstart.py

Reads runs/quickstart; writes quickstart.pdf, .png, .txt (the caption) and .csv (every number) beside this file, and the
table into the README between its two markers.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from dmdlab.plots import save_plot
from dmdlab.records.cells import CELL_METRICS, cell_value, cells
from dmdlab.records.record import Record, load_records

HERE = Path(__file__).resolve().parent
RUNS, README = HERE.parent / "runs" / "quickstart", HERE.parent / "README.md"
BEGIN, END = "<!-- quickstart table -->", "<!-- end of quickstart table -->"


def table_lines(records: Sequence[Record]) -> list[str]:
    """The table in Markdown: a row a cell, mean and half the 95 % interval over seeds."""
    head = ["d", "init", *CELL_METRICS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for cell in cells(records):
        values = [cell_value(cell, metric) for metric in CELL_METRICS]
        lines.append("| " + " | ".join([str(cell.dim), cell.init, *values]) + " |")
    hardware, commits = (", ".join(sorted({str(r.row[key]) for r in records})) for key in ("hardware", "commit"))
    seeds, first = sorted({r.row["seed"] for r in records}), records[0].row
    made = f"`make demo` on {hardware}; commit {commits}; seeds {seeds[0]} to {seeds[-1]}; "
    return [*lines, "", f"{made}n = {first['measure.samples']}, K = {first['teacher.steps']}."]


def main() -> None:
    """Write the figure, its caption, its numbers and the README's table."""
    records = load_records(RUNS)
    save_plot("dimension", records, HERE / "quickstart")
    with (HERE / "quickstart.csv").open("w", newline="") as file:
        columns = list(dict.fromkeys(key for r in records for key in r.row))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(r.row for r in records)
    before, rest = README.read_text().split(BEGIN)
    README.write_text("\n".join([before + BEGIN, *table_lines(records), END + rest.split(END)[1]]))


if __name__ == "__main__":
    main()
