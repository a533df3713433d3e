"""The experiments on pictures: a figure and a table for each, into docs/pictures.md.

    dmdlab sweep experiments/manifold.toml      # and mnist, teacher-age, architecture, classes: each file says how
    dmdlab sweep experiments/mnist.toml law.path=... 'seed=[100,101,102]' --out runs/mnist-new-seeds
    dmdlab sweep experiments/mnist.toml law.path=... student.init=teacher --out runs/mnist-again
    .venv/bin/python figures/pictures.py

Reads runs/<experiment> where it is there; writes <experiment>.pdf, .png, .txt (the caption) and .csv (every number)
this file, mnist-pictures.* from the MNIST sweep, and each table into the guide between its two markers. The first
seeds of MNIST, the same at a later commit, and new ones are set beside each other by their csv files, whether runs
are there or not.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tables import made_by, replace, table, told

from dmdlab.config import without_places
from dmdlab.pairing import Calibration, mean_interval
from dmdlab.pairing.statistics import paired_difference
from dmdlab.pairing.words import interval, number
from dmdlab.plots import save_plot
from dmdlab.plots.axis import Choice
from dmdlab.records.cells import SHORT, Cell, cell_value, cells
from dmdlab.records.record import INITS, Record, load_records

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

AGAIN, NEW_SEEDS = "mnist-again", "mnist-new-seeds"
"""The MNIST sweep's teacher starts once more, at a commit that sums in another order; the sweep with other seeds."""

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
    made = made_by(name, records) + f" student.learning_rate {told(records, 'student.learning_rate')}."
    return [*table(head, rows), "", made]


def kept(name: str) -> list[dict[str, str]]:
    """The rows of <name>.csv."""
    with (HERE / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def keep(name: str, records: Sequence[Record]) -> None:
    """Write <name>.csv."""
    with (HERE / f"{name}.csv").open("w", newline="") as file:
        rows = [without_places(r.row) for r in records]  # where somebody's files lay is nobody else's matter
        writer = csv.DictWriter(file, dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def seeds_table() -> list[str]:
    """The calibrated angle on MNIST by learning rate: of the sweep's seeds, of the same at a later commit, of new ones,
    and of both the latter; differences between two rates, paired over seeds; and what rotated starts read."""
    groups = [kept("mnist"), kept(AGAIN), kept(NEW_SEEDS)]
    groups.append(groups[1] + groups[2])
    angles = {start: [angles_of(group, start) for group in groups] for start in ("teacher", "rotated")}
    rates = sorted({rate for rate, _ in angles["teacher"][0]})

    def of(rate: float) -> list[list[float]]:
        """A value a seed, NaN for one that lacks it, so that differences are of the same seeds."""
        seeds = [sorted({seed for _, seed in found}) for found in angles["teacher"]]
        return [[f.get((rate, s), np.nan) for s in own] for f, own in zip(angles["teacher"], seeds, strict=True)]

    rows = []
    for rate in rates:
        found = [mean_interval(values) for values in of(rate)]
        rows.append([number(rate), *(interval(f.mean, f.low, f.high) for f in found)])
    for a, b in ((rates[1], rates[0]), (rates[2], rates[1]), (rates[2], rates[0])):
        found = [paired_difference(x, y) for x, y in zip(of(a), of(b), strict=True)]
        rows.append([f"{number(a)} less {number(b)}", *(f"{f.mean:.1f} ({f.low:.1f} to {f.high:.1f})" for f in found)])
    rows.append(["rotated starts, all rates", *(least_and_most(list(own.values())) for own in angles["rotated"])])
    names = [
        f"seeds {', '.join(sorted({row['seed'] for row in group}, key=int))}; {' and '.join(commits(group))}"
        for group in groups[:3]
    ]
    return table(["student.learning_rate", *names, "the two columns before"], rows)


def angles_of(rows: Sequence[Mapping[str, str]], start: str) -> dict[tuple[float, str], float]:
    """The calibrated angle by learning rate and seed, of students of this start; NaN where it is unresolved."""
    own = [row for row in rows if row["student.init"] == start]
    return {(float(r["student.learning_rate"]), r["seed"]): float(r["remap_angle"] or "nan") for r in own}


def commits(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Those that runs were trained at, in seven digits."""
    return sorted({row["commit"][:7] for row in rows})


def least_and_most(values: Sequence[float]) -> str:
    """Both in words, and how many are unresolved."""
    resolved = [value for value in values if not np.isnan(value)]
    lacking = len(values) - len(resolved)
    if not resolved:
        return "not trained"
    return f"{min(resolved):.1f} to {max(resolved):.1f}" + (f", {lacking} unresolved" if lacking else "")


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
    for name in (AGAIN, NEW_SEEDS):
        if (RUNS / name).is_dir():
            keep(name, load_records(RUNS / name))
    replace(GUIDE, "seeds mnist", seeds_table())


if __name__ == "__main__":
    main()
