"""The targets that dmdlab set itself, and whether this machine meets them: on a GPU, meant for one H200, or on a CPU.

Ratios are against the plain loop in the same run: on a GPU in the same precision, on a CPU in float32, with the ratio
against the same precision beside it. Each row keeps its rounds and says how it was measured: what is extrapolated from
a few hundred cycles says so, and runs in full with `--full`. A target is met when every round meets it, not met when
none does, and undecided between; an extrapolation that leaves work out is never said to meet one.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contestants import Contestant, Ensemble
from benchmarks.grid import MEMBERS, PAPER, QUICKSTART, TINY, WIDE, Base
from benchmarks.lane import Lane
from benchmarks.limits import BF16_PEER, PEER, at
from benchmarks.measure import Options, Turn, quotient, say, significant
from dmdlab.device.limits import allowed_cores
from dmdlab.experiments import load
from dmdlab.group import Group, group_by_shape
from dmdlab.lab.trial import random_start
from dmdlab.laws import make_law
from dmdlab.networks import make_denoiser
from dmdlab.training.distill import cycles
from dmdlab.training.teacher import train_teacher

DIMENSION = Path(__file__).resolve().parents[1] / "experiments" / "dimension.toml"
FEW, ROUNDS = 200, 3
"""Cycles and iterations from which a whole run is extrapolated, so many times."""

SET_UP = 8
"""Units before the clock counts: a graph is captured at the fourth call."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What is wanted: at least, or (least = False) at most, so much."""

    text: str
    wanted: float
    least: bool = True
    unit: str = "x"


PAPER_CPU = Target("the paper-size cycle (MLP 384 x 5, batch 512), one student, against the plain loop", 1.4)
QUICKSTART_CPU = Target("the quickstart's network, 16 members, students per second against the plain loop", 4.0)
PAPER_GPU = Target("one paper-size student (MLP 384 x 5, batch 512), against the plain loop", 8.0)
MANY_GPU = Target("64 paper-size students, students per second against the plain loop", 60.0)
RATE_GPU = Target("64 paper-size students, share of the rate of a large matrix product", 0.35, unit="")
RUN_GPU = Target("the paper's whole toy distillation (50 000 iterations) for 64 seeds", 90.0, False, "s")
WIDE_GPU = Target("a cycle of 256 members, width 256 (residual, depth 4, k = 5), d = 64, batch 1024", 30.0, False, "ms")
SWEEP_GPU = Target("the full experiments/dimension.toml", 30.0, False, "min")
TARGETS = {
    "cpu": (PAPER_CPU, QUICKSTART_CPU),
    "cuda": (PAPER_GPU, MANY_GPU, RATE_GPU, RUN_GPU, WIDE_GPU, SWEEP_GPU),
}
"""By kind of device; those of 'cuda' are meant for one H200."""


def run(options: Options) -> dict[str, Any]:
    """A record for each target of this kind of device."""
    records = []
    for record in gpu_rows(options) if options.cuda else cpu_rows(options):
        told = " ... ".join(f"{record[key]:.3g}" for key in ("measured_least", "measured_most"))
        say(f"{record['target']}, {record['precision']}: {told} {record['unit']}: {verdict(record).upper()}")
        records.append(record)
    return {"records": records}


def row(
    target: Target,
    precision: str,
    how: str,
    above_s: Sequence[float],
    below_s: Sequence[float] | None = None,
    factor: float = 1.0,
    **more: Any,
) -> Row:
    """A record: the target, and what was measured in each round, factor * above_s / below_s (None: 1).

    more: `partial`, True where work was left out; `same_s`, rounds of the plain loop in the same precision where
    above_s is in another; `floor_s`, seconds of the counted products at the fastest rate seen (`benchmarks.limits`).
    """
    about = {"target": target.text, "wanted": target.wanted, "least": target.least, "unit": target.unit}
    rounds = {"above_s": above_s, "below_s": below_s or [1.0] * len(above_s), "factor": factor}
    record = {**about, "threads": None, "precision": precision, "how": how, "partial": False, **rounds, **more}
    return record | figures(record)


def figures(record: Mapping[str, Any]) -> dict[str, float]:
    """From a record's rounds: what was measured with its least and most, and the same against the same precision."""
    found: dict[str, float] = {}
    for key, above in (("measured", "above_s"), ("same", "same_s")):
        if above in record:
            of = quotient(record[above], record["below_s"], record["factor"])
            found |= {key: of["ratio"], f"{key}_least": of["ratio_least"], f"{key}_most": of["ratio_most"]}
    if "floor_s" in record:
        found["bound"] = record["factor"] * statistics.median(record["above_s"]) / record["floor_s"]
    return found


def verdict(record: Mapping[str, Any]) -> str:
    """'met', 'not met' or 'undecided', by every round. Work left out shortens a time: it can be too long, not short
    enough."""
    rounds = (record["measured_least"], record["measured_most"])
    good = [x >= record["wanted"] if record["least"] else x <= record["wanted"] for x in rounds]
    if not any(good):
        return "not met"
    return "met" if all(good) and not record["partial"] else "undecided"


def missing(results: Mapping[str, Any]) -> list[str]:
    """The rows that `run` would write by now on that machine and these results lack, in words."""
    networks = ["tf32" if "tf32" in results["precisions"] else "float32"]
    networks += ["bf16"] if "bf16" in results["precisions"] else []
    precisions = {RUN_GPU: networks[:1], SWEEP_GPU: ["auto"]}
    threads = [None] if results["device"] == "cuda" else dict.fromkeys([results["threads"], results["cores"]])
    there = [
        (Target(r["target"], r["wanted"], r["least"], r["unit"]), r["precision"], r["threads"])
        for r in results["records"]
    ]
    return [
        f"{target.text} ({precision}{f', {n} threads' if n else ''})"
        for target in TARGETS[results["device"]]
        for precision in precisions.get(target, networks)
        for n in threads
        if (target, precision, n) not in there
    ]


def cpu_rows(options: Options) -> Iterator[Row]:
    """The paper-size cycle and the quickstart's network, float32 and where the CPU has it bf16: with the threads asked
    for, and with one a core, torch's own choice."""
    paper, quickstart = Base("paper", "paper", PAPER, 1), Base("quickstart", "quickstart", QUICKSTART, 16)
    if options.quick:
        paper, quickstart = Base("paper", "smoke", TINY, 1), Base("quickstart", "smoke", TINY, 2)
    for base, target in ((paper, PAPER_CPU), (quickstart, QUICKSTART_CPU)):
        for threads in dict.fromkeys([options.threads, allowed_cores()]):
            given = replace(options, threads=threads)
            for found in ratios(base, given, ("dmdlab, eager", "dmdlab, eager, bf16"), target):
                each = f"{threads} thread{'s' if threads > 1 else ''} each"
                yield found | {"threads": threads, "how": f"{each}, {found['how']}"}


def gpu_rows(options: Options) -> Iterator[Row]:
    """The targets for one H200; `--quick` takes tiny sizes."""
    one = Base("paper", "smoke" if options.quick else "paper", TINY if options.quick else PAPER, 1)
    many, best = one.at(MEMBERS, 2 if options.quick else 64), ("dmdlab, graph", "dmdlab, graph, bf16")
    yield from ratios(one, options, best, PAPER_GPU)
    yield from ratios(many, options, best, MANY_GPU, RATE_GPU)
    yield whole_run(many, options)
    wide = Base("wide", "smoke" if options.quick else "quickstart", TINY if options.quick else WIDE, 256)
    yield from cycle_ms(wide.at(MEMBERS, 2) if options.quick else wide, options)
    yield dimension(options, DIMENSION, *(("law.name=mixture", "law.dim=2") if options.quick else ()))


def ratios(
    base: Base, options: Options, who: Sequence[str], target: Target, share: Target | None = None
) -> Iterator[Row]:
    """How many times the plain loop each of `who` is, and its share of the product rate if that is a target, too.

    On a GPU the plain loop has the same precision; on a CPU it is in float32, as anyone would write it there, and the
    ratio to the plain loop in the same precision goes with it.
    """
    records = {r["who"]: r for r in at(base, options, (*who, BF16_PEER))}
    for found in (records[name] for name in who if name in records):  # without a precision that this device lacks
        precision = found["network.precision"]
        same = records[BF16_PEER if precision == "bf16" else PEER]
        peer = same if options.cuda else records[PEER]
        more = {} if peer is same else {"same_s": same["own_s"]}
        how = f"against the plain loop in {peer['network.precision']}"
        rounds = peer["own_s"], found["own_s"]
        yield row(target, precision, how, *rounds, base.members, floor_s=found["floor_s"], **more)
        if share is not None:
            how = f"{found['flops_per_s'] / 1e12:.3g} of {found['product_flops_per_s'] / 1e12:.3g} TFLOP/s"
            factor = found["flops"] / found["product_flops"]
            yield row(share, precision, how, found["product_s"], found["own_s"], factor)


def cycle_ms(base: Base, options: Options) -> Iterator[Row]:
    """Milliseconds of one cycle of the whole ensemble."""
    names = ("dmdlab, graph", "dmdlab, graph, bf16")
    for found in (r for r in at(base, options, names) if r["who"] in names):
        how = f"{found['flops_per_s'] / 1e12:.3g} TFLOP/s"
        yield row(WIDE_GPU, found["network.precision"], how, found["own_s"], factor=1e3)


def whole_run(base: Base, options: Options) -> Row:
    """Every cycle of the paper's distillation for all members."""
    job = base.job("graph" if options.cuda else "eager", options.device)
    wanted = cycles(job.group())
    with Lane(options, tuned=True) as lane:
        lane.enter(job)
        seconds, how = extrapolated(lane.seconds, wanted, options)
    how = f"cycles {how}; without teacher training and measures"
    return row(RUN_GPU, job.precision, how, seconds, partial=not options.full)


def extrapolated(turn: Turn, wanted: int, options: Options) -> tuple[list[float], str]:
    """Seconds of `wanted` units in each round (in one, if they all run), and in words whether they all ran."""
    few = wanted if options.full else 2 if options.quick else FEW
    turn(SET_UP)
    seconds = [significant(turn(few) * wanted / few) for _ in range(1 if options.full else ROUNDS)]
    return seconds, "run in full" if options.full else f"extrapolated from {ROUNDS} times {few} to {wanted}"


def dimension(options: Options, file: Path, *words: str) -> Row:
    """The whole sweep: with `--full` as `dmdlab sweep` runs it, else from a few cycles of each of its ensembles."""
    if options.full:
        with tempfile.TemporaryDirectory() as folder:
            return _dimension_row([significant(_sweep_seconds(options, file, folder, words))], "run in full", False)
    groups = group_by_shape(load(file, None, list(words)).experiments())
    with Lane(options, tuned=True) as lane:
        seconds = [lane.call(group_seconds, group, options) for group in groups]
    few = f"{ROUNDS} times {FEW} cycles and iterations of each of its {len(groups)} ensembles"
    how = f"extrapolated from {few}; without flows and measures"
    return _dimension_row([sum(each) for each in zip(*seconds, strict=True)], how, True)


def _dimension_row(seconds: list[float], how: str, partial: bool) -> Row:
    return row(SWEEP_GPU, "auto", how, seconds, factor=1 / 60, partial=partial)


def _sweep_seconds(options: Options, file: Path, folder: str, words: Sequence[str]) -> float:
    arguments = ["dmdlab", "sweep", str(file), *words, "--out", folder, "--device", options.device]
    code = f"import sys; sys.argv = {arguments!r}; from dmdlab.cli import main; main()"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def group_seconds(group: Group, options: Options) -> list[float]:
    """In a lane: seconds of training one ensemble, its start networks included, each round from a few of both."""
    e, device = group.shared, torch.device(options.device)
    law = make_law(e.law.model_dump()).to(device)
    loop = random_start(group, device)
    network = make_denoiser(len(group.seeds), law, e.network, device)
    teacher = train_teacher(e, group.seeds, law, network, report_every=1)
    distilling, teaching = Ensemble(loop, device), Contestant(lambda: next(teacher), device)
    trained, _ = extrapolated(teaching.seconds, e.teacher.iterations, options)
    distilled, _ = extrapolated(distilling.seconds, cycles(group), options)
    return [significant(a + b) for a, b in zip(trained, distilled, strict=True)]
