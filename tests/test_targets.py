"""Targets of speed: what is measured, verdicts, bounds. Nothing is timed."""

from typing import Any

import pytest
from benched import record_of

from benchmarks import tables
from benchmarks.points import COMPILED, EAGER, JAX_MAP, JAX_VMAP, PLAIN
from benchmarks.targets import TARGETS, Target, missing


def at_16(**seconds: list[list[float]]) -> dict[str, Any]:
    """A record whose dmdlab takes 1 s a student in every round."""
    names = {"plain": PLAIN, "map": JAX_MAP, "vmap": JAX_VMAP, "eager": EAGER}
    return record_of({COMPILED: [[1.0, 1.0]] * 3} | {names[key]: rounds for key, rounds in seconds.items()})


@pytest.mark.parametrize(
    ("processes", "said"),
    [
        ([[1.0, 1.0], [1.0, 1.1], [1.0, 1.0]], "met"),
        ([[1.0, 1.0], [0.95, 1.1], [1.0, 1.0]], "met"),
        ([[1.0, 1.0], [0.89, 1.11], [1.0, 1.0]], "not met"),  # the least of the rounds
        ([[0.99, 0.99], [0.99, 0.99], [1.2, 1.0]], "not met"),
        ([[1.2, 1.2], [1.0, 1.0], [1.2, 1.2]], "not judged: unsteady"),
    ],
)
def test_a_target_is_met_by_the_median_and_the_least_of_steady_rounds(processes: list[list[float]], said: str) -> None:
    target = Target("", "quickstart", 16, "JAX", 1.0, 0.9)
    assert target.verdict(at_16(vmap=processes, map=[[9.0, 9.0]] * 3)) == said


def test_the_better_form_of_jax_counts_and_compiled_dmdlab() -> None:
    record = at_16(map=[[3.0, 3.0]] * 3, vmap=[[2.0, 2.5]] * 3, eager=[[9.0, 9.0]] * 3, plain=[[5.0, 6.0]] * 3)
    jax, plain = (Target("", "quickstart", 16, of, 1.0) for of in ("JAX", "plain"))
    assert jax.found(record) == (2.25, 2.0, 2.5)
    assert plain.found(record) == (5.5, 5.0, 6.0)
    assert plain.bound(record) == pytest.approx(5.5 / 0.05)  # 100 operations at 2000 a second
    assert Target("", "", 0, "JAX", 1.0).verdict(at_16(plain=[[1.0, 1.0]] * 3)) == "not measured yet"


def test_targets_without_a_baseline_worked_out_by_hand() -> None:
    record = at_16(plain=[[1.0, 1.0]] * 3)
    assert Target("", "", 16, "share", 0.1).found(record) == pytest.approx((0.1, 0.1, 0.1))  # 100 of 1000 operations
    assert Target("", "", 16, "ms", 30.0).found(record) == pytest.approx((16e3, 16e3, 16e3))
    run = Target("", "", 16, "s", 2e5)
    assert run.found(record) == pytest.approx((16e4, 16e4, 16e4))
    assert run.verdict(record).startswith("not judged")
    assert Target("", "", 16, "s", 1e5).verdict(record) == "not met"


def test_the_table_shows_every_target_and_the_report_what_lacks() -> None:
    records = [at_16(plain=[[5.0, 6.0]] * 3) | {"threads": n} for n in (1, 2)]
    shown = tables.targets({"records": records}, "cpu")
    assert "| at least 4 x | 1 | 5.50 (5.00 ... 6.00) | met | 110 |" in shown
    assert shown.count("not measured yet") == 4 + 2  # points without records, and JAX at 16 members twice
    assert len(missing("cpu", records)) == 5
    for device, targets in TARGETS.items():
        assert tables.targets(None, device).count("not measured yet") == len(targets)
