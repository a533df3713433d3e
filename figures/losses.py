"""What each method keeps of its teacher's pairing: the table of docs/losses.md.

    for m in dmd1 dmd2 dmd2-gan sid f-distill drifting; do
        dmdlab sweep --preset $m law.dim=8 'student.init=["teacher","rotated"]' 'seed=[0,1,2]' --out runs/methods
    done
    .venv/bin/python figures/losses.py

Keeps what runs/methods holds, where it is there, as losses.json beside this file, and makes the table from that.
"""

from collections.abc import Sequence
from pathlib import Path

from answers_kept import kept, read
from tables import listed, replaced, seeds, table

from dmdlab.pairing.words import number
from dmdlab.records.cells import SHORT, cell_value, cells
from dmdlab.records.record import INITS, Record, load_records

HERE = Path(__file__).resolve().parent
RUNS, KEPT, GUIDE = HERE.parent / "runs" / "methods", HERE / "losses.json", HERE.parent / "docs" / "losses.md"
TERMS = {"regression": "dmd1", "f_distill": "f-distill", "gan": "dmd2-gan", "sid": "sid", "drifting": "drifting"}
"""The presets by the term that tells them, f-distill before the GAN that it has, too; dmd2 has none."""
ORDER = ("dmd1", "dmd2", "dmd2-gan", "sid", "f-distill", "drifting")
MEASURES = ("remap_angle", "own_angle", "fidelity", "variance_ratio", "delta_e", "delta_e_ceiling")


def preset(record: Record) -> str:
    """The preset that a run was made by."""
    return next((name for term, name in TERMS.items() if record.settings.get(f"terms.{term}.weight")), "dmd2")


def table_lines(records: Sequence[Record]) -> list[str]:
    """The table in Markdown: a row a cell, mean and 95 % interval over seeds."""
    found = sorted(cells(records), key=lambda cell: (ORDER.index(preset(cell.records[0])), INITS.index(cell.init)))
    rows = [[f"`{preset(cell.records[0])}`", cell.init, *(cell_value(cell, key) for key in MEASURES)] for cell in found]
    minutes = sum(float(record.row["seconds"] or 0) for record in records) / 60
    made = (
        f"On {listed(records, 'hardware')}; commit {listed(records, 'commit')}; {seeds(records)}; "
        f"n = {listed(records, 'measure.samples')}, K = {listed(records, 'teacher.steps')}; student.learning_rate "
        f"{listed(records, 'student.learning_rate')}. {number(round(minutes))} core-minutes."
    )
    return [*table(["preset", "start", *(SHORT.get(key, key) for key in MEASURES)], rows), "", made]


def page(text: str, records: Sequence[Record]) -> str:
    """docs/losses.md with its table."""
    return replaced(text, "methods", table_lines(records))


def main() -> None:
    """Keep what is there, and write the table."""
    if (RUNS / "runs").is_dir():
        KEPT.write_text(kept(load_records(RUNS)), encoding="utf-8")
    GUIDE.write_text(page(GUIDE.read_text(encoding="utf-8"), read(KEPT)), encoding="utf-8")


if __name__ == "__main__":
    main()
