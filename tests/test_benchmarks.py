"""The benchmarks run and have what the tables need. Nothing is timed."""

import gc
import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from small import CPU, law_of

from benchmarks import measure, rates, report, suite, targets, throughput, transport
from benchmarks.contestants import Contestant, Ensemble, Job
from benchmarks.grid import MEMBERS, bases
from benchmarks.lane import Lane, current
from benchmarks.limits import PEER, Entry, rounds_of, shares
from benchmarks.measure import Effort, Options, alternate, exponent, quotient
from benchmarks.plain_loop import denoiser
from dmdlab.device import environment

# --- how it is timed


def test_contestants_take_turns_of_equal_length_and_swap_places() -> None:
    turns: list[tuple[str, int]] = []

    def turn(name: str, seconds: float, units: int) -> float:
        turns.append((name, units))
        return seconds * units

    taken = alternate(
        {"fast": lambda n: turn("fast", 0.01, n), "slow": lambda n: turn("slow", 0.05, n)},
        Effort(rounds=3, turn_s=0.2),
    )
    assert turns[-6:] == [("fast", 20), ("slow", 4), ("slow", 4), ("fast", 20), ("fast", 20), ("slow", 4)]
    assert {name: pytest.approx(times) for name, times in taken.items()} == {"fast": [0.01] * 3, "slow": [0.05] * 3}


def test_who_is_slow_is_measured_in_fewer_rounds() -> None:
    calls: list[int] = []
    taken = alternate({"slow": lambda n: calls.append(n) or 5.0 * n}, Effort(rounds=9, slow_s=1.0))
    assert calls == [1, 1, 1, 1]  # one to warm up
    assert len(taken["slow"]) == 3


def test_a_ratio_is_taken_round_by_round() -> None:
    assert quotient([2.0, 6.0, 30.0], [1.0, 2.0, 3.0], 2) == {"ratio": 6.0, "ratio_least": 4.0, "ratio_most": 20.0}


def test_the_figures_of_a_point_worked_out_by_hand() -> None:
    record = {"members": 4, "flops": 100, "plain_s": [0.3, 0.2, 0.8], "own_s": [0.2, 0.4, 0.1]}
    assert throughput.figures(record) == pytest.approx(
        {
            "plain_ms": 300,
            "own_ms": 200,
            "ratio": 6.0,  # of 4 x (1.5, 0.5, 8)
            "ratio_least": 2.0,
            "ratio_most": 32.0,
            "students_per_s": 20.0,
            "flops_per_s": 500.0,
        }
    )


def test_what_is_measured_is_kept_to_four_digits() -> None:
    taken = alternate({"it": lambda n: 0.0123456789 * n}, Effort(rounds=2, turn_s=0.0))
    assert taken == {"it": [0.01235, 0.01235]}


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


def test_a_lane_is_a_process_with_its_own_threads_whose_errors_are_raised_here() -> None:
    job = bases(Options(quick=True))[0].job("eager", "cpu")
    with Lane(Options(threads=2), tuned=True) as lane:
        assert lane.call(torch.get_num_threads) == 2
        assert lane.call(os.getenv, "OPENBLAS_NUM_THREADS") == "2"  # for numpy
        with pytest.raises(AssertionError, match="no contestant"):
            lane.call(current)
        assert lane.enter(job) > 0
        assert lane.seconds(3) > 0


# --- what is measured


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("quick", [False, True])
def test_points_of_the_grid_differ_from_their_base_in_one_setting_and_are_real_experiments(
    device: str, quick: bool
) -> None:
    for base in bases(Options(device, quick=quick)):
        (_, first), *others = base.points()
        assert first == base
        keys = [(p.members, *sorted(p.settings.items(), key=str)) for _, p in base.points()]
        assert len(set(keys)) == len(keys)
        for axis, point in others:
            changed = {k for k in base.settings if base.settings[k] != point.settings[k]}
            changed |= {MEMBERS} if point.members != base.members else set()
            assert changed == {axis}
            assert Job(base.preset, point.job("plain", "cpu").words).group()
        assert {axis for axis, _ in others} == set(base.axes)


def test_shares_and_bound_worked_out_by_hand() -> None:
    record = {
        **{"members": 3, "flops": 600, "plain_s": [4.0, 6.0, 8.0], "own_s": [2.0, 2.0, 4.0]},
        **{"product_flops": 1000, "product_s": [2.0, 1.0, 4.0], "shapes_flops": 400, "shapes_s": [0.5, 1.0, 0.25]},
        **{"adam_bytes": 160, "copy_bytes": 80, "copy_s": [0.1, 0.2, 0.1]},
    }
    assert shares(record) == pytest.approx(
        {
            "ms": 2000,
            "ratio": 6.0,  # of 3 x (2, 3, 2)
            "ratio_least": 6.0,
            "ratio_most": 9.0,
            "floor_s": 0.375,  # 600 at the fastest rate, 1600 of the shapes (1000 of the product)
            "bound": 48.0,  # 3 x 6 over that
            "flops_per_s": 300.0,
            "product_flops_per_s": 500.0,
            "share_of_product": 0.6,
            "share_of_shapes": 0.375,  # of 800
            "copy_bytes_per_s": 800.0,
            "optimiser_bytes_share": 0.1,  # 160 bytes take 0.2 of 2 seconds
        }
    )


def test_rounds_and_counts_of_plain_loop_and_ensemble_are_their_own() -> None:
    options = Options(quick=True)
    base = bases(options)[-1]
    taken = {PEER: [1.0], "it": [2.0], "copy": [3.0], "product float32": [4.0]}
    taken |= {"shapes float32, plain True": [5.0], "shapes float32, plain False": [6.0]}
    entries = {PEER: Entry(base.job("plain", "cpu")), "it": Entry(base.job("eager", "cpu"))}
    plain, own = (rounds_of(entry, name, taken, options) for name, entry in entries.items())
    assert [(r["plain_s"], r["own_s"], r["shapes_s"]) for r in (plain, own)] == [
        ([1.0], [1.0], [5.0]),
        ([1.0], [2.0], [6.0]),
    ]
    for key in ("flops", "shapes_flops", "adam_bytes"):
        assert own[key] == 2 * plain[key]  # two members
    e = entries["it"].job.group().shared
    network = denoiser(e.network, law_of(e))
    once = 28 * sum(p.numel() for p in network.parameters())
    assert plain["adam_bytes"] == once * (1 + 5)  # the student's step and five of the fake score's


def test_the_share_of_products_counts_products_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Timed(Contestant):
        def seconds(self, units: int) -> float:
            return 0.05 * units

    micros = {"aten::bmm": 3e4, "aten::addmm": 1e4, "aten::silu": 5e4, "aten::linear": 7e4}
    events = [SimpleNamespace(key=k, self_cpu_time_total=v) for k, v in micros.items()]
    monkeypatch.setattr(rates, "watch", lambda *_: SimpleNamespace(key_averages=lambda: events))
    monkeypatch.setattr(rates, "current", lambda: Timed(lambda: None, CPU))
    assert rates.share_of_products(2, 3) == pytest.approx(0.4)  # 40 of 100 ms


def test_the_share_of_products_finds_them_in_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    a = torch.ones(300, 300)
    for step, least, most in ((lambda: a @ a, 0.2, 5.0), (lambda: a.exp(), 0.0, 0.0)):
        monkeypatch.setattr(rates, "current", lambda step=step: Contestant(step, CPU))
        assert least <= rates.share_of_products(20, 1) <= most


@pytest.fixture
def quick_collection() -> Iterator[None]:
    """Without it each lane's collection of garbage goes through all that pytest holds."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("quick_collection")
def test_every_benchmark_runs_and_is_reported(tmp_path: Path) -> None:
    paths = list(suite.run([], Options(quick=True), tmp_path))
    assert [p.name for p in paths] == [f"{name}-cpu.json" for name in suite.BENCHMARKS]
    free = {"outside_products", "peak_bytes"}  # below 0 by noise; growth of a process that has had its peak
    for path in paths:
        results = json.loads(path.read_text())
        assert {fault.split(" at ")[0] for fault in report.faults(results)} <= {"measured with --quick", "measured"}
        assert {"hardware", "versions", "commit", "command", "seeds", "seconds"} <= results.keys()
        assert results["records"]
        records = results["records"]
        found = [x for r in records for k, x in r.items() if isinstance(x, int | float) and k not in free]
        assert found
        assert all(math.isfinite(x) and x >= 0 for x in found)
    document = report.DOCUMENT.read_text(encoding="utf-8")
    filled = report.written(document, tmp_path)
    cpu = [m for m in report.BLOCK.finditer(filled) if m["device"] == "cpu"]
    assert {m["table"] for m in cpu} == set(report.TABLES)
    assert all("--quick" in m["body"] and "| --- |" in m["body"] for m in cpu)
    assert report.written(filled, tmp_path) == filled
    assert report.BLOCK.sub("", filled) == report.BLOCK.sub("", document)


@pytest.mark.cuda
def test_every_benchmark_runs_on_a_gpu(tmp_path: Path) -> None:
    paths = list(suite.run([], Options("cuda", quick=True), tmp_path))
    where = dict.fromkeys(suite.APART, "cpu")
    assert [p.name for p in paths] == [f"{name}-{where.get(name, 'cuda')}.json" for name in suite.BENCHMARKS]
    found = json.loads(paths[-1].read_text())["records"]
    assert {r["target"] for r in found} == {t.text for t in targets.TARGETS["cuda"]}
    assert {r["way"] for r in json.loads(paths[1].read_text())["records"]} == {"eager", "graph, unfused", "graph"}


def test_the_document_shows_the_results_that_are_kept() -> None:
    document = report.DOCUMENT.read_text(encoding="utf-8")
    assert report.written(document, report.RESULTS) == document, "run python -m benchmarks.report"
    for path in report.RESULTS.glob("*.json"):
        results = json.loads(path.read_text())
        assert not results["quick"]
        assert not [fault for fault in report.faults(results) if "its rounds give" in fault], "edited by hand"


def results_of(benchmark: str, *records: dict[str, Any], **other: Any) -> dict[str, Any]:
    about = {"form": measure.FORM, "benchmark": benchmark, "device": "cpu", "quick": False, "commit": "0123456789ab"}
    return about | {"threads": 1, "cores": 2, "precisions": ["float32"], "records": list(records)} | other


def test_a_figure_edited_by_hand_is_noticed() -> None:
    point = {"members": 1, "flops": 100, "plain_s": [3.0, 2.0], "own_s": [2.0, 4.0]}
    point |= throughput.figures(point)
    bad = [
        (results_of("throughput", point), ""),
        (results_of("throughput", {"fits": False}), ""),
        (results_of("throughput", point | {"ratio": 1.2}), "ratio is 1.2, but its rounds give 1.0"),
        (results_of("throughput", point | {"own_s": [2.0, 1.0]}), "own_ms is 3000.0, but its rounds give 1500.0"),
        (results_of("throughput", point, commit="0123+changes"), "commit first"),
        (results_of("throughput", point, form=1), "older form"),
        (results_of("throughput", point, quick=True), "--quick"),
    ]
    for results, said in bad:
        found = " ".join(report.faults(results))
        assert (said in found) if said else not found


def test_target_rows_that_are_lacking_or_of_other_targets_are_noticed() -> None:
    rows = [
        targets.row(target, "float32", "", [1.0], [1.0]) | {"threads": n}
        for target in targets.TARGETS["cpu"]
        for n in (1, 2)
    ]
    assert not list(report.faults(results_of("targets", *rows)))
    assert len(list(report.faults(results_of("targets", *rows[:-1])))) == 1
    assert len(list(report.faults(results_of("targets", *rows, precisions=["float32", "bf16"])))) == 4
    assert ["2 threads" in fault for fault in report.faults(results_of("targets", *rows[::2]))] == [True, True]
    eased = rows[0] | {"wanted": 0.5}
    assert len(list(report.faults(results_of("targets", eased, *rows[1:])))) == 1


def test_results_of_an_older_form_leave_the_table_as_it_is(tmp_path: Path) -> None:
    document = "<!-- bench: stages cpu -->\nold\n<!-- end -->\n<!-- bench: stages cuda -->\nold\n<!-- end -->\n"
    (tmp_path / "throughput-cpu.json").write_text("{}")
    assert report.written(document, tmp_path).split("\n")[1::3] == ["old", report.NOT_YET.strip()]


def test_the_commit_says_changes_of_code_and_not_of_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def commit() -> str:
        environment.commit.cache_clear()
        return measure.header("targets", Options())["commit"]

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
    record = {"clouds": "c", "n": 5, "d": 2, "dmdlab_s": [2.0, 1.0], "scipy_s": [3.0, 4.0]}
    record |= {"pot_s": [5.0, 6.0], "lapx_s": [0.7, 0.5]}
    found = transport.figures(record)
    assert [found[f"{name}_ratio"] for name in transport.PEERS] == [3.0, 5.0, 0.5]
    certified = transport.certify(5, 2, 0.01) | {"peak_bytes": None}
    shown = report.transport({"records": [record | found], "certified": [certified]})
    assert "| c | 5 | 2 | 2 | 1000.0 | 3000.0 (3.0) | 5000.0 (5.0) | 500.0 (0.5) |" in shown
    assert "GiB" not in shown
