"""The paper's seven claims, each as cells of our runs and a verdict by each ruler.

What a verdict is read from was fixed before the runs (`dmdlab.paper.verdicts`), but for the seventh claim's second
reading. A claim whose experiments are not there is "not run"; nothing here knows a result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dmdlab.pairing import Interval, mean_interval
from dmdlab.paper.kept import SECTION, Kept
from dmdlab.paper.verdicts import (
    NOT_RUN,
    RULERS,
    Said,
    beyond,
    by_seed,
    copies,
    difference_by_seed,
    doubts,
    less_copied,
    opposite_verdict,
    value,
)
from dmdlab.records.cells import Cell, cells
from dmdlab.records.record import Record

MARGIN = 0.01
"""By which the teacher's share of memorised outputs may exceed that of fresh data (ours)."""

ANY = "without a ruler"
"""In place of a ruler, for what is measured in its own unit."""

Judged = dict[str, dict[str, Said]]
"""By part of a claim, as a law, the verdict of each ruler, or that of `ANY`."""


@dataclass(frozen=True)
class Evidence:
    """What a claim is judged by: its cells, rotated controls among them; the verdicts; what else was seen, as rows of
    (what, interval)."""

    cells: list[Cell]
    judged: Judged
    numbers: list[tuple[str, Interval]]


@dataclass(frozen=True)
class Claim:
    """One claim. says: as the paper has it. read: how ours is read. evidence: from what is kept."""

    title: str
    says: str
    read: str
    evidence: Callable[[Kept], Evidence]


def cells_of(kept: Kept, *names: str) -> list[Cell]:
    """The cells of these experiments, each run once, with the age of the teacher among their keys."""
    runs = {str(r.summary["id"]): r for name in names for r in kept.runs.get(name, ())}
    return cells(list(runs.values()), also=("teacher.snapshot",)) if runs else []


def of_start(found: Sequence[Cell], init: str = "teacher") -> list[Cell]:
    """The cells of one start."""
    return [cell for cell in found if cell.init == init]


def _low(kept: Kept) -> Evidence:
    found = cells_of(kept, "chessboard", "curves")
    own = {c.law: {ruler: opposite_verdict(copies(c, ruler)) for ruler in RULERS} for c in of_start(found)}
    return Evidence(found, _with_missing(own, ("chessboard", "moons", "ring")), _by_phi_32(of_start(found)))


def _high(kept: Kept) -> Evidence:
    found = [*cells_of(kept, "pictures"), *cells_of(kept, "stripes")]
    own = {_named(c, found): {ruler: copies(c, ruler) for ruler in RULERS} for c in of_start(found)}
    return Evidence(found, own or {"pictures": _not_run()}, _by_phi_32(of_start(found)))


def _named(cell: Cell, among: Sequence[Cell]) -> str:
    """A cell's law, and that its students are told the class where those of another cell of this law are not, as where
    a manifold stands for pictures, too."""
    told = {c.value("teacher.condition") for c in among if c.law == cell.law}
    return f"{cell.law}, told the class" if len(told) > 1 and cell.value("teacher.condition") else cell.law


def _age(kept: Kept) -> Evidence:
    found = sorted(cells_of(kept, "ages"), key=age)
    own = of_start(found)
    if len(own) < 2:
        return Evidence(found, {"youngest less oldest": _not_run()}, [])
    judged: Judged = {"youngest less oldest": {ruler: less_copied(own[0], own[-1], ruler) for ruler in RULERS}}
    told = sorted(of_start(cells_of(kept, "class-ages")), key=age)
    steps = [
        (
            f"remap_angle{to} at {age(a)} less at {age(b)}",
            difference_by_seed(a.records, b.records, value("remap_angle")),
        )
        for to, by_age in (("", own), (", told the class,", told))
        for a, b in pairwise(by_age)
    ]
    return Evidence(found, judged, steps)


def _gan(kept: Kept) -> Evidence:
    found, plain = cells_of(kept, "gan"), cells_of(kept, "pictures")
    own = of_start(plain)
    judged: Judged = {"without a GAN": {r: copies(own[0], r) for r in RULERS} if own else _not_run()}
    numbers = []
    if own and of_start(found) and of_start(found)[0].law == own[0].law:
        with_one, without = of_start(found)[0].records, own[0].records
        numbers = [
            (f"{key} with a GAN less without", difference_by_seed(with_one, without, value(key))) for key in RULERS
        ]
    return Evidence([*plain, *found], judged, numbers)


def _memory(kept: Kept) -> Evidence:
    found = cells_of(kept, "pictures")
    own = of_start(found)
    if not own:
        return Evidence(found, {"teacher": {ANY: NOT_RUN}, "its students": _not_run()}, [])
    excess = mean_interval(
        [_own(r, "memorised") - _own(r, "memorised_data") for r in own[0].records if _has(r, "memorised_data")]
    )
    share = mean_interval([_own(r, "memorised") for r in own[0].records if _has(r, "memorised")])
    fresh = mean_interval([_own(r, "memorised_data") for r in own[0].records if _has(r, "memorised_data")])
    none = Said(beyond(excess, MARGIN, above=False), excess, doubts(own[0]))
    judged: Judged = {"teacher": {ANY: none}, "its students": {r: copies(own[0], r) for r in RULERS}}
    return Evidence(
        found, judged, [("share of memorised outputs of the teacher", share), ("the same of fresh data", fresh)]
    )


def _classes(kept: Kept) -> Evidence:
    found, plain = cells_of(kept, "classes"), cells_of(kept, "pictures")
    own, other = of_start(found), of_start(plain)
    both = bool(own and other and own[0].law == other[0].law)
    judged: Judged = {
        "unconditional less conditional": {r: less_copied(other[0], own[0], r) for r in RULERS} if both else _not_run()
    }
    numbers = [
        (f"within classes, {cell.init} start: {key}", cell.interval(f"within_{key}"))
        for cell in found
        for key in ("copy_index", "pair_cosine")
    ]
    return Evidence([*plain, *found], judged, numbers)


def _boundary(kept: Kept) -> Evidence:
    found = cells_of(kept, "pictures")
    held = {
        cell.init: {key: mean_interval(list(by_seed(cell.records, _derived(key)).values())) for key in _BOUNDARY}
        for cell in found
    }
    own = held.get("teacher", {})
    judged: Judged = {
        told: {ANY: Said(beyond(own[key], 0.0, above=False), own[key], doubts(*of_start(found))) if own else NOT_RUN}
        for key, told in _BOUNDARY.items()
        if key != "boundary_copy"
    }
    numbers = [
        (f"correlation of {told}, {init} start", of[key])
        for init, of in held.items()
        for key, told in _BOUNDARY.items()
        if (init != "teacher") != (key == "boundary_copy")
    ]
    return Evidence(found, judged, [number for number in numbers if number[1].n])


_BOUNDARY = {
    "boundary": "D(z) with delta(z)",
    "boundary_error": "D(z) with abs(G - Phi_K)",
    "boundary_copy": "D(z) with delta(z) of a student that is its teacher",
}


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "Students of few dimensions re-pair noise and data",
        "On the chessboard, double moons and a ring in R^4 students send a noise vector elsewhere than their teacher.",
        "For: the interval lies on the re-paired side of the ruler's line.",
        _low,
    ),
    Claim(
        "Students of many dimensions copy their teacher's pairing",
        "On pictures, and on a manifold of 16 degrees of freedom, the shared noise pairs teacher and student.",
        "For: the interval lies on the copying side of the ruler's line.",
        _high,
    ),
    Claim(
        "Copying grows with the age of the teacher",
        "Students of teachers trained longer copy more.",
        "For: students of the youngest teacher copy less than those of the oldest, seed by seed.",
        _age,
    ),
    Claim(
        "A GAN is not the cause",
        "Students copy without any adversarial loss.",
        "For: students trained without a GAN copy. What one adds, with DMD2's head and weights, stands beside it.",
        _gan,
    ),
    Claim(
        "Memorisation is not the cause",
        "Students copy teachers that have not memorised their training set.",
        "For: the teacher's outputs are memorised no more often than fresh data (by a hundredth at most), and its "
        "students copy.",
        _memory,
    ),
    Claim(
        "Conditional students copy more",
        "Told the class, students copy more strongly than without.",
        "For: the unconditional students copy less, seed by seed. Matching across classes flatters delta_e, so the "
        "measures inside each class stand beside it.",
        _classes,
    ),
    Claim(
        "Outlying samples are copied more",
        "The mean distance of Phi_8(z) to the training set and delta(z) = abs(G - Phi_8) - abs(Phi_1 - Phi_8) are "
        "moderately negatively correlated.",
        "For: the correlation is below 0 over seeds. delta(z) holds minus the way of one step, which falls with D(z) "
        "by itself: for a student that is its teacher nothing else is left. So abs(G - Phi_K) alone is read, too "
        "(added after the first runs): if outlying samples were copied more, it would fall with D(z).",
        _boundary,
    ),
)
"""In the order in which the page tells them."""


def age(cell: Cell) -> int:
    """The iteration at which a cell's teachers were taken."""
    return int(cell.records[0].config["teacher.snapshot"])


def _by_phi_32(found: Sequence[Cell]) -> list[tuple[str, Interval]]:
    """What Phi_32, which has the law better, changes."""
    return [
        (
            f"{_named(cell, found)}: pair_cosine with Phi_32 less that with Phi_K, same rows",
            mean_interval(list(held.values())),
        )
        for cell in found
        if (held := by_seed(cell.records, _more_by_phi_32))
    ]


def _more_by_phi_32(record: Record) -> float | None:
    own = [_derived(key)(record) for key in ("pair_cosine_32", "pair_cosine_k")]
    return None if own[0] is None or own[1] is None else own[0] - own[1]


def _with_missing(judged: Judged, names: Sequence[str]) -> Judged:
    return {name: judged.get(name) or _not_run() for name in names}


def _not_run() -> dict[str, Said]:
    return dict.fromkeys(RULERS, NOT_RUN)


def _derived(key: str) -> Callable[[Record], float | None]:
    return lambda record: record.summary.get(SECTION, {}).get(key)


def _has(record: Record, key: str) -> bool:
    return record.done and _derived(key)(record) is not None


def _own(record: Record, key: str) -> float:
    found = _derived(key)(record)
    assert found is not None
    return found
