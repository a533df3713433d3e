"""Command `plan`: what would train together, how much memory and roughly how much time it takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from dmdlab.cli import show
from dmdlab.cli.pace import duration
from dmdlab.cli.run import AsJson, Device, Memory, Preset, Settings, Workers, bytes_of, split_words

if TYPE_CHECKING:
    from dmdlab.lab.plan import Plan

app = typer.Typer()

LEFT_OUT = "Roughly: the networks' training and the exact law; not the measures, calibrations and starting up."
UNPROVEN = "Estimates of time on a GPU have not been compared with runs yet."


@app.command()
def plan(
    words: Settings = None,
    preset: Preset = None,
    device: Device = "auto",
    workers: Workers = None,
    memory: Memory = None,
    as_json: AsJson = False,
) -> None:
    """Show how a sweep would train: ensembles, memory and time.

    Says which runs would train together, in how many processes, and roughly how long; trains nothing.
    """
    from dmdlab.device.environment import choose_device, hardware
    from dmdlab.device.limits import default_workers
    from dmdlab.experiments import load
    from dmdlab.lab.estimate import makespan, plan_seconds
    from dmdlab.lab.plan import plan as make_plan
    from dmdlab.lab.sweep import check_precision

    path, overrides = split_words(words, preset, "plan")
    experiments, chosen = load(path, preset, overrides).experiments(), choose_device(device)
    check_precision(experiments, chosen)
    planned = make_plan(experiments, chosen, workers or default_workers(chosen), bytes_of(memory))
    times = plan_seconds(planned, chosen)
    total = makespan(times, planned.workers if chosen.type == "cpu" else 1)  # training takes turns on a GPU
    rows = [_row(part, seconds) for part, seconds in zip(planned.parts, times, strict=True)]
    if as_json:
        facts = {"workers": planned.workers, "memory": planned.memory, "seconds": total, "device": str(chosen)}
        show.print_json({**facts, "decisions": planned.decisions, "ensembles": rows})
    else:
        notes = [LEFT_OUT, *([UNPROVEN] if chosen.type == "cuda" else [])]
        _print(planned, rows, total, hardware(chosen), notes)


def _row(part: Any, seconds: float) -> dict[str, object]:
    e = part.experiments[0]
    return {
        "law": e.law.name,
        "dim": e.law.dim,
        "width": e.network.width,
        "members": len(part.experiments),
        "bytes": part.bytes,
        "flops": part.flops,
        "seconds": seconds,
    }


def _print(planned: "Plan", rows: Sequence[dict[str, Any]], total: float, hardware: str, notes: Sequence[str]) -> None:
    """The table, its sum, what to know of it, and the decisions."""
    from dmdlab.device.limits import size_text
    from dmdlab.pairing.words import number

    table = [
        [r["law"], r["dim"], r["width"], r["members"], size_text(r["bytes"]), r["flops"] / 1e12, duration(r["seconds"])]
        for r in rows
    ]
    show.plain_table(["law", "d", "width", "members", "memory", "TFLOP", "time"], table)
    print(f"{planned.summary()}")
    tera = sum(r["flops"] for r in rows) / 1e12
    print(f"In all {number(tera)} TFLOP, about {duration(total)} on {hardware}.")
    print(*notes, sep="\n")
    for sentence in planned.decisions:
        print(f"- {sentence}")
