"""Figure 1 of the README: copying against dimension, from the quickstart sweep, and the table under it.

    make demo && .venv/bin/python figures/quickstart.py

Reads runs/quickstart; writes quickstart.pdf, .png, .txt (the caption), -numbers.csv (its marks) and .csv (every number)
beside this file, and the table into the README between its two markers.
"""

from collections.abc import Sequence
from pathlib import Path

from tables import listed, replace, seeds, table

from dmdlab.plots import save_plot
from dmdlab.records.cells import CELL_METRICS, cell_value, cells
from dmdlab.records.record import Record, load_records
from dmdlab.records.writing import write_csv

HERE = Path(__file__).resolve().parent
RUNS, README = HERE.parent / "runs" / "quickstart", HERE.parent / "README.md"


def table_lines(records: Sequence[Record]) -> list[str]:
    """The table in Markdown: a row a cell, mean and 95 % interval over seeds."""
    head = ["d", "init", *CELL_METRICS]
    rows = [[str(cell.dim), cell.init, *(cell_value(cell, key) for key in CELL_METRICS)] for cell in cells(records)]
    first, made = records[0].row, f"`make demo` on {listed(records, 'hardware')}; commit {listed(records, 'commit')}; "
    return [
        *table(head, rows),
        "",
        f"{made}{seeds(records)}; n = {first['measure.samples']}, K = {first['teacher.steps']}.",
    ]


def main() -> None:
    """Write the figure, its caption, its numbers and the README's table."""
    records = load_records(RUNS)
    save_plot("dimension", records, HERE / "quickstart")
    write_csv(HERE / "quickstart.csv", [record.row for record in records])
    replace(README, "quickstart table", table_lines(records))


if __name__ == "__main__":
    main()
