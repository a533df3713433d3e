"""Commands about the machine: `doctor` says what there is and what will be used, `profile` where the time goes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdlab.cli import show
from dmdlab.cli.run import AsJson, Device, Preset, Settings, split_words
from dmdlab.config import Experiment, InputError
from dmdlab.trouble import counted

if TYPE_CHECKING:
    from dmdlab.device.doctor import Examination, Hardware
    from dmdlab.lab.profile import Operator, Profile, Subject

app = typer.Typer()

WIDTH = 16
"""Columns of the names in front of facts."""

SUPPORT = {"have": "yes", "lack": "no", "emulated": "only emulated, so refused", "fails": "fails"}
"""How a precision's support reads."""


@app.command()
def doctor(device: Device = "auto", as_json: AsJson = False) -> None:
    """Examine this machine: what dmdlab will use of it and why.

    Ends with what deserves action. Paste its output into a bug report. Exit status 2 when a package or the device asked
    for is missing.
    """
    try:
        from dmdlab.device.doctor import examine
    except (ImportError, OSError) as error:  # as of a torch that is missing, or built for another system
        raise InputError(f"torch or numpy cannot be imported ({error}): install dmdlab again with pip") from error

    show.err().print("Importing packages and measuring matrix products; a few seconds.")
    found = examine(device)
    if as_json:
        show.print_json({"usable": found.usable, **asdict(found)})
    else:
        _tell(found)
    if not found.usable:
        raise typer.Exit(2)


def _tell(found: "Examination") -> None:
    """The report: versions, the machine, and at the end what deserves action."""
    from dmdlab import __version__

    place = {"none": "not a checkout"}.get(found.machine.commit, found.machine.commit)
    python, _, *packages = found.versions.items()  # the second is dmdlab itself
    _fact("dmdlab", f"{__version__} ({place})")
    _fact("system", found.system)
    _fact("python", f"{python[1]}, {found.python}")
    _fact("packages", ", ".join(f"{name} {version}" for name, version in packages))
    _tell_machine(found.machine)
    for finding in found.findings:
        print(wrapped("- ", finding.text))
    if found.usable:
        print("dmdlab is ready to use." if not found.findings else "dmdlab is ready to use; the above would help.")
    else:
        print("dmdlab cannot work as asked: see above.")


def _tell_machine(machine: "Hardware") -> None:
    from dmdlab.device.limits import size_text

    _fact("torch", machine.torch_build)
    for i, gpu in enumerate(machine.gpus):
        memory = f"{size_text(gpu.free_bytes)} of {size_text(gpu.total_bytes)} free"
        _fact(f"GPU cuda:{i}", f"{gpu.name}, {memory}, compute capability {gpu.capability}")
    _fact("device", f"{machine.device or 'none'}: {machine.why}")
    if machine.device:
        rows = [
            (a.precision, SUPPORT[a.support] + (f" ({a.by})" if a.by else ""), a.rate and rate_text(a.rate))
            for a in machine.arithmetic
        ]
        show.plain_table(["precision", f"on {machine.device}", "a large matrix product, roughly"], rows)
        reason = "which the device has" if machine.auto_precision == "tf32" else "as the device has no TF32"
        _fact("auto precision", f"network.precision=auto means {machine.auto_precision} here, {reason}")
    threads, limits = machine.threads, []
    if threads.quota_cores is not None:
        limits.append(f"time of {threads.quota_cores:.3g} cores granted")
    asked = "is not set" if threads.omp_num_threads is None else f"= {threads.omp_num_threads}"
    _fact("CPU", machine.cpu)
    _fact("cores", ", ".join([f"{threads.allowed_cores} of {threads.cores} may be used", *limits]))
    _fact("threads", f"torch uses {threads.torch} (OMP_NUM_THREADS {asked})")
    sharing = threads.sweep_workers > 1 and (machine.device or "cpu") != "cpu"
    why = ", so that one trains on the GPU while others measure on the CPU" if sharing else ""
    started = f"{counted(threads.sweep_workers, 'process')} of {counted(threads.worker_threads, 'thread')}"
    _fact("a sweep starts", started + why)
    limit = "no limit set" if machine.ram_limit_bytes is None else f"limited to {size_text(machine.ram_limit_bytes)}"
    total = "" if machine.ram_bytes is None else f" of {size_text(machine.ram_bytes)}"
    _fact("memory", f"{size_text(machine.ram_available_bytes)}{total} available, {limit}")
    if machine.device == "cpu":
        from dmdlab.device.compiling import RECORD_FROM

        _fact("recording", "no" if machine.unrecorded else f"yes, trainings of {RECORD_FROM} updates and more")
    _fact("compiling", "no" if machine.uncompiled else f"yes, by Inductor, kept in {machine.compiled_in}")


@app.command()
def profile(
    words: Settings = None,
    preset: Preset = None,
    device: Device = "auto",
    members: Annotated[
        int | None, typer.Option(min=1, help="Students in the ensemble; default those of the file's first ensemble.")
    ] = None,
    cycles: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Cycles to average; default one block of random numbers, 1 to 64."),
    ] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="Profile the start networks' training instead.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the trace.")] = Path("runs/profile"),
    as_json: AsJson = False,
) -> None:
    """Show where the time of a training cycle goes.

    Says how far its matrix products are from what the machine can do, too. Takes the file's first ensemble at random
    networks; trains nothing to the end. Ends with tables and writes a trace.
    """
    from dmdlab.device.environment import choose_device
    from dmdlab.experiments import load
    from dmdlab.lab.profile import distillation_subject, first_group, start_networks_subject
    from dmdlab.lab.profile import profile as profiled
    from dmdlab.records.writing import prepare

    path, overrides = split_words(words, preset, "profile")
    where = choose_device(device)
    group = first_group(load(path, preset, overrides).experiments(), where, members)
    folder = prepare(out)
    subject = (start_networks_subject if teacher else distillation_subject)(group, where)
    unit = "iteration" if teacher else "cycle"
    wanted = counted(cycles or subject.block, unit)
    show.err().print(f"Profiling {wanted} of {_described(group.shared, subject)} on {where}.")
    found = profiled(subject, cycles, folder)
    if as_json:
        show.print_json({"what": "teacher iteration" if teacher else "cycle", **asdict(found)})
    else:
        _tell_profile(found, unit, subject.block)


def _described(shared: Experiment, subject: "Subject") -> str:
    """'16 members (residual network, width 64, depth 3, time_features 32, batch 128, d = 2) in float32'."""
    from dmdlab.networks import network_settings

    settings = "".join(f"{key} {value}, " for key, value in network_settings(shared.network))
    shape = f"{shared.network.kind} network, {settings}batch {shared.student.batch}, d = {shared.law.dim}"
    return f"{counted(subject.members, 'member')} ({shape}) in {subject.precision}"


def _tell_profile(found: "Profile", unit: str, block: int) -> None:
    """The tables of a profile and what they mean."""
    each = f", {found.cycle_ms / found.members:.3g} ms for each of {found.members} members" if found.members > 1 else ""
    print(f"A {unit} takes {found.cycle_ms:.3g} ms{each}.".replace("A iteration", "An iteration"))

    def times(ms: float) -> tuple[str, str]:
        return f"{100 * ms / found.cycle_ms:5.1f} %", f"{ms:8.3f}"

    def row(operator: "Operator") -> tuple[str, ...]:
        return operator.name.removeprefix("aten::"), *times(operator.ms), f"{operator.calls:7.1f}"

    kinds = [*found.kinds.items(), ("all of it", sum(found.kinds.values()))]
    show.plain_table([f"where the time of one {unit} goes", "share", "ms"], [(name, *times(ms)) for name, ms in kinds])
    show.plain_table(["its dearest operators", "share", "ms", "calls"], map(row, found.operators[:10]))
    for sentence in _sentences(found, unit, block):
        print(wrapped("- ", sentence))


def _sentences(found: "Profile", unit: str, block: int) -> list[str]:
    """The distance to the limit, what to know about the numbers, and the traces."""
    from dmdlab.lab.profile import PRODUCTS

    multiplying = found.kinds[PRODUCTS]
    said = [
        f"Distance to the limit: its matrix products are {found.flops / 1e9:.3g} GFLOP per {unit}, so "
        f"{rate_text(found.rate)} over the whole {unit}; a large {found.precision} product reached "
        f"{rate_text(found.limit)} before or after: {100 * found.rate / found.limit:.0f} % of the limit.",
        f"Shares are those of {counted(found.cycles, unit)} under the profiler, which took "
        f"{found.watched_ms / found.cycle_ms:.2g} times as long; times are these shares of the undisturbed {unit}.",
    ]
    if multiplying:
        alone = 1e3 * found.flops / multiplying
        said.insert(1, f"While multiplying it does {rate_text(alone)}, {100 * alone / found.limit:.0f} % of the limit.")
    if found.cycles % block:
        said.append(f"Random numbers are drawn for {block} {unit}s at once; only multiples of that have a fair share.")
    if found.device != "cpu":
        said.append(f"GPU: times of kernels; the rest of the {unit} the GPU waits, and that is the overhead above.")
    return [*said, f"Trace: {'  '.join(found.traces)} (drop it on https://ui.perfetto.dev, or open chrome://tracing)."]


def _fact(name: str, text: str) -> None:
    print(wrapped(f"{name:<{WIDTH}}", text))


def wrapped(name: str, text: str) -> str:
    """`text` after `name`, wrapped under itself in the terminal's width."""
    import shutil
    import textwrap

    columns = max(60, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(text, columns - len(name), break_long_words=False, break_on_hyphens=False)
    return name + f"\n{'':<{len(name)}}".join(lines)


def rate_text(rate: float) -> str:
    """'104 GFLOP/s', '0.5 TFLOP/s' from 1000 on."""
    return f"{rate / 1e12:.3g} TFLOP/s" if rate >= 1e12 else f"{rate / 1e9:.3g} GFLOP/s"
