"""First answers: the figure of docs/answers.md, its tables, and every cell in docs/answers-cells.md.

    dmdlab sweep experiments/answers/starts.toml --out runs/answers/starts      # and the others: each file says how
    .venv/bin/python figures/answers.py

Keeps what runs/answers/<experiment> holds, where it is there, as answers-<experiment>.json beside this file, and makes
everything else from these: answers.pdf, .png, .txt (the caption), and the tables. Experiments not run are named.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from answers_figure import answers_figure
from answers_kept import kept, read
from answers_numbers import (
    LEARNED,
    Contrast,
    Powers,
    contrast,
    corrected,
    lost,
    near,
    powers_of,
    predicted,
    steps,
)
from tables import replaced, seeds, table, told

from dmdlab.pairing.words import interval, number
from dmdlab.plots.style import save
from dmdlab.records.cells import SHORT, Cell, cell_value, cells, short
from dmdlab.records.record import Record, load_records

HERE = Path(__file__).resolve().parent
RUNS, DOCS = HERE.parent / "runs" / "answers", HERE.parent / "docs"
EXPERIMENTS = {
    "rate-length-batch": "1a",
    "linear-exact": "1b",
    "linear-trained": "1b",
    "linear-adam": "1b",
    "schedule": "1b",
    "whose-noise": "1b",
    "pictures": "2",
    "digits": "2, 3",
    "starts": "3",
    "intrinsic": "4",
    "ambient": "4",
    "corner": "5",
}
"""The sweeps in experiments/answers, and the rows of the page that they answer."""

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
            values += [lambda_value(cell), number(predicted(cell.records[0]))]
        rows.append(values)
    minutes = sum(float(r.row["seconds"] or 0) for r in records) / 60
    made = (
        f"`dmdlab sweep experiments/answers/{name}.toml` on {told(records, 'hardware')}; commit "
        f"{told(records, 'commit')}; {seeds(records)}; n = {told(records, 'measure.samples')}, K = "
        f"{told(records, 'teacher.steps')}; {minutes:.0f} core-minutes."
    )
    return [*table(head, rows), "", made]


def lambda_value(cell: Cell) -> str:
    """Lambda over the seeds that have one; '≥' where some have nothing left."""
    from dmdlab.pairing import mean_interval

    own = mean_interval([lost(record.row.get("remap_angle")) for record in cell.records])
    return ("≥ " if own.missing else "") + interval(own.mean, own.low, own.high)


def power_lines(powers: Powers) -> list[str]:
    """What Lambda goes as."""
    head = ["", *(key.removeprefix("student.").replace("_", " ") for key in LEARNED)]
    rows = [
        ["fitted", *(interval(p.mean, p.low, p.high) for p in powers.powers)],
        ["P3 (pure walk under Adam)", "2", "1", "0"],
    ]
    constants = "; ".join(f"d = {d}: {interval(c.mean, c.low, c.high)}" for d, c in powers.constants.items())
    said = (
        f"Lambda at a rate of 3e-4, 2000 student updates and a batch of 64, in logarithms: {constants}. {powers.cells} "
        f"cells; around a constant for each d they scatter by {powers.scatter:.2f} in ln Lambda, around one for all by "
        f"{powers.scatter_common:.2f}."
    )
    return [*table(head, rows), "", said]


def contrast_lines(head: Sequence[str], found: Sequence[Contrast]) -> list[str]:
    """Paired differences in degrees with Holm's p of their family."""
    rows = [
        [*map(short, c.name), interval(c.difference.mean, c.difference.low, c.difference.high), number(c.holm)]
        for c in corrected(found)
    ]
    return table([*head, "difference, degrees", "p (Holm)"], rows)


def by_keys(found: Sequence[Cell], *keys: str) -> dict[tuple[object, ...], Cell]:
    """Cells by the values of these settings."""
    return {tuple(cell.value(key) for key in keys): cell for cell in found}


def dimension_contrasts(found: Sequence[Cell]) -> list[Contrast]:
    """P7: the angle at d = 128 less that at d = 8, for each rate, length and batch at which both are near the law."""
    keys = ("student.learning_rate", "student.iterations", "student.batch")
    held = by_keys([cell for cell in found if cell.init == "teacher"], *keys, "law.dim")
    places = dict.fromkeys(key[:3] for key in held)
    pairs = [(place, held.get((*place, 128)), held.get((*place, 8))) for place in places]
    return [
        contrast((place[0], steps(a.records[0]), place[2]), a, b)
        for place, a, b in pairs
        if a is not None and b is not None and near(a) and near(b)
    ]


def start_contrasts(found: Sequence[Cell], where: str) -> list[Contrast]:
    """P6: the angle of each start to its own pairing less that of the teacher's, at equal settings."""
    keys = [key for key in found[0].keys if key != "student.init"]
    held = by_keys(found, *keys, "student.init")
    names = [key for key in keys if key == "student.learning_rate"]
    return [
        contrast((where, cell.init, *(cell.value(key) for key in names)), cell, teacher, ("own_angle", "own_angle"))
        for cell in found
        if cell.init != "teacher" and (teacher := held.get((*(cell.value(k) for k in keys), "teacher"))) is not None
    ]


def page(found: dict[str, list[Record]], text: str) -> str:
    """docs/answers.md with its tables."""
    blocks: dict[str, Callable[[], list[str]]] = {}
    held = {name: cells(records) for name, records in found.items()}
    if "rate-length-batch" in found:
        own = held["rate-length-batch"]
        blocks["powers"] = lambda: power_lines(powers_of(fitted(own)))
        blocks["dimension"] = lambda: contrast_lines(
            ["learning rate", "student updates", "batch"], dimension_contrasts(own)
        )
    starts = [c for name in ("starts", "digits") if name in held for c in start_contrasts(held[name], name)]
    if starts:
        blocks["starts"] = lambda: contrast_lines(["experiment", "start", "learning rate"], starts)
    for name, lines in blocks.items():
        text = replaced(text, name, lines())
    return text


def fitted(found: Sequence[Cell]) -> list[Cell]:
    """The cells that the powers are fitted to: teacher starts whose fidelity is near 1."""
    return [cell for cell in found if cell.init == "teacher" and near(cell)]


def cells_page(found: dict[str, list[Record]]) -> str:
    """docs/answers-cells.md, whole."""
    lines = [
        "# First answers: every cell",
        "",
        "Made by `figures/answers.py` from figures/answers-*.json; what it means: [answers.md](answers.md). Mean ± "
        "half the 95 % interval over seeds. (poor): the student's law can be told from that of the teacher's flow at "
        "this n. Lambda = -ln cos(angle).",
    ]
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


if __name__ == "__main__":
    main()
