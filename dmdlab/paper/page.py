"""docs/reproduction.md, whole: the paper's numbers and claims beside ours, from kept summaries alone.

Every number on the page is computed here or is the paper's; sentences that read results off are made from verdicts.
"""

from collections.abc import Sequence

from dmdlab.pairing import Interval
from dmdlab.pairing.words import ends, interval, number, table
from dmdlab.paper.catalogue import FIGURES
from dmdlab.paper.claims import ANY, CLAIMS, Claim, Evidence, age, cells_of, of_start
from dmdlab.paper.kept import HALF, SECTION, Kept
from dmdlab.paper.verdicts import LINE, RULERS, derived_values, together
from dmdlab.plots import captions
from dmdlab.records.cells import Cell, cell_value, runs_of
from dmdlab.records.record import Record

PAPER = {"chessboard": (8.55,), "ages": (1.05, 0.389, 0.237, 0.0367)}
"""The delta_e that the paper states: of the chessboard, and of MNIST at 1024, 2048, 4096 and 8192 iterations."""

PAPER_AGES = (1024, 2048, 4096, 8192)

COLUMNS = (*RULERS, ANY)
HEADS = (*(f"by {ruler}" for ruler in RULERS), ANY)

MEASURES = ("delta_e", "delta_e_ceiling", "pair_cosine", "remap_angle", "local_cosine", "fidelity", "variance_ratio")

DIFFERENCES = (
    "- **Size.** Pictures are averaged to the side of the law above, networks are small, and students move for "
    "fewer updates at a much larger rate. How far a student moves from its start decides "
    "how much it loses ([answers](answers.md)), so neither number is *the* delta_e of a data set.",
    "- **Ages.** Ours are the same fractions of a shorter training, an eighth to the whole. A snapshot of a cosine "
    "schedule is not a teacher of that length.",
    "- **K = 8.** Eight Heun steps do not reach the law of the chessboard, moons and ring; students, which learn from "
    "scores, do better than the outputs they are compared with. What Phi_32 changes stands beside the claims.",
    "- **The chessboard's teacher** is the exact denoiser where the paper's is a network, and its students are larger "
    "and train longer than the other toys': changed after a first run, as Phi_8 of networks that train in seconds "
    "does not show the squares. (The first run's summaries: commit 8630f37; its verdicts on the chessboard were the "
    "same.) Eight steps of the exact denoiser are off the law, too (teacher!): most of that distance is made by K = 8.",
    "- **The ruler.** The ceiling of delta_e falls with dimension, so the same loss of pairing reads as re-pairing in "
    "four dimensions and as a copy in many. The calibrated angle means the same in all.",
)
"""Why ours may differ, without a number."""


def page(kept: Kept, figures: str = "figures") -> str:
    """The page, in Markdown. figures: the folder of the figures, as seen from it."""
    evidence = [(claim, claim.evidence(kept)) for claim in CLAIMS]
    lines = ["# The paper, made again", ""]
    lines += [*_head(kept), "", "## Its numbers beside ours", "", numbers_table(kept), "", *_made(kept)]
    lines += ["", "Where a quick run differs from the paper, and why:", "", *DIFFERENCES]
    lines += ["", "## Its claims, by three rulers", "", *_summary(evidence)]
    for number_, (claim, own) in enumerate(evidence, 1):
        lines += ["", f"### {number_}. {claim.title}", "", *_claim(claim, own)]
    lines += ["", "## Every cell", "", *cells_table(every_cell(kept))]
    lines += ["", "## Its training curves", "", *_dynamics(kept)]
    lines += ["", "## Its figures", "", *_figures(figures)]
    return "\n".join(lines) + "\n"


def _head(kept: Kept) -> list[str]:
    commands = list(dict.fromkeys(kept.commands.values()))
    made = "; ".join(f"`{command}`" for command in commands) or "nothing yet: `dmdlab reproduce all`"
    minutes = sum(float(r.row["seconds"] or 0) for r in kept.all) / 60
    return [
        "arXiv 2606.02237, figure by figure and claim by claim. Generated from summaries of every run; no number is "
        "typed by hand, and what was changed after a first run is said below.",
        "",
        f"Made by {made}: {len(kept.all)} runs, {number(round(minutes))} minutes of one worker in all. "
        + captions.made_on(kept.all),
        "",
        "Mean ± half the 95 % interval over seeds; of delta_e both ends, and none where half of the seeds or more read "
        "0 (a verdict then goes by Student's interval of the values). "
        "The lines between copy and re-pairing were drawn before the runs: delta_e "
        f"{LINE:g}; {HALF:g} degrees of calibrated angle; the local_cosine that the teacher itself reads after a "
        "planted turn by that angle. (poor): the student's law can be told from its teacher's at this n, so no claim "
        "should rest on that cell alone; teacher!: a teacher failed its own check. A verdict made of such students "
        "says so.",
    ]


def numbers_table(kept: Kept) -> str:
    """The table: each number that the paper states beside ours, in Markdown."""
    head = ["what", "paper: delta_e", "ours: delta_e", "its ceiling", "remap_angle", "local_cosine", "fidelity"]
    head.append("rotated start")
    rows = [_number_row("chessboard in R^4", PAPER["chessboard"][0], cells_of(kept, "chessboard"))]
    aged = cells_of(kept, "ages")
    ages = sorted(of_start(aged), key=age)
    for i, (stated, paper_age) in enumerate(zip(PAPER["ages"], PAPER_AGES, strict=True)):
        own = [cell for one in ages[i : i + 1] for cell in aged if age(cell) == age(one)]
        law = f"{own[0].law}, d = {own[0].dim}" if own else "pictures"
        name = f"MNIST at {paper_age} iterations; ours: {law}, at {age(own[0]) if own else '?'}"
        rows.append(_number_row(name, stated, own))
    return "\n".join(table(head, rows))


def _number_row(name: str, stated: float, found: Sequence[Cell]) -> list[str]:
    own, control = of_start(found), of_start(found, "rotated")
    ours = [cell_value(own[0], key) for key in (*RULERS, "fidelity")] if own else ["not run"] * 4
    ceiling = cell_value(own[0], "delta_e_ceiling") if own else "–"
    turned = "–"
    if control:
        turned = f"delta_e {cell_value(control[0], 'delta_e')}, {cell_value(control[0], 'remap_angle')} degrees"
    return [name, f"{stated:g}", ours[0], ceiling, *ours[1:], turned]


def _summary(evidence: Sequence[tuple[Claim, Evidence]]) -> list[str]:
    """Every claim and what each ruler says of it."""
    rows = []
    for i, (claim, own) in enumerate(evidence, 1):
        said = [{name: by[ruler].told for name, by in own.judged.items() if ruler in by} for ruler in COLUMNS]
        poor = sum(cell.poor for cell in own.cells)
        rows.append(
            [f"{i}. {claim.title}", *(together(one) if one else "" for one in said), f"{poor} of {len(own.cells)}"]
        )
    return table(["claim", *HEADS, "poor cells"], rows)


def _claim(claim: Claim, own: Evidence) -> list[str]:
    """One claim: what the paper says, the verdicts with their intervals, and what else was seen."""
    lines = [f"*The paper:* {claim.says}", "", f"*Read here:* {claim.read}", ""]
    rows = [
        [
            name,
            *(f"{by[r].told}: {_shown(r, by[r].interval)}" if r in by else "" for r in COLUMNS),
        ]
        for name, by in own.judged.items()
    ]
    lines += table(["", *HEADS], rows)
    controls = of_start(own.cells, "rotated")
    said = [
        f"- rotated start, {_named(cell)}: delta_e {cell_value(cell, 'delta_e')} under a ceiling of "
        f"{cell_value(cell, 'delta_e_ceiling')}, {cell_value(cell, 'remap_angle')} degrees, local_cosine "
        f"{cell_value(cell, 'local_cosine')}"
        for cell in controls
    ]
    said += [f"- {name}: {_interval(found)} ({found.n} seeds)" for name, found in own.numbers]
    return [*lines, *([""] if said else []), *said]


def _named(cell: Cell) -> str:
    """'images, told the class, teacher of 1500 iterations, with a GAN'."""
    first = cell.records[0].config
    told = ", told the class" if first.get("teacher.condition") else ""
    gan = ", with a GAN" if first.get("terms.gan.weight") else ""
    teacher = "exact teacher" if first.get("teacher.kind") == "exact" else f"teacher of {age(cell)} iterations"
    return f"{cell.law}{told}, {teacher}{gan}"


def every_cell(kept: Kept) -> list[Cell]:
    """Every cell once, in the order of our experiments."""
    found = [cell for name in kept.runs for cell in cells_of(kept, name)]
    return list({tuple(str(r.summary["id"]) for r in cell.records): cell for cell in found}.values())


def cells_table(found: Sequence[Cell]) -> list[str]:
    """A row a cell, with what the teacher itself reads after a turn by `HALF` degrees."""
    head = ["law", "start", "seeds", *MEASURES, f"local_cosine turned {HALF:g}"]
    rows = []
    for cell in found:
        half = derived_values(cell, "local_cosine_half")
        rows.append(
            [
                f"{_named(cell)}, d = {cell.dim}",
                cell.init,
                runs_of(cell),
                *(cell_value(cell, key) for key in MEASURES),
                number(sum(half) / len(half)) if half else "–",
            ]
        )
    note = ["", "teacher!: a teacher failed its own check."] if any(cell.flagged for cell in found) else []
    return [*table(head, rows), *note]


def _dynamics(kept: Kept) -> list[str]:
    """Whether the DM loss rises and then falls, for each age."""
    found = sorted(of_start(cells_of(kept, "ages")), key=age)
    if not found:
        return ["Not run."]
    rows = []
    for cell in found:
        rose = [_rises_and_falls(r) for r in cell.records if r.done]
        rows.append([str(age(cell)), f"{sum(rose)} of {len(rose)}"])
    said = "The paper: the DM loss first rises, while the student score leaves the teacher's, and then falls."
    return [
        said,
        "",
        *table(["teacher's age", "seeds whose loss rises above its first value and ends below its peak"], rows),
    ]


def _rises_and_falls(record: Record) -> bool:
    own = record.summary.get(SECTION, {})
    first, peak, last = (own.get(f"loss_{key}") for key in ("first", "peak", "last"))
    return first is not None and first < peak and last < peak


def _figures(folder: str) -> list[str]:
    lines: list[str] = []
    for name, figure in FIGURES.items():
        lacking = f" Left out: {figure.lacking}." if figure.lacking else ""
        lines += [f"**{name}.** The paper's: {figure.shows}.{lacking}", "", f"![{name}]({folder}/{name}.png)", ""]
    return lines[:-1]


def _made(kept: Kept) -> list[str]:
    """How the numbers were made: seeds, sample sizes, steps and rates."""
    lines = []
    for name, records in kept.runs.items():
        seeds = sorted({int(r.config["seed"]) for r in records})
        told = ", ".join(
            f"{word} {captions.column_in_words(records, key)}"
            for word, key in (
                ("n =", "measure.samples"),
                ("K =", "teacher.steps"),
                ("student rate", "student.learning_rate"),
                ("iterations", "student.iterations"),
            )
        )
        lines.append(f"- {name}: {len(records)} runs, seeds {', '.join(map(str, seeds))}; {told}.")
    return lines


def _shown(ruler: str, found: Interval) -> str:
    return _ends(found) if ruler == "delta_e" and found.low > 0 else _interval(found)


def _ends(found: Interval) -> str:
    return ends(found.mean, found.low, found.high)


def _interval(found: Interval) -> str:
    return interval(found.mean, found.low, found.high) if found.n else "–"
