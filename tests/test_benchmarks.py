"""The benchmarks run and have what the tables need. Nothing is timed."""

import gc
import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benched import record_of
from scipy import stats
from small import CPU

from benchmarks import measure, peers, rates, report, suite, tables, transport
from benchmarks.contestants import Ensemble
from benchmarks.growth import exponent, growth
from benchmarks.lane import Lane
from benchmarks.measure import Options, alternate, middle, ratio
from benchmarks.points import EAGER, JAX_MAP, MEMBERS, PLAIN, TINY, WIDTH, Job, grid, points
from dmdlab.device import environment

# --- how it is timed


def test_contestants_take_turns_of_equal_length_and_swap_places() -> None:
    turns: list[tuple[str, int]] = []

    def turn(name: str, seconds: float, units: int) -> float:
        turns.append((name, units))
        return seconds * units

    taken = alternate(
        {"fast": lambda n: turn("fast", 0.0100004, n), "slow": lambda n: turn("slow", 0.15, n)}, 3, turn_s=0.2
    )
    assert turns[:3] == [("fast", 1), ("fast", measure.WARM_UP), ("slow", 1)]  # who is slow is warm after one
    assert turns[3:] == [("fast", 20), ("slow", 2), ("slow", 2), ("fast", 20), ("fast", 20), ("slow", 2)]
    assert taken == {"fast": [0.01] * 3, "slow": [0.15] * 3}  # to four digits


def test_medians_are_over_processes_and_ratios_are_taken_round_by_round() -> None:
    processes = [[1.0, 9.0, 2.0], [3.0, 3.0, 3.0], [10.0, 4.0, 5.0]]
    assert middle(processes) == 3.0
    assert ratio(processes, [[1.0, 3.0, 1.0], [2.0, 3.0, 6.0], [2.0, 4.0, 5.0]]) == (1.0, 0.5, 5.0)


def test_the_exponent_is_that_of_a_regression_of_logarithms() -> None:
    x, noise = [1, 2, 8, 64], [0.1, -0.2, 0.05, 0.3]
    found = exponent(x, [3.0 * v**1.7 * math.exp(r) for v, r in zip(x, noise, strict=True)])
    expected = stats.linregress(np.log(x), 1.7 * np.log(x) + noise)
    assert found["slope"] == pytest.approx(expected.slope)
    assert found["half"] == pytest.approx(4.302653 * expected.stderr)  # Student's t, 2 degrees of freedom, 97.5 %
    assert found["last"] == pytest.approx(1.7 + 0.25 / math.log(8))
    assert math.isnan(exponent([1, 2], [1.0, 4.0])["half"])


def test_every_cycle_is_charged_its_share_of_the_drawing() -> None:
    class Clock:
        """A loop whose cycles take 1 and whose drawing of a block takes 10."""

        steps, given_out, now = 8, 8, 0.0

        def cycle(self) -> None:
            assert self.given_out < self.steps, "a block was drawn within a turn"
            self.given_out += 1
            self.now += 1.0

        def __next__(self) -> None:
            self.given_out = 1
            self.now += 10.0

    clock: Any = Clock()
    clock.draws = clock

    class Timed(Ensemble):
        def _timed(self, step: Any, calls: int) -> float:
            before = clock.now
            for _ in range(calls):
                step()
            return clock.now - before

    for units in (1, 3, 8, 20):
        assert Timed(clock, CPU).seconds(units) == pytest.approx(units * (1 + 10 / 8))


def test_a_lane_is_a_process_with_its_own_threads_whose_errors_are_raised_here(tmp_path: Path) -> None:
    with Lane(Options(threads=2), tuned=True, cache=str(tmp_path)) as lane:
        assert lane.call(torch.get_num_threads) == 2
        assert lane.call(os.getenv, "OPENBLAS_NUM_THREADS") == "2"  # for numpy
        assert lane.call(os.getenv, "TORCHINDUCTOR_CACHE_DIR") == f"{tmp_path}/torch"
        with pytest.raises(AssertionError, match="no contestant"):
            lane.turn(1)
        assert lane.enter(Job(TINY, EAGER)) > 0
        assert lane.enter(Job(TINY, EAGER)) == 0.0  # it is there
        assert lane.turn(3) > 0


# --- what is measured


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("quick", [False, True])
def test_points_of_the_grid_differ_from_their_base_in_one_setting_and_are_real_experiments(
    device: str, quick: bool
) -> None:
    assert all(point.group(1) for point in points(Options(device, quick=quick)))
    for base in grid(Options(device, quick=quick)):
        (_, first), *others = base.along_axes()
        assert first == base
        for axis, point in others:
            changed = {k for k in base.settings if base.settings[k] != point.settings[k]}
            changed |= {MEMBERS} if point.members != base.members else set()
            assert changed == {axis}
            assert point.group(1)
        assert {axis for axis, _ in others} == set(base.axes)


def test_the_figures_of_a_point_worked_out_by_hand() -> None:
    record = record_of({PLAIN: [[0.3, 0.2, 0.8], [0.4, 0.4, 0.4]], EAGER: [[0.1] * 3] * 2})
    assert record["figures"] == pytest.approx(
        {
            "plain loop, ms": 350,
            "plain loop, spread": 4 / 3,
            "eager, ms": 100,
            "eager, spread": 1.0,
            "floor, ms": 50,  # at the fastest rate of any library in any process
        }
    )
    assert peers.fastest(record) == ("numpy, large", 2000.0)
    assert peers.unsteady(record) == [PLAIN]
    assert "*unsteady* 3.50 (2.00 ... 8.00)" in tables.peers({"records": [record]})


def test_a_point_whose_baseline_spreads_is_measured_again_and_the_steadiest_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spreads = iter([(1.0, 1.5), (1.0, 1.2), (1.0, 1.3)])  # of three measurements; the second point is steady
    asked: list[int] = []

    def measured(where: Any, who: Any, options: Any, processes: int) -> list[dict[str, Any]]:
        asked.append(len(where))
        a, b = next(spreads)
        found = [record_of({PLAIN: [[a], [b]]}), record_of({PLAIN: [[1.0], [1.1]]})]
        return found[: len(where)]

    monkeypatch.setattr(peers, "measured", measured)
    first, second = peers.steady([TINY, TINY], Options())
    assert asked == [2, 1, 1]
    assert (first["seconds"][PLAIN], first["measured"]) == ([[1.0], [1.2]], 3)
    assert second["measured"] == 1
    assert [peers.unsteady(r) for r in (first, second)] == [[PLAIN], []]


def test_products_of_a_network_are_those_of_forward_and_backward() -> None:
    found = rates.own(Job(TINY, EAGER), 3)
    layers = [(2, 8), (32, 8), (8, 8), (8, 8), (8, 2)]
    expected = [shape for a, b in layers for shape in ((3, 16, a, b), (3, a, 16, b), (3, 16, b, a))]
    assert sorted(found) == sorted(expected)
    told = rates.rates(Job(TINY, EAGER), quick=True, seconds=0.0)
    assert {name.split(",")[0] for name in told} == {"torch", "numpy"}
    assert all(rate > 0 for rate in told.values())


def test_growth_is_of_the_whole_ensemble_and_of_the_plain_loops_one_student() -> None:
    def at(members: int, width: int, axis: str) -> dict[str, Any]:
        seconds = {PLAIN: [[float(width)]], EAGER: [[width**2 / members**0.5]]}
        return record_of(seconds, members, axis=axis, **{WIDTH: width})

    records = [
        at(4, 8, ""),
        at(1, 8, MEMBERS),
        at(16, 8, MEMBERS),
        at(4, 2, WIDTH),
        at(4, 64, WIDTH),
    ]
    found = {(g.axis, g.who): (g.slope, g.values) for g in growth(records)}
    assert found == {
        (MEMBERS, EAGER): (pytest.approx(0.5), [1, 4, 16]),
        (WIDTH, EAGER): (pytest.approx(2.0), [2, 8, 64]),
        (WIDTH, PLAIN): (pytest.approx(1.0), [2, 8, 64]),
    }


@pytest.fixture
def quick_collection() -> Iterator[None]:
    """Without it each lane's collection of garbage goes through all that pytest holds."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_collection")
def test_every_benchmark_runs_and_is_reported(tmp_path: Path) -> None:
    paths = list(suite.run([], Options(quick=True), tmp_path))
    assert [p.name for p in paths] == [f"{name}-cpu.json" for name in suite.BENCHMARKS]
    for path in paths:
        results = json.loads(path.read_text())
        said = {fault.split(" at ")[0] for fault in report.faults(results) if "target" not in fault}
        assert said <= {"measured with --quick", "measured"}
        assert {"hardware", "versions", "commit", "command", "seeds", "seconds"} <= results.keys()
        found = [x for record in results["records"] for x in record["figures"].values()]
        assert found
        assert all(math.isfinite(x) and x >= 0 for x in found)
    shown = set()
    for path in report.DOCUMENTS:
        document = path.read_text(encoding="utf-8")
        filled = report.written(document, tmp_path)
        cpu = [m for m in report.BLOCK.finditer(filled) if m["device"] == "cpu"]
        shown |= {m["table"] for m in cpu}
        assert all("--quick" in m["body"] and "| --- |" in m["body"] for m in cpu)
        assert report.written(filled, tmp_path) == filled
        assert report.BLOCK.sub("", filled) == report.BLOCK.sub("", document)
    assert shown == set(tables.TABLES)


@pytest.mark.cuda
def test_every_benchmark_runs_on_a_gpu(tmp_path: Path) -> None:
    paths = list(suite.run([], Options("cuda", quick=True), tmp_path))
    where = dict.fromkeys(suite.APART, "cpu")
    assert [p.name for p in paths] == [f"{name}-{where.get(name, 'cuda')}.json" for name in suite.BENCHMARKS]


# --- what is reported


def test_the_documents_show_the_results_that_are_kept() -> None:
    for path in report.DOCUMENTS:
        document = path.read_text(encoding="utf-8")
        assert report.written(document, report.RESULTS) == document, "run python -m benchmarks.report"
    for path in report.RESULTS.glob("*.json"):
        results = json.loads(path.read_text())
        assert not results["quick"]
        assert not [fault for fault in report.faults(results) if "its rounds give" in fault], "edited by hand"


def results_of(benchmark: str, *records: dict[str, Any], **other: Any) -> dict[str, Any]:
    about = {"form": measure.FORM, "benchmark": benchmark, "device": "cpu", "quick": False, "commit": "0123456789ab"}
    return about | {"threads": 1, "records": list(records)} | other


def test_a_figure_edited_by_hand_is_noticed() -> None:
    point = record_of({PLAIN: [[3.0, 2.0]], EAGER: [[2.0, 4.0]]}) | {"axis": ""}
    bad = [
        (results_of("growth", point), ""),
        (results_of("growth", point | {"figures": point["figures"] | {"eager, ms": 1.0}}), "rounds give 3000.0"),
        (results_of("growth", point | {"flops": 200}), "floor, ms is 50.0, but its rounds give 100.0"),
        (results_of("growth", point | {"seconds": {PLAIN: [[2.5]]}}), "eager, ms is 3000.0, but its rounds give nan"),
        (results_of("growth", point, commit="0123+changes"), "commit first"),
        (results_of("growth", point, form=1), "older form"),
        (results_of("growth", point, quick=True), "--quick"),
        (results_of("peers", point), "tells nothing of a target: the paper's network"),
    ]
    for results, said in bad:
        found = " ".join(report.faults(results))
        assert (said in found) if said else not found


def test_results_of_an_older_form_are_not_shown(tmp_path: Path) -> None:
    document = "<!-- bench: growth cpu -->\nold\n<!-- end -->\n<!-- bench: growth cuda -->\nold\n<!-- end -->\n"
    (tmp_path / "growth-cpu.json").write_text("{}")
    assert report.written(document, tmp_path).split("\n")[1::3] == [report.NOT_YET.strip()] * 2


def test_a_peer_that_was_not_there_has_no_column() -> None:
    with_jax = record_of({PLAIN: [[3.0]] * 2, JAX_MAP: [[2.0]] * 2, EAGER: [[1.0]] * 2})
    assert "JAX / dmdlab" in tables.peers({"records": [with_jax]})
    assert "JAX, map 3.0 / 1.0" in tables.peers({"records": [with_jax]})
    without = record_of({PLAIN: [[3.0]] * 2, EAGER: [[1.0]] * 2})
    assert "JAX" not in tables.peers({"records": [without]}) + tables.limits({"records": [without]})


def test_the_commit_says_changes_of_code_and_not_of_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def commit() -> str:
        environment.commit.cache_clear()
        return measure.header("peers", Options())["commit"]

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=b", *words], check=True)

    monkeypatch.setattr(environment, "__file__", str(tmp_path / "dmdlab" / "lab" / "environment.py"))
    for folder in ("dmdlab", "benchmarks", "benchmarks/results", "docs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("a")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "all")
    for folder in ("benchmarks/results", "docs"):
        (tmp_path / folder / "file").write_text("b")
    assert "+" not in commit()
    (tmp_path / "benchmarks" / "file").write_text("b")
    assert commit().endswith("+changes")
    environment.commit.cache_clear()


def test_transport_figures_worked_out_by_hand_and_an_unknown_peak_of_memory() -> None:
    seconds = {"dmdlab": [2.0, 1.0], "scipy": [3.0, 4.0], "POT": [5.0, 6.0], "lapx": [0.7, 0.5]}
    record = {"clouds": "c", "n": 5, "d": 2, "seconds": seconds}
    record["figures"] = transport.figures(record)
    certified = transport.certify(5, 2, 0.01) | {"peak_bytes": None}
    shown = tables.transport({"records": [record], "certified": [certified]})
    assert "| c | 5 | 2 | 2 | 1000.0 | 3000.0 (3.0) | 5000.0 (5.0) | 500.0 (0.5) |" in shown
    assert "GiB" not in shown
