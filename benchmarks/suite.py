"""All benchmarks by name: `python -m benchmarks [NAME ...]` runs them and keeps their results as JSON."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks import convolution, counts, growth, peers, start, transport, unet
from benchmarks.measure import Options, header, say, write
from dmdlab.config import InputError, did_you_mean
from dmdlab.device.environment import choose_device

BENCHMARKS: dict[str, Any] = {
    "peers": peers,
    "growth": growth,
    "start": start,
    "counts": counts,
    "transport": transport,
    "convolution": convolution,
    "unet": unet,
}
"""Each has `run`, which measures, and `figures`, which computes from a record's rounds what the tables show."""
APART = {"counts": "seed 0", "transport": "clouds from numpy's default_rng(0)"}
"""What runs on a CPU whatever the device of the others, and its seeds."""
SEEDS = "seeds 0 to e - 1 of dmdlab's, torch.manual_seed(0) in the plain loop's process, jax.random.key(0) in JAX's"

RESULTS = Path(__file__).parent / "results"
"""Where the results are that the documents show."""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_show_locals=False, add_completion=False)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; all if none.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Of each process; peers: and one a core.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: that everything runs, not how fast.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say what there is, run nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; else benchmarks/results.")] = None,
) -> None:
    """Measure speed; keeps the results as JSON, of which `python -m benchmarks.report` makes tables."""
    if listing:
        for name, module in BENCHMARKS.items():
            typer.echo(f"{name:<12}{' '.join((module.__doc__ or '').split(chr(10) * 2)[0].split())}")
        return
    options = Options(str(choose_device(device)), threads, quick)
    if quick and out is None:
        raise InputError("--quick needs --out FOLDER: its numbers are not to take the place of measured ones")
    for path in run(names or [], options, out or RESULTS):
        typer.echo(path)


def run(names: Sequence[str], options: Options, out: Path) -> Iterator[Path]:
    """Run these benchmarks, all if none is named; the file of results of each as it is written.

    Raises `InputError` for a name that there is not.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise InputError(f"no benchmark {name!r}{did_you_mean(name, BENCHMARKS)}")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)  # of what runs in this process: all of it when quick
    try:
        for name in names or BENCHMARKS:
            say(f"--- {name}")
            own = replace(options, device="cpu") if name in APART else options
            started = time.perf_counter()
            results = header(name, own) | {"seeds": APART.get(name, SEEDS)} | BENCHMARKS[name].run(own)
            yield write(results | {"seconds": time.perf_counter() - started}, out)
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    """Entry point; exit status 2 and one sentence for bad input."""
    try:
        app(prog_name="python -m benchmarks")
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)
