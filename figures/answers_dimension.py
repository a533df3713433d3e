"""What dimension does at equal training (P7 of docs/answers.md): d = 128 less d = 8, from each start."""

import math
from collections.abc import Callable, Mapping, Sequence

from answers_numbers import Contrast, by_keys, contrast, corrected, in_words, known_angle, lost, near, steps
from tables import seeds, table

from dmdlab.pairing import Interval, mean_interval
from dmdlab.pairing.words import number
from dmdlab.records.cells import Cell, cell_value, cells, short
from dmdlab.records.record import Record

FEW, MANY = 8, 128
"""The dimensions that are set against each other."""

OF_DIMENSION = ("rate-length-batch", "rate-controls", "large-rate-controls", "dimension-again")
"""Experiments with the contrasts of `dimension_lines`."""

FITTED = ("dimension-regressed", "dimension-at-law", "dimension-equal-starts")
"""Experiments whose students start at a regression on their teacher's pairs."""


def dimension_contrasts(found: Sequence[Cell], init: str = "teacher", key: str = "remap_angle") -> list[Contrast]:
    """P7: the angle of one start at d = 128 less that at d = 8, for each rate, length and batch at which both are near
    the law."""
    keys = ("student.learning_rate", "student.iterations", "student.batch")
    held = by_keys([cell for cell in found if cell.init == init], *keys, "law.dim")
    places = dict.fromkeys(key[:3] for key in held)
    pairs = [(place, held.get((*place, MANY)), held.get((*place, FEW))) for place in places]
    return [
        contrast((place[0], steps(a.records[0]), place[2]), a, b, (key, key))
        for place, a, b in pairs
        if a is not None and b is not None and near(a) and near(b)
    ]


def dimension_lines(found: dict[str, list[Record]]) -> list[str]:
    """P7's contrasts: on the seeds that raised the question, on new ones, on all; and of rotated starts, whose own
    pairing it is."""
    first, again = found["rate-length-batch"], found["dimension-again"]
    teachers = [dimension_contrasts(cells(own)) for own in (first, again, [*first, *again])]
    rotated = [*found["rate-controls"], *found["large-rate-controls"]]
    turned = dimension_contrasts(cells(rotated), "rotated", "own_angle")
    columns = [{c.name: c for c in corrected(own)} for own in (*teachers, turned)]
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        row = [*map(short, name)]
        for column in columns:
            c = column.get(name)
            row += [in_words(c.difference), number(c.holm)] if c else ["–", "–"]
        rows.append(row)
    head = ["learning rate", "student updates", "batch"]
    for of in (seeds(first), seeds(again), "all these", f"rotated starts' own, {seeds(rotated)}"):
        head += [of, "p (Holm)"]
    return table(head, rows)


def fitted_lines(found: Mapping[str, Sequence[Cell]]) -> list[str]:
    """From regressed starts: where they begin, with their law's variance ratio there, and end; and how much more was
    lost in many dimensions than in few, in degrees, end less begin, and in thousandths of Lambda, -ln cos(end) + ln
    cos(begin): paired over seeds."""
    rows = []
    for name in FITTED:
        held = by_keys(found[name], "student.learning_rate", "law.dim")
        for rate in dict.fromkeys(rate for rate, _ in held):
            few, many = held[rate, FEW], held[rate, MANY]
            angles = [value for cell in (few, many) for value in (begun(cell), cell_value(cell, "remap_angle"))]
            degrees, of_lambda = (more_of(lost_since(few, of), lost_since(many, of)) for of in (plain, thousandths))
            own = [in_words(mean_interval(list(lost_since(cell, thousandths).values()))) for cell in (few, many)]
            rows.append([name, short(rate), *angles, in_words(degrees), *own, in_words(of_lambda)])
            rows[-1].append(str(of_lambda.n))
    head = ["experiment", "learning rate"]
    head += [f"d = {dim}: {what}" for dim in (FEW, MANY) for what in ("begins, degrees (variance ratio)", "ends")]
    head += ["degrees lost, more", f"1000 Lambda lost, d = {FEW}", f"d = {MANY}", "more", "seeds"]
    return table(head, rows)


def begun(cell: Cell) -> str:
    """Where the students of a cell begin, degrees, with its interval, and their mean variance ratio."""
    ratios = [float(record.summary["begun"]["variance_ratio"]) for record in cell.records]
    return f"{in_words(mean_interval(begun_angles(cell)))} ({sum(ratios) / len(ratios):.3f})"


def begun_angles(cell: Cell) -> list[float]:
    """That of each of its runs."""
    return [_begun(record) for record in cell.records]


def more_of(few: Mapping[int, float], many: Mapping[int, float]) -> Interval:
    """The second less the first, paired over the seeds that both have."""
    return mean_interval([many[seed] - few[seed] for seed in few if seed in many])


def plain(start: float, end: float) -> float:
    """Degrees from start to end."""
    return end - start


def thousandths(start: float, end: float) -> float:
    """The same in thousandths of Lambda."""
    return 1000 * (lost(end) - lost(start))


def lost_since(cell: Cell, of: Callable[[float, float], float]) -> dict[int, float]:
    """By seed, what training lost of what the start had, as `of` counts it."""
    both = {int(r.config["seed"]): (known_angle(r), _begun(r)) for r in cell.records}
    return {seed: of(start, end) for seed, (end, start) in both.items() if end is not None}


def _begun(record: Record) -> float:
    angle = record.summary["begun"]["angle"]
    return math.nan if angle is None else float(angle)
