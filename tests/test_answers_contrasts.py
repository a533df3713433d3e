"""Paired contrasts of docs/answers.md: what enters one, and what rotated controls are set beside."""

import math
import sys
from pathlib import Path

import pytest
from answer_runs import run

from dmdlab.records.cells import cells
from dmdlab.records.record import Record

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))

import answers
import answers_controls
import answers_dimension
import answers_numbers


def test_holm_goes_down_the_ladder() -> None:
    """By hand: sorted p 0.01, 0.02, 0.03, 0.6 times 4, 3, 2, 1, never falling; an unknown p stays out."""
    interval = answers_numbers.mean_interval([1.0, 2.0])
    given = [answers_numbers.Contrast((), interval, p) for p in (0.03, 0.01, math.nan, 0.6, 0.02)]
    found = [c.holm for c in answers_numbers.corrected(given)]
    assert [found[i] for i in (0, 1, 3, 4)] == pytest.approx([0.06, 0.04, 0.6, 0.06])
    assert math.isnan(found[2])


def test_a_contrast_is_paired_over_the_seeds_that_both_have() -> None:
    a, b = cells([run(x, s, law__dim=8) for s, x in enumerate((30.0, 40.0, 50.0))]), cells([run(20.0), run(28.0, 1)])
    found = answers_numbers.contrast(("x",), a[0], b[0])
    assert (found.difference.mean, found.difference.n, found.difference.missing) == (11.0, 2, 1)
    assert found.p == pytest.approx(2 * math.atan(1 / 11) / math.pi)  # Student's t of one degree is Cauchy's


def test_dimensions_are_contrasted_at_equal_settings_and_near_the_law_only() -> None:
    records = [run(10.0 * d, s, 1.0 + s / 10, law__dim=d) for d in (8, 128) for s in (0, 1)]
    records += [run(10.0 * d, s, 3.0, law__dim=d, student__batch=3) for d in (8, 128) for s in (0, 1)]
    records += [
        run(10.0 * d, s, 3.0 if d == 8 else 1.0, law__dim=d, student__batch=5) for d in (8, 128) for s in (0, 1)
    ]
    assert [c.name for c in answers_dimension.dimension_contrasts(cells(records))] == [(5e-4, 2000, 256)]


def test_starts_are_contrasted_with_the_teachers() -> None:
    given = (("teacher", 20.0, 1.0), ("turned", 25.0, 1.0), ("rotated", 30.0, 2.0), ("regressed", 5.0, 1.0))
    records = [run(x, s, fidelity, student__init=i) for i, x, fidelity in given for s in (0, 1)]
    (found,) = answers.start_contrasts(cells(records), "here", answers.PRESERVING)
    assert (found.name, found.difference.mean) == (("here", "turned"), 5.0)


def test_a_control_is_set_beside_the_teachers_start_of_its_settings_and_seeds() -> None:
    """The cell of another batch, and that of other seeds, are not what a rotated start is held against."""
    base = [run(20.0 + s, s) for s in (0, 1)] + [run(50.0, s, student__batch=3) for s in (0, 1)]
    rotated = [run(90.0, s, student__init="rotated") for s in (0, 1)]
    first = [run(80.0, s, student__init="rotated") for s in (0, 1)]  # made again below, which counts
    found = {"base": cells([*base, *first]), "again": cells([run(70.0, 2)]), "turned": cells(rotated)}
    held = answers_controls.beside_each_other(found)
    assert list(held) == [("base", 2, 5e-4)]
    ((cell, teacher),) = held["base", 2, 5e-4]
    assert [c.interval("remap_angle").mean for c in (cell, teacher)] == [90.0, 20.5]


def test_what_controls_lose_of_their_own_is_told_where_both_laws_are_near() -> None:
    """Of three cells the law of one is far: of the others the least angle to the teacher, from the least to the largest
    difference, and the widest half-interval."""

    def turned(to_teacher: float, own: float, spread: float = 1.0, **settings: float) -> list[Record]:
        records = [run(to_teacher + s, s, student__init="rotated", **settings) for s in (0, 1)]
        for record in records:
            record.summary["own"]["angle"] = {"value": own + spread * record.config["seed"]}
        return records

    base = [run(20.0, s) for s in (0, 1)] + [run(20.0, s, student__batch=7) for s in (0, 1)]
    base += [run(9.0, s, 3.0, student__batch=3) for s in (0, 1)]
    rotated = [*turned(88.0, 23.0), *turned(80.0, 25.0, 2.0, student__batch=7), *turned(85.0, 9.0, student__batch=3)]
    *_, row = answers_controls.control_lines({"base": cells(base), "turned": cells(rotated)})
    assert row == "| base | 2 | 5e-4 | 2 of 3 | 80.5 ± 6.4 | 3.5 to 6.0 | 12.7 | 2 |"


def test_a_control_without_an_angle_to_its_own_pairing_still_tells_that_to_the_teacher() -> None:
    rotated = [run(89.0, s, student__init="rotated") for s in (0, 1)]
    for record in rotated:
        record.summary["own"].clear()
    *_, row = answers_controls.control_lines({"base": cells([run(20.0, s) for s in (0, 1)]), "turned": cells(rotated)})
    assert row.startswith("| base | 2 | 5e-4 | 1 of 1 | 89 ± 0 |")
    assert row.endswith("| – | – | – |")


def test_dimension_is_told_of_old_seeds_new_ones_all_and_rotated_starts() -> None:
    """d = 128 less d = 8: 10 on old seeds, 20 on new ones, 15 on all; of their own pairing rotated starts lose 30. Of
    two equal contrasts of a column each has twice its p by Student's t, of one degree Cauchy's."""

    def at(more: float, seeds: tuple[int, ...], init: str = "teacher") -> list[Record]:
        settings = [{"student__init": init, "student__learning_rate": rate} for rate in (1e-4, 5e-4)]
        few = [run(20.0 + (-1) ** s, s, law__dim=8, **own) for own in settings for s in seeds]
        return few + [run(20.0 + more, s, law__dim=128, **own) for own in settings for s in seeds]

    turned = at(30.0, (0, 1), "rotated")
    for record in turned:
        record.summary["metrics"]["remap_angle"] = {"value": 89.0}
    found = {"rate-length-batch": at(10.0, (0, 1)), "dimension-again": at(20.0, (2, 3))}
    *_, row = answers_dimension.dimension_lines(found | {"rate-controls": turned, "large-rate-controls": []})
    cut = [part.split(" ±")[0] for part in row.strip("| ").split(" | ")]
    assert [cut[i] for i in (0, 1, 2, 3, 5, 7, 9)] == ["5e-4", "2000", "256", "10", "20", "15.0", "30"]
    assert float(cut[4]) == pytest.approx(2 * 2 * math.atan(1 / 10) / math.pi, abs=1e-3)


def test_what_training_loses_is_told_from_what_a_fitted_start_lacks() -> None:
    """By hand, of three seeds of which each dimension has another two: 10 more degrees are lost in 128 dimensions, 2 of
    the second experiment."""

    def fitted(d: int, start: float, ends: dict[int, float]) -> list[Record]:
        records = [run(end, s, law__dim=d, student__init="regressed") for s, end in ends.items()]
        for record in records:
            record.summary["begun"] = {"angle": start, "variance_ratio": 0.9}
        return records

    first = cells([*fitted(8, 10.0, {0: 20.0, 1: 24.0}), *fitted(128, 30.0, {1: 54.0, 0: 50.0, 2: 89.0})])
    second = cells([*fitted(8, 10.0, {0: 20.0, 1: 24.0}), *fitted(128, 30.0, {0: 42.0, 1: 46.0})])
    given = dict(zip(answers_dimension.FITTED, (first, second, second), strict=True))
    *_, row, last, _again = answers_dimension.fitted_lines(given)
    cut, other = ([part.split(" ±")[0] for part in line.strip("| ").split(" | ")] for line in (row, last))
    assert cut[1:4] == ["5e-4", "10", "22"]
    assert (cut[6], other[6]) == ("10", "2")
    pairs = (((10, 20), (30, 50)), ((10, 24), (30, 54)))
    by_seed = [[1000 * math.log(math.cos(math.radians(a)) / math.cos(math.radians(b))) for a, b in p] for p in pairs]
    assert float(cut[9]) == pytest.approx(sum(many - few for few, many in by_seed) / 2, abs=5)  # two digits of its ±
    assert cut[10] == "2"


def test_what_is_said_of_starts_that_begin_equally_far_is_what_the_kept_runs_say() -> None:
    text = " ".join((Path(answers.DOCS) / "answers.md").read_text(encoding="utf-8").split())
    few, lost = [], []
    for name in ("dimension-at-law", "dimension-regressed", "dimension-equal-starts"):
        held = answers_numbers.by_keys(cells(answers.stored()[name]), "student.learning_rate", "law.dim")
        cell = held[1e-4, answers_dimension.FEW]
        few.append(answers_numbers.mean_interval(answers_dimension.begun_angles(cell)).mean)
        own = answers_dimension.lost_since(cell, answers_dimension.plain)
        lost.append(answers_numbers.mean_interval(list(own.values())).mean)
    assert (
        "begin at {:.1f}, {:.1f} and {:.1f} degrees lose {:.1f}, {:.1f} and {:.1f} at 1e-4".format(*few, *lost) in text
    )
    both = [
        [answers_dimension.lost_since(held[rate, d], answers_dimension.plain) for d in (8, 128)]
        for rate in (1e-4, 3e-4)
    ]
    less = [answers_dimension.more_of(many, own) for own, many in both]
    said = "d = 8 loses {:.1f} ± {:.1f} and {:.1f} ± {:.1f} degrees *more*"
    assert said.format(*(x for i in less for x in (i.mean, i.high - i.mean))) in text
    of = [[held[rate, d] for rate in (1e-4, 3e-4)] for d in (8, 128)]
    ceilings = [f"{c.interval('delta_e_ceiling').mean:.0f}" for own in of for c in own]
    assert "ceilings of delta_e {} and {}, {} and {}. No rotated control".format(*ceilings) in text
    fidelity = [{f"{c.interval('fidelity').mean:.2f}" for c in own} for own in of]
    assert fidelity == [{"1.07"}, {"0.91"}]


def test_what_is_said_of_all_controls_counts_the_kept_runs() -> None:
    text = (Path(answers.DOCS) / "answers.md").read_text(encoding="utf-8")
    pairs = answers_controls.beside_each_other({name: cells(own) for name, own in answers.stored().items()})
    both = [pair for own in pairs.values() for pair in own if all(map(answers_numbers.near, pair))]
    less = [i for pair in both if (i := answers_controls.more_lost_of_own(*pair)).n]
    outside = sum(not i.low <= 0 <= i.high for i in less)
    assert f"Of all {len(less)} such differences {outside} lie outside" in text
