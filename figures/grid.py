"""Start or gradient: the figure and tables of docs/start-or-gradient.md.

    dmdlab sweep experiments/grid.toml --out runs/grid        # and grid-manifold.toml to runs/grid-manifold
    .venv/bin/python figures/grid.py

Keeps what the runs hold, where they are there, as grid*.json beside this file, and makes everything else from these:
grid.pdf, .png, .txt (the caption), and the tables. Experiments not run are named.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from answers_kept import kept, read
from answers_numbers import near
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from tables import made_by, replaced, seeds, table

from dmdlab.pairing.law import CONVENTION
from dmdlab.pairing.words import number
from dmdlab.plots import captions
from dmdlab.plots.style import GREY, INIT_STYLES, PAPER, Drawing, new_figure, save
from dmdlab.records.cells import SHORT, Cell, cell_value, cells, records_of
from dmdlab.records.record import INITS, Record, load_records

HERE = Path(__file__).resolve().parent
RUNS, GUIDE = HERE.parent / "runs", HERE.parent / "docs" / "start-or-gradient.md"
EXPERIMENTS = ("grid", "grid-manifold")
GRADIENTS = {"sid": "SiD", "drifting": "drifting", "gan": "GAN alone", "regression": "DMD + regression"}
"""By the term that tells them; DMD has none."""
NAMES = ("DMD", *GRADIENTS.values())
SILENT = ("DMD", "SiD", "drifting")
"""Those that ask for no pairing and come near the law; chosen after the runs had been seen."""
MEASURES = ("fidelity", "variance_ratio", "delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "remap_angle")
MEASURES = (*MEASURES, "own_angle", "local_cosine")
LIMITS = {key: f"{low:g} to {high:g}" for key, (low, high) in CONVENTION.items()}
CAPTION = (
    "What decides which noise becomes which data: where the student starts (marks), or what trains it (along x)? Upper "
    "row: the calibrated angle to the teacher's pairing; lower row: to the pairing that the student's own start has (a "
    "rotated start: the rotated teacher's; another seed's teacher: that one's; a random start: the map that it begins "
    f"with). Marks: means over seeds with 95 % t-intervals, dots: the seeds; hollow: fidelity outside "
    f"{LIMITS['fidelity']} or variance ratio outside {LIMITS['variance_ratio']}. 90 degrees, for 90 and more: nothing "
    "is left. DMD + pairs: DMD with a regression on the teacher's own pairs."
)


def gradient(record: Record) -> str:
    """What trained the student, in words."""
    return next((name for term, name in GRADIENTS.items() if record.settings.get(f"terms.{term}.weight")), "DMD")


def law(cell: Cell) -> str:
    """The law of a cell, with its dimension."""
    return f"{cell.law}, d = {cell.dim}"


def grid_figure(found: Sequence[Cell]) -> Drawing:
    """A column for each law."""
    laws = list(dict.fromkeys(map(law, found)))
    with new_figure(PAPER.double, 2 * 2.2, PAPER) as figure:
        panels = figure.subplots(2, len(laws), sharex=True, sharey=True, squeeze=False)
        for column, name in enumerate(laws):
            own = [cell for cell in found if law(cell) == name]
            panels[0][column].set_title(name)
            for row, key in enumerate(("remap_angle", "own_angle")):
                _panel(panels[row][column], own, key)
        panels[0][0].set_ylabel("angle to the teacher's\npairing, degrees")
        panels[1][0].set_ylabel("angle to the start's own\npairing, degrees")
        handles, _ = panels[0][0].get_legend_handles_labels()
        if not all(map(near, found)):
            handles.append(Line2D([], [], marker="o", color="black", mfc="white", ls="", label="another law"))
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    records = records_of(found)
    return Drawing(
        figure,
        f"{CAPTION} {seeds(records).capitalize()}. {captions.flagged(records)}"
        f"{captions.setup(records)} {captions.made_on(records)}",
    )


def _panel(axes: Axes, found: Sequence[Cell], key: str) -> None:
    for place, init in enumerate(INITS):
        own = [cell for cell in found if cell.init == init]
        for cell in own:
            _mark(axes, NAMES.index(gradient(cell.records[0])) + 0.18 * (_order(found, init) - 1.5), cell, key)
        if own:
            style = INIT_STYLES[init]
            axes.plot([], [], style.marker, color=style.colour, label=style.label, zorder=place)
    axes.set_xticks(range(len(NAMES)), ["DMD", "SiD", "drifting", "GAN\nalone", "DMD +\npairs"], fontsize=7)
    axes.set_ylim(0, 93)
    axes.set_yticks([0, 30, 60, 90])
    axes.axhline(90, color=GREY, lw=0.6, ls=":")


def _order(found: Sequence[Cell], init: str) -> int:
    held = {cell.init for cell in found}
    return [name for name in INITS if name in held].index(init)


def _mark(axes: Axes, x: float, cell: Cell, key: str) -> None:
    own, style = cell.interval(key), INIT_STYLES[cell.init]
    if not math.isfinite(own.mean):
        return
    low, high = (min(90.0, max(0.0, end)) if math.isfinite(end) else own.mean for end in (own.low, own.high))
    axes.plot([x, x], [low, high], color=style.colour, lw=0.8, zorder=2)
    axes.plot(np.full(len(values := cell.column(key)), x), values, ".", color=style.colour, ms=1.5, zorder=2)
    axes.plot(x, own.mean, style.marker, color=style.colour, mfc=style.colour if near(cell) else "white", zorder=3)


def shares(found: Sequence[Cell], key: str = "pair_cosine") -> tuple[float, float, float, float]:
    """Of the sum of squares of `key` over all runs: the shares of starts, of gradients, of both together beyond their
    sum, and of seeds (two-way, balanced). NaN where a cell has not as many seeds as the others."""
    inits = list(dict.fromkeys(cell.init for cell in found))
    kinds = list(dict.fromkeys(gradient(cell.records[0]) for cell in found))
    columns = {(cell.init, gradient(cell.records[0])): cell.column(key) for cell in found}
    sizes = {len(values) for values in columns.values()}
    if len(columns) != len(inits) * len(kinds) or len(sizes) != 1 or 0 in sizes:
        return (math.nan,) * 4
    x = np.array([[columns[init, kind] for kind in kinds] for init in inits])  # (starts, gradients, seeds)
    means = x.mean(axis=2, keepdims=True)
    of_start, of_kind = means.mean(axis=1, keepdims=True) - x.mean(), means.mean(axis=0, keepdims=True) - x.mean()
    both, seeds = means - x.mean() - of_start - of_kind, x - means
    total = float(((x - x.mean()) ** 2).sum())
    parts = (np.broadcast_to(part, x.shape) for part in (of_start, of_kind, both, seeds))
    return tuple(float((part**2).sum()) / total for part in parts)  # type: ignore[return-value]


def share_lines(found: Sequence[Cell]) -> list[str]:
    """`shares` for each law, of the pairing with the teacher and of the start's own, by all gradients and `SILENT`."""
    rows = []
    for name in dict.fromkeys(map(law, found)):
        own = [cell for cell in found if law(cell) == name]
        silent = [cell for cell in own if gradient(cell.records[0]) in SILENT]
        for kinds, held in (("all five", own), (", ".join(SILENT), silent)):
            for key, said in (("pair_cosine", "the teacher's"), ("own_pair_cosine", "the start's own")):
                rows.append([name, kinds, said, *(f"{100 * share:.0f} %" for share in shares(held, key))])
    return table(["law", "gradients", "pairing", "start", "gradient", "both together", "seeds"], rows)


def cell_lines(name: str, records: Sequence[Record]) -> list[str]:
    """Every cell of an experiment, and how it was made."""
    rows = [
        [law(cell), gradient(cell.records[0]), cell.init, f"{len(cell.records) - cell.failed}"]
        + [cell_value(cell, key) for key in MEASURES]
        for cell in cells(records)
    ]
    minutes = sum(float(r.row["seconds"] or 0) for r in records) / 60
    head = ["law", "gradient", "start", "seeds", *(SHORT.get(key, key) for key in MEASURES)]
    return [*table(head, rows), "", made_by(name, records) + f" {number(round(minutes))} core-minutes."]


def stored() -> dict[str, list[Record]]:
    """The kept experiments."""
    paths = {name: HERE / f"{name}.json" for name in EXPERIMENTS}
    return {name: read(path) for name, path in paths.items() if path.is_file()}


def page(found: dict[str, list[Record]], text: str) -> str:
    """The page with its tables."""
    text = replaced(text, "shares", share_lines([cell for own in found.values() for cell in cells(own)]))
    for name in EXPERIMENTS:
        text = replaced(text, name, cell_lines(name, found[name]) if name in found else ["Not run yet."])
    return text


def main() -> None:
    """Keep what is there, and write figure and page."""
    for name in EXPERIMENTS:
        if (RUNS / name / "runs").is_dir():
            (HERE / f"{name}.json").write_text(kept(load_records(RUNS / name)), encoding="utf-8")
    found = stored()
    GUIDE.write_text(page(found, GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    save(grid_figure([cell for own in found.values() for cell in cells(own)]), HERE / "grid")


if __name__ == "__main__":
    main()
