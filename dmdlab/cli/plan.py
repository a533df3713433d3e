"""Command `plan`: what would train together, how much memory and roughly how much time it takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmdlab.cli import show
from dmdlab.cli.means import Means
from dmdlab.cli.run import AsJson, Compile, Device, Eager, Memory, Preset, Settings, Workers, split_words
from dmdlab.trouble import counted

if TYPE_CHECKING:
    from dmdlab.group import Group
    from dmdlab.lab.plan import Part, Plan

app = typer.Typer()

Gpus = Annotated[
    int | None,
    typer.Option(min=1, help="Say when so many GPUs like this device would be done, and what bounds them."),
]

LEFT_OUT = "Roughly: training, measures and calibrations, but for optimal transport; not starting up."
UNPROVEN = "Estimates of time on a GPU have not been compared with runs yet."


@app.command()
def plan(
    words: Settings = None,
    preset: Preset = None,
    device: Device = "auto",
    workers: Workers = None,
    memory: Memory = None,
    eager: Eager = False,
    compile_: Compile = None,
    gpus: Gpus = None,
    as_json: AsJson = False,
) -> None:
    """Show how a sweep would train: ensembles, memory and time.

    Says which runs would train together, in how many processes, and roughly how long; trains nothing.
    """
    from dmdlab.experiments import load
    from dmdlab.lab.costs import measuring_flows
    from dmdlab.lab.plan import shape_name
    from dmdlab.lab.schedule import schedule

    path, overrides = split_words(words, preset, "plan")
    experiments = load(path, preset, overrides).experiments()
    show.err().print("Trying a cycle of each shape of runs; a second or two for each.")
    means = Means(device, 1 if gpus else workers, memory, eager, compile_)
    planned = means.plan(experiments, gpus)
    times = planned.seconds(measuring_flows(planned))
    lanes = gpus or planned.lanes
    found = schedule(times, lanes)
    total = found.makespan
    rows = [_row(part, seconds) for part, seconds in zip(planned.parts, times, strict=True)]
    if as_json:
        most = planned.workers * planned.share
        facts = {"workers": planned.workers, "memory": most, "seconds": total, "device": str(planned.device)}
        facts |= {"devices": lanes, "device_seconds": found.work, "bound": found.bound}
        show.print_json({**facts, "decisions": planned.decisions, "ensembles": rows})
    else:
        _print(planned, rows, total)
        if gpus:
            kind = "GPU" if planned.device.type == "cuda" else "worker"
            print(found.in_words(kind, show.duration, [shape_name(part.group) for part in planned.parts]))
            if planned.device.type == "cpu":
                print("Timed on this machine's CPU: on GPUs, ask `dmdlab plan` on a machine that has one of them.")


def _row(part: "Part", seconds: float) -> dict[str, object]:
    from dmdlab.lab.plan import network_name
    from dmdlab.networks import network_settings

    e = part.group.shared
    return {
        "law": e.law.name,
        "dim": e.law.dim,
        "network": network_name(e),
        **network_settings(e.network).model_dump(mode="json"),
        "members": len(part.group),
        "bytes": part.bytes,
        "peaks": _peaks(part.group),
        "flops": part.flops,
        "seconds": seconds,
    }


def _print(planned: "Plan", rows: Sequence[dict[str, Any]], total: float) -> None:
    """The table, its sum, what to know of it, and the decisions."""
    from dmdlab.device.environment import hardware
    from dmdlab.device.limits import size_text
    from dmdlab.pairing.words import number

    keys = ("law", "dim", "network", "members")
    table = [
        [*(r[key] for key in keys), size_text(r["bytes"]), r["flops"] / 1e12, show.duration(r["seconds"])] for r in rows
    ]
    show.plain_table(["law", "d", "network", "members", "memory", "TFLOP", "time"], table)
    print(planned.summary())
    if planned.parts:
        print(_peak_in_words(planned.parts))
    tera = sum(r["flops"] for r in rows) / 1e12
    took = show.duration(total)
    print(f"In all {number(tera)} TFLOP to train, about {took} with measures on {hardware(planned.device)}.")
    print(LEFT_OUT)
    if how := planned.how_timed():
        print(how)
    if planned.device.type == "cuda":
        print(UNPROVEN)
    for sentence in planned.decisions:
        print(f"- {sentence}")


def _peaks(group: "Group") -> dict[str, int]:
    """Bytes at the peak of each stage, counted, without margin: of all networks, gradients, optimisers and
    activations, and of the arrays of a stage."""
    from dmdlab.lab.trial import tried

    return {name: len(group) * each + once for name, (each, once) in tried(group).stages.items()}


def _peak_in_words(parts: "Sequence[Part]") -> str:
    """A sentence on the ensemble that takes most."""
    from dmdlab.device.limits import size_text
    from dmdlab.lab.plan import shape_name

    group = max(parts, key=lambda part: part.bytes).group
    found = _peaks(group)
    worst = max(found, key=found.__getitem__)
    more = "" if worst == "distilling" else f"; at its peak, {worst}, {size_text(found[worst])}"
    return (
        f"Of it the largest ensemble, {counted(len(group), 'student')} of {shape_name(group)}, takes "
        f"{size_text(found['distilling'])} while it distils: teachers, students and fake scores, their gradients, "
        f"optimisers and activations{more}."
    )
