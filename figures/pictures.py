"""The experiments on pictures: a figure and a table for each, into docs/pictures.md.

    dmdlab sweep experiments/manifold.toml      # and mnist, teacher-age, architecture, classes: each file says how
    dmdlab sweep experiments/mnist.toml law.path=... 'seed=[100,101,102]' --out runs/mnist-new-seeds
    dmdlab sweep experiments/mnist.toml law.path=... student.init=teacher --out runs/mnist-again
    dmdlab sweep experiments/mnist.toml law.path=... 'seed={start=103, stop=109}' student.init=teacher \
        --out runs/mnist-more-seeds
    dmdlab sweep experiments/mnist.toml law.path=... 'seed={start=103, stop=109}' student.init=rotated \
        student.learning_rate=5e-4 --out runs/mnist-more-seeds
    dmdlab sweep experiments/mnist.toml law.path=... 'seed={start=103, stop=109}' student.init=rotated \
        'student.learning_rate=[2e-4, 2e-3]' --out runs/mnist-more-seeds
    .venv/bin/python figures/pictures.py

Reads runs/<experiment> where it is there; writes <experiment>.pdf, .png, .txt (the caption) and .csv (every number)
beside this file, mnist-pictures.* from the MNIST sweep, and each table into the guide between its two markers. What
MNIST's seeds say together (mnist_seeds.py) comes from their csv files, whether runs are there or not.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mnist_seeds import AGAIN, MORE_SEEDS, NEW_SEEDS, seeds_figure, seeds_table
from tables import listed, made_by, replace, table

from dmdlab.config import without_places
from dmdlab.pairing import Calibration
from dmdlab.pairing.words import number
from dmdlab.plots import save_plot
from dmdlab.plots.axis import Choice
from dmdlab.plots.style import save
from dmdlab.records.cells import SHORT, Cell, cell_value, cells
from dmdlab.records.record import INITS, Record, load_records
from dmdlab.records.writing import write_csv

HERE = Path(__file__).resolve().parent
RUNS, GUIDE = HERE.parent / "runs", HERE.parent / "docs" / "pictures.md"
EXPERIMENTS = {
    "manifold": ("law.side",),
    "mnist": ("student.learning_rate",),
    "architecture": ("network.kind",),
    "teacher-age": ("teacher.snapshot",),
    "classes": ("teacher.condition",),
}
"""The sweeps, and the settings that tell their lines apart, the start besides."""

MEASURES = ("delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "pair_cosine_gaussian", "local_cosine")
MEASURES = (*MEASURES, "remap_angle", "fidelity", "variance_ratio")
SHOWN = ("delta_e", "pair_cosine", "remap_angle", "local_cosine")
PLANTED = (30.0, 60.0)


def planted(cell: Cell) -> str:
    """What pair_cosine reads for the teacher after planted turns, the mean over the seeds' calibrations."""
    held: list[Calibration] = [c for record in cell.records if record.done and (c := record.calibration()) is not None]
    return " / ".join(number(float(np.mean([c.at("pair_cosine", angle) for c in held]))) for angle in PLANTED)


def table_lines(records: Sequence[Record], keys: Sequence[str], name: str) -> list[str]:
    """The table in Markdown: a row a cell, mean and 95 % interval over seeds."""
    within = [key for key in ("within_pair_cosine", "within_copy_index") if any(r.row.get(key) for r in records)]
    turns = " / ".join(f"{angle:g}" for angle in PLANTED)
    head = [*(SHORT.get(key, key) for key in keys), "init", *MEASURES, *within, f"pair_cosine turned {turns} degrees"]
    rows = []
    for cell in sorted(cells(records), key=lambda cell: (INITS.index(cell.init), *map(cell.value, keys))):
        values = [number(cell.records[0].config.get(key)) for key in keys]
        rows.append([*values, cell.init, *(cell_value(cell, key) for key in (*MEASURES, *within)), planted(cell)])
    made = made_by(name, records) + f" student.learning_rate {listed(records, 'student.learning_rate')}."
    return [*table(head, rows), "", made]


def keep(name: str, records: Sequence[Record]) -> None:
    """Write <name>.csv, with the highest pair_cosine of each training; where somebody's files lay is nobody else's
    matter."""
    rows = [without_places(record.row) | {"pair_cosine_highest": highest(record)} for record in records]
    write_csv(HERE / f"{name}.csv", rows)


def highest(record: Record) -> float | None:
    """The highest pair_cosine at a checkpoint of a finished training."""
    return float(np.max(record.curve()["pair_cosine"])) if record.done else None


def main() -> None:
    """Write what the folders below runs/ allow."""
    for name, keys in EXPERIMENTS.items():
        if not (RUNS / name).is_dir():
            continue
        records = load_records(RUNS / name)
        save_plot("axis", records, HERE / name, choice=Choice(x=keys[0], measures=SHOWN))
        if name == "mnist":
            copies = [record for record in records if record.config["student.init"] == "teacher"]
            save_plot("pictures", copies, HERE / "mnist-pictures")
        keep(name, records)
        replace(GUIDE, f"table {name}", table_lines(records, keys, name))
    for name in (AGAIN, NEW_SEEDS, MORE_SEEDS):
        if (RUNS / name).is_dir():
            keep(name, load_records(RUNS / name))
    replace(GUIDE, "seeds mnist", seeds_table())
    save(seeds_figure(), HERE / "mnist-seeds")


if __name__ == "__main__":
    main()
