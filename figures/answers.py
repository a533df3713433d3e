"""First answers: the figure of docs/answers.md, its tables, and every cell in docs/answers-cells.md.

    dmdlab sweep experiments/answers/starts.toml --out runs/answers/starts      # and the others: each file says how
    .venv/bin/python figures/answers.py

Keeps what runs/answers/<experiment> holds, where it is there, as answers-<experiment>.json beside this file, and makes
everything else from these: answers.pdf, .png, .txt (the caption), answers-dimension and answers-networks likewise, and
the tables. Experiments not run are named.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from answers_controls import CONTROLS, control_lines, geometry_lines
from answers_dimension import FITTED, OF_DIMENSION, dimension_lines, fitted_lines
from answers_dimension_figure import dimension_figure
from answers_figure import answers_figure
from answers_kept import kept, read
from answers_networks import (
    BETWEEN,
    CUT,
    LENGTHS,
    OF_NETWORKS,
    against_lines,
    fitted_network_lines,
    from_fits,
    from_one_step,
    length_lines,
    network_lines,
    networks_figure,
)
from answers_numbers import (
    Contrast,
    Powers,
    angle_of,
    by_keys,
    contrast,
    corrected,
    ends,
    in_words,
    more_lost,
    near,
    powers_of,
    predicted,
    ratios,
    share_lost,
    steps,
)
from answers_score import rate_contrasts, ratio_to_shared
from tables import made_by, replaced, table

from dmdlab.pairing.words import ends as with_ends
from dmdlab.pairing.words import number, percent
from dmdlab.plots.style import save
from dmdlab.records.cells import SHORT, Cell, cell_value, cells, short
from dmdlab.records.record import Record, load_records

HERE = Path(__file__).resolve().parent
RUNS, DOCS = HERE.parent / "runs" / "answers", HERE.parent / "docs"
EXPERIMENTS = {
    "rate-length-batch": "1a",
    "rate-controls": "1a",
    "large-rate-controls": "1a",
    "dimension-again": "1a",
    "dimension-regressed": "1a",
    "dimension-at-law": "1a",
    "dimension-equal-starts": "1a",
    "linear-exact": "1b",
    "linear-trained": "1b",
    "linear-adam": "1b",
    "linear-estimated": "1b",
    "schedule": "1b",
    "linear-controls": "1b",
    "whose-noise": "1b",
    "pictures": "2",
    "architecture-quality": "2",
    "architecture-regressed": "2",
    "architecture-between": "2",
    "architecture-longer": "2",
    "fit-length": "2",
    "digits": "2, 3",
    "starts": "3",
    "conserved": "P5",
    "noise-controls": "1b, P5",
    "intrinsic": "4",
    "ambient": "4",
    "geometry-controls": "4",
    "corner": "5",
}
"""The sweeps in experiments/answers, and the rows of the page that they answer."""

LINEAR = ("linear-exact", "linear-trained", "linear-estimated", "linear-adam", "schedule")
PRESERVING, BETTER = ("turned", "twisted", "rotated", "other"), ("regressed", "transport")
"""Starts that keep the prior, and those that are fitted to pairs and so at the law: two families of contrasts."""

MEASURES = ("fidelity", "variance_ratio", "delta_e", "delta_e_ceiling", "pair_cosine", "remap_angle", "local_cosine")
MEASURES = (*MEASURES, "student_weight_movement", "student_kernel_change")
HEADS = SHORT | {"student_weight_movement": "weights moved", "student_kernel_change": "kernel change"}


def cell_lines(name: str, records: Sequence[Record]) -> list[str]:
    """Every cell of an experiment, and how it was made."""
    found = cells(records)
    linear = all(r.config["network.kind"] == "linear" for r in records)
    own = any(record.config["student.init"] != "teacher" for record in records)
    measures = [*MEASURES, *(("own_angle", "own_pair_cosine") if own else ())]
    keys = list(found[0].keys)
    head = [*(HEADS.get(key, key.removeprefix("student.")) for key in keys), "seeds"]
    head += [HEADS.get(key, key) for key in measures] + (["Lambda", "predicted"] if linear else [])
    rows = []
    for cell in found:
        values = [short(cell.value(key)) for key in keys] + [f"{len(cell.records) - cell.failed}"]
        values += [cell_value(cell, key) for key in measures]
        if linear:
            values += [in_words(share_lost(cell)), number(predicted(cell.records[0]))]
        rows.append(values)
    minutes = sum(float(r.row["seconds"] or 0) for r in records) / 60
    made = made_by(f"answers/{name}", records, out=f"runs/answers/{name}") + f" {minutes:.0f} core-minutes."
    return [*table(head, rows), "", made]


def power_lines(found: dict[str, list[Cell]]) -> list[str]:
    """What Lambda of the mixture's students goes as, with and without a floor."""
    head = ["", "rate", "student updates", "batch", "d - 1", "cells", "scatter, by d / common"]
    own = fitted(found["rate-length-batch"])
    rows = [["fitted", *power_row(powers_of(own))]]
    without = {
        "": own,
        ", without d = 2": [cell for cell in own if cell.dim != 2],
        ", without seeds of which a teacher fails its check": of_sound_teachers(own),
    }
    for words, part in without.items():
        above = powers_of(part, floor=True)
        rows.append([f"above a floor{words}: {floors(above)}", *power_row(above)])
    return table(head, [*rows, ["*walk under Adam (P3)*", "2", "1", "0", "1", "", ""]])


def of_sound_teachers(found: Sequence[Cell]) -> list[Cell]:
    """These cells without the seeds of which a teacher fails its check in any of them."""
    failed = {r.config["seed"] for cell in found for r in cell.records if not r.teacher_ok}
    return [replace(c, records=tuple(r for r in c.records if r.config["seed"] not in failed)) for c in found]


def theory_lines(found: dict[str, list[Cell]]) -> list[str]:
    """Linear students against what theory says of them, by experiment, start and dimension."""
    head = ["experiment", "start", "d", "cells", "Lambda measured / predicted: median (range)", "nothing left"]
    rows = []
    for name in LINEAR:
        for init, dim in dict.fromkeys((cell.init, cell.dim) for cell in found.get(name, ())):
            own = [cell for cell in fitted(found[name], init) if cell.dim == dim and predicted(cell.records[0])]
            share = ratios(own)
            if own:
                rows.append([name, init, str(dim), str(len(own)), spread(share), str(len(own) - len(share))])
    return table(head, rows)


def spread(values: Sequence[float]) -> str:
    """Their median, and from where to where they go."""
    if not values:
        return "–"
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def power_row(p: Powers) -> list[str]:
    """Powers, cells and scatter."""
    exponents = [in_words(power) for power in (*p.powers, p.of_planes)]
    counted = f"{p.cells}" + (f" ({p.left_out} left out)" if p.left_out else "")
    return [*exponents, counted, f"{p.scatter:.2f} / {p.scatter_common:.2f}"]


def floors(p: Powers) -> str:
    """The floors as angles, each with its interval over seeds."""
    of = [[f"{angle_of(max(0.0, end)):.0f}" for end in ends(floor)] for floor in p.floors.values()]
    told = ", ".join(f"{middle} ({low} to {high})" for middle, low, high in of)
    return f"{told} degrees at d = {', '.join(map(str, p.floors))}"


def growth_lines(found: dict[str, list[Cell]]) -> list[str]:
    """How much more of Lambda a training four times as long loses, seed by seed, beside what theory says."""
    head = ["experiment", "d", "start", "rate", "fake-score rate", "its updates", "batch", "student updates", "more"]
    keys = ("law.dim", "student.init", "student.learning_rate", "fake_score.learning_rate", "fake_score.updates")
    keys = (*keys, "student.batch")
    rows = []
    for name in ("linear-exact", "linear-trained", "linear-estimated", "linear-adam"):
        held = by_keys(found.get(name, ()), *keys, "student.iterations")
        for place, long in held.items():
            short_run = held.get((*place[:-1], int(str(place[-1])) // 4))
            if short_run is None:
                continue
            more = more_lost(long, short_run)
            shown = [short(value) for value in place[:-1]]
            if (kind := long.value("fake_score.kind")) != "network":
                shown[3] = str(kind)
            updates = f"{steps(short_run.records[0])} to {steps(long.records[0])}"
            said = predicted(long.records[0]) - predicted(short_run.records[0])
            rows.append([name, *shown, updates, in_words(more), number(said)])
    return table([*head, "predicted"], rows)


def score_lines(found: dict[str, list[Cell]]) -> list[str]:
    """P2: how many times as much three times the fake score's rate loses, and where its condition holds."""
    head = ["d", "start", "rate", "student updates", "fake-score rates", "batch's share", "below 10 %"]
    head += ["times as much: measured", "Eqs. (10) to (12)", "shared matrices", "measured / shared matrices"]
    rows = []
    for c in rate_contrasts(found.get("linear-trained", ())):
        if c.shares is None:
            continue
        own = [short(c.slow.value(key)) for key in ("law.dim", "student.init", "student.learning_rate")]
        rates = ", ".join(short(cell.value("fake_score.learning_rate")) for cell in (c.slow, c.fast))
        batch = [share.batch for share in c.shares]
        values = [*own, str(steps(c.slow.records[0])), rates, ", ".join(map(percent, batch))]
        values += ["yes" if max(batch) < 0.1 else "no", with_ends(*ends(c.times)), f"{c.said:.3f}", number(c.shared)]
        at_law = c.slow.init == "regressed"
        rows.append([*values, ", ".join(f"{ratio_to_shared(x):.2f}" for x in (c.slow, c.fast)) if at_law else "–"])
    return table(head, rows)


def contrast_lines(head: Sequence[str], found: Sequence[Contrast]) -> list[str]:
    """Paired differences in degrees with Holm's p of their family."""
    rows = [
        [*map(short, c.name), in_words(c.difference), str(c.difference.n), number(c.holm)] for c in corrected(found)
    ]
    return table([*head, "difference, degrees", "seeds", "p (Holm)"], rows)


def start_contrasts(found: Sequence[Cell], where: str, inits: Sequence[str]) -> list[Contrast]:
    """P6: the angle of each of these starts to its own pairing less the teacher's, at equal settings, both near the
    law."""
    keys = [key for key in found[0].keys if key != "student.init"]
    held = by_keys(found, *keys, "student.init")
    names = [key for key in keys if key == "student.learning_rate"]
    pairs = [
        (cell, held.get((*(cell.value(k) for k in keys), "teacher")))
        for init in inits
        for cell in found
        if cell.init == init
    ]
    return [
        contrast((where, a.init, *(a.value(key) for key in names)), a, b, ("own_angle", "own_angle"))
        for a, b in pairs
        if b is not None and near(a) and near(b)
    ]


def page(found: dict[str, list[Record]], text: str) -> str:
    """docs/answers.md with its tables."""
    blocks: dict[str, Callable[[], list[str]]] = {}
    held = {name: cells(records) for name, records in found.items()}
    if "rate-length-batch" in found:
        blocks["powers"] = lambda: power_lines(held)
    if set(OF_DIMENSION) <= set(found):
        blocks["dimension"] = lambda: dimension_lines(found)
    if set(FITTED) <= set(held):
        blocks["dimension from fits"] = lambda: fitted_lines(held)
    if any(name.startswith("linear") for name in found):
        blocks["growth"] = lambda: growth_lines(held)
        blocks["theory"] = lambda: theory_lines(held)
        blocks["fake-score rates"] = lambda: score_lines(held)
    if set(OF_NETWORKS) <= set(found):
        blocks["networks"] = lambda: network_lines(from_one_step(found))
        blocks["networks against each other"] = lambda: against_lines(from_one_step(found))
        blocks["networks from fits"] = lambda: fitted_network_lines(from_fits(found))
        blocks["networks from cut fits"] = lambda: fitted_network_lines(from_fits(found), CUT)
        blocks["fits of other lengths"] = lambda: length_lines(held[LENGTHS], held[BETWEEN])
    if {"intrinsic", "ambient", "geometry-controls"} <= set(held):
        blocks["geometry controls"] = lambda: geometry_lines(held)
    for block, inits in (("starts", PRESERVING), ("better starts", BETTER)):
        found_here = [
            c for name in ("starts", "digits") if name in held for c in start_contrasts(held[name], name, inits)
        ]
        if found_here:
            blocks[block] = partial(contrast_lines, ["experiment", "start", "learning rate"], found_here)
    for name, lines in blocks.items():
        text = replaced(text, name, lines())
    return text


def fitted(found: Sequence[Cell], init: str = "teacher") -> list[Cell]:
    """The cells that powers are fitted to: those of one start whose fidelity is near 1."""
    return [cell for cell in found if cell.init == init and near(cell)]


def cells_page(found: dict[str, list[Record]]) -> str:
    """docs/answers-cells.md, whole."""
    lines = [
        "# First answers: every cell",
        "",
        "Made by `figures/answers.py` from figures/answers-*.json; what it means: [answers.md](answers.md). Mean ± "
        "half the 95 % interval over seeds; of delta_e both ends, as it is made on a logarithmic scale, and none where "
        "half of the seeds or more read 0. (poor): the student's law can be told from that of the teacher's flow at "
        "this n. Lambda = -ln cos(angle).",
    ]
    lines += ["", "## Rotated controls", "", CONTROLS, ""]
    lines += control_lines({name: cells(records) for name, records in found.items()})
    for name, row in EXPERIMENTS.items():
        lines += ["", f"## {name} (experiment {row})", ""]
        lines += cell_lines(name, found[name]) if name in found else ["Not run yet."]
    return "\n".join(lines) + "\n"


def stored() -> dict[str, list[Record]]:
    """The kept experiments."""
    paths = {name: HERE / f"answers-{name}.json" for name in EXPERIMENTS}
    return {name: read(path) for name, path in paths.items() if path.is_file()}


def main() -> None:
    """Keep what is there, and write figure and pages."""
    for name in EXPERIMENTS:
        if (RUNS / name / "runs").is_dir():
            (HERE / f"answers-{name}.json").write_text(kept(load_records(RUNS / name)), encoding="utf-8")
    found = stored()
    guide = DOCS / "answers.md"
    guide.write_text(page(found, guide.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "answers-cells.md").write_text(cells_page(found), encoding="utf-8")
    held = {name: cells(records) for name, records in found.items()}
    mixture = fitted(held.get("rate-length-batch", ()))
    save(answers_figure(held, powers_of(mixture) if mixture else None), HERE / "answers")
    if {*OF_DIMENSION, *FITTED} <= set(found):
        save(dimension_figure(found), HERE / "answers-dimension")
    if set(OF_NETWORKS) <= set(found):
        save(networks_figure(from_one_step(found), from_fits(found), held[LENGTHS]), HERE / "answers-networks")


if __name__ == "__main__":
    main()
