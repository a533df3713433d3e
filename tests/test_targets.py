"""Targets of speed: rows, verdicts and where they come from. Nothing is timed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import limits, report, targets
from benchmarks.grid import MEMBERS, bases
from benchmarks.limits import PEER
from benchmarks.measure import Options


@pytest.mark.parametrize(
    ("seconds", "partial", "said"),
    [
        ([29.0, 30.0], False, "met"),
        ([29.0, 30.1], False, "undecided"),
        ([31.0, 30.1], False, "not met"),
        ([29.0, 30.0], True, "undecided"),  # what was left out might take it beyond 30
        ([31.0, 30.1], True, "not met"),
    ],
)
def test_a_target_is_met_by_every_round_by_none_or_undecided(seconds: list[float], partial: bool, said: str) -> None:
    less, more = targets.Target("time", 30.0, False, "s"), targets.Target("speed", 1 / 30)
    assert targets.verdict(targets.row(less, "tf32", "", seconds, partial=partial)) == said
    turned = targets.row(more, "tf32", "", [1.0, 1.0], seconds, partial=partial)
    assert targets.verdict(turned) == said


def test_the_report_judges_by_what_the_results_hold() -> None:
    rounds = {"above_s": [2.0, 6.0, 8.0], "below_s": [2.0, 2.0, 2.0], "factor": 0.5}
    row = targets.row(targets.PAPER_CPU, "bf16", "so", **rounds, same_s=[1.0, 2.0, 3.0], floor_s=0.6)
    assert (row["measured"], row["wanted"]) == (1.5, 1.4)
    row["wanted"] = 0.1
    shown = report.targets({"records": [row]}, "cpu")
    assert (
        "| at least 0.1 x | bf16 | 1.50 (0.500 ... 2.00) x | met | so; 0.50 (0.25 ... 0.75) against it in bf16" in shown
    )
    assert "; bound 5.00 |" in shown  # 0.5 x 6 / 0.6
    assert shown.count("not measured yet") == len(targets.TARGETS["cpu"]) - 1


GPU = {"dmdlab, graph": "tf32", "dmdlab, graph, bf16": "bf16", limits.PEER: "tf32", limits.BF16_PEER: "bf16"}


def measured(base: Any, options: Options, who: Sequence[str]) -> list[dict[str, Any]]:
    """Stands in for `limits.at`: rounds that each took twice as long as the one before."""
    seconds = {"dmdlab, graph": 6.4, "dmdlab, graph, bf16": 3.2, limits.PEER: 0.64, limits.BF16_PEER: 0.96}
    common = {"floor_s": 0.5, "flops": 1e14, "product_flops": 1e14, "flops_per_s": 1e14, "product_flops_per_s": 4e14}
    names = {n: p for n, p in GPU.items() if n == PEER or n in who}
    return [
        common | {"who": n, "network.precision": p, "own_s": [seconds[n], 2 * seconds[n]], "product_s": [1.6, 3.2]}
        for n, p in names.items()
    ]


def test_every_gpu_target_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "at", measured)
    monkeypatch.setattr(targets, "whole_run", lambda base, options: targets.row(targets.RUN_GPU, "tf32", "", [80.0]))
    monkeypatch.setattr(targets, "dimension", lambda options, file: targets._dimension_row([1200.0], "", True))
    rows = list(targets.gpu_rows(Options("cuda")))
    assert not targets.missing({"device": "cuda", "precisions": ["float32", "tf32", "bf16"], "records": rows})
    by = {(r["target"], r["precision"]): (r["measured_least"], r["measured_most"]) for r in rows}
    assert by[targets.MANY_GPU.text, "tf32"] == pytest.approx((6.4, 6.4))  # 64 x 0.64 / 6.4 in every round
    assert by[targets.MANY_GPU.text, "bf16"] == pytest.approx((19.2, 19.2))  # against the plain loop in bf16
    assert by[targets.RATE_GPU.text, "tf32"] == pytest.approx((0.25, 0.25))  # 1e14 / 6.4 of 1e14 / 1.6
    assert by[targets.WIDE_GPU.text, "tf32"] == pytest.approx((6400, 12800))
    assert by[targets.SWEEP_GPU.text, "auto"] == pytest.approx((20.0, 20.0))
    assert not any("same" in r for r in rows)
    assert [targets.verdict(r) for r in rows if r["target"] == targets.SWEEP_GPU.text] == ["undecided"]


def test_on_a_cpu_a_bf16_row_tells_the_ratio_to_the_plain_loop_in_bf16_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "at", measured)
    base, who = bases(Options())[0].at(MEMBERS, 10), ("dmdlab, graph", "dmdlab, graph, bf16")
    plain, bf16 = targets.ratios(base, Options(), who, targets.PAPER_CPU)
    assert "same" not in plain
    assert [bf16["measured"], bf16["same"]] == pytest.approx([2.0, 3.0])  # 10 x 0.64 / 3.2, 10 x 0.96 / 3.2


def test_a_whole_run_is_extrapolated_from_a_few_cycles_or_run_in_full() -> None:
    asked: list[int] = []

    def turn(n: int) -> float:
        asked.append(n)
        return 0.5 * n

    few = ([5000.0] * 3, "extrapolated from 3 times 200 to 10000")
    assert targets.extrapolated(turn, 10_000, Options()) == few
    assert targets.extrapolated(turn, 10_000, Options(full=True)) == ([5000.0], "run in full")
    assert asked[1:4] + asked[5:] == [200, 200, 200, 10_000]


def test_a_sweep_is_extrapolated_over_all_its_ensembles(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(
        'preset = "smoke"\n[sweep]\n"law.dim" = [2, 3]\n"student.init" = ["teacher", "rotated"]\n'
        "seed = { start = 0, stop = 2 }\n"
    )
    row = targets.dimension(Options(quick=True), file)
    assert row["measured"] > 0
    assert "its 2 ensembles" in row["how"]
