"""Rotated controls of docs/answers.md: students that start at a turned pairing, beside the teacher's starts."""

import math
from collections.abc import Mapping, Sequence

from answers_numbers import by_keys, contrast, in_words, near
from tables import table

from dmdlab.pairing import Interval
from dmdlab.pairing.words import number
from dmdlab.records.cells import Cell, cell_value, short

Cells = Mapping[str, Sequence[Cell]]
"""By experiment."""

STARTS_ALONE = ("seed", "student.init")
"""In which a control and the cell that it is beside may differ."""

CONTROLS = (
    "Cells of students that start at a rotated pairing beside the teacher's starts of equal settings and seeds, by "
    "where the latter are. *To the teacher*: in the cell where it is least. *Own less the teacher's starts'*: what "
    "they lose of their own pairing less what the teacher's starts lose of theirs, paired over seeds, in cells of "
    "which both are near the law, from the least to the largest; beside it the widest half-interval."
)
"""What `control_lines` shows."""


def control_lines(found: Cells) -> list[str]:
    """Of every experiment, dimension and rate: what rotated starts read against the teacher in the cell where it is
    least, and what they lose of their own pairing less what the teacher's starts lose of theirs, paired over seeds."""
    rows = []
    for (name, dim, rate), pairs in beside_each_other(found).items():
        both = [(cell, teacher) for cell, teacher in pairs if near(cell) and near(teacher)]
        least = min((cell for cell, _ in pairs), key=lambda cell: cell.interval("remap_angle").mean)
        less = [own for pair in both if (own := more_lost_of_own(*pair)).n]  # some have no angle to their own pairing
        counted = f"{len(both)} of {len(pairs)}"
        rows.append([name, str(dim), short(rate), counted, cell_value(least, "remap_angle"), *span(less)])
    head = ["experiment", "d", "learning rate", "cells near the law", "to the teacher, the least"]
    return table([*head, "own less the teacher's starts', degrees", "widest ±", "seeds"], rows)


def beside_each_other(found: Cells) -> dict[tuple[str, int, object], list[tuple[Cell, Cell]]]:
    """Each cell of rotated starts with the teacher's starts of equal settings, by the experiment that has the latter,
    dimension and learning rate; of cells that were made again the last."""
    teachers = [(name, cell) for name, own in found.items() for cell in own if cell.init == "teacher"]
    rotated = [cell for own in found.values() for cell in own if cell.init == "rotated"]
    held = dict[tuple[str, int, object], list[tuple[Cell, Cell]]]()
    for i, cell in enumerate(rotated):
        again = any(alike(cell, later) for later in rotated[i + 1 :])
        for name, teacher in teachers:
            if not again and alike(cell, teacher):
                held.setdefault((name, cell.dim, cell.value("student.learning_rate")), []).append((cell, teacher))
    order = list(found)
    return dict(sorted(held.items(), key=lambda item: (order.index(item[0][0]), item[0][1], item[0][2])))


def alike(a: Cell, b: Cell) -> bool:
    """Whether two cells have seeds in common and differ in their start alone, by the settings that both know."""
    one, other = (cell.records[0].settings for cell in (a, b))
    own = {record.config["seed"] for record in a.records}
    shared = any(record.config["seed"] in own for record in b.records)
    return shared and all(one[key] == other[key] for key in one.keys() & other.keys() if key not in STARTS_ALONE)


def more_lost_of_own(cell: Cell, teacher: Cell) -> Interval:
    """What a start loses of its own pairing less what the teacher's loses of its, degrees, paired over seeds."""
    return contrast((), cell, teacher, ("own_angle", "remap_angle")).difference


def span(found: Sequence[Interval]) -> list[str]:
    """From the least to the largest mean, the widest half-interval, and how many seeds are behind one."""
    if not found:
        return ["–", "–", "–"]
    means = sorted(i.mean for i in found)
    wide = max((i.high - i.mean for i in found if math.isfinite(i.high)), default=math.nan)
    counts = sorted({i.n for i in found})
    middle = f"{means[0]:.1f} to {means[-1]:.1f}" if len(means) > 1 else f"{means[0]:.1f}"
    return [middle, number(wide), " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))]


def geometry_lines(found: Cells) -> list[str]:
    """By pixels and degrees of freedom: what rotated starts read against the teacher and lose of their own pairing, and
    that less what the teacher's starts lose, paired over seeds."""
    place = ("law.dim", "law.intrinsic")
    beside = by_keys([*found["intrinsic"], *found["ambient"]], *place)
    rows = []
    for where, cell in sorted(by_keys(found["geometry-controls"], *place).items()):
        teacher, measures = beside[where], ("remap_angle", "own_angle", "fidelity")
        less = more_lost_of_own(cell, teacher)
        own = [cell_value(cell, key) for key in measures]
        rows.append([*map(str, where), *own, cell_value(teacher, "remap_angle"), in_words(less), str(less.n)])
    head = ["d", "k", "to the teacher", "own pairing", "fidelity", "teacher's starts", "own less theirs", "seeds"]
    return table(head, rows)
