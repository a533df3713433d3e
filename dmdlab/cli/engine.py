"""Where a sweep's work is done, as its options say it: by processes of this machine, or on a Ray cluster."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdlab.cli import show
from dmdlab.cli.follow import follow
from dmdlab.cli.means import Means, bytes_of
from dmdlab.config import Experiment, InputError, did_you_mean
from dmdlab.trouble import counted, printable

if TYPE_CHECKING:
    from dmdlab.group import Group
    from dmdlab.lab.plan import Plan
    from dmdlab.lab.store import Store
    from dmdlab.lab.sweep import Event

Engine = Annotated[str, typer.Option(help="local: processes of this machine; ray: a Ray cluster (docs/clusters.md).")]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="With --engine ray: a cluster, or auto; default $RAY_ADDRESS, else one of its own."
    ),
]
Collect = Annotated[
    bool, typer.Option("--collect", help="With --engine ray: bring runs back through Ray, where no folder is shared.")
]
GpuShare = Annotated[
    float | None,
    typer.Option(metavar="PART", help="With --engine ray: part of a GPU for an ensemble, as in 0.5; default: planned."),
]
Retries = Annotated[
    int | None,
    typer.Option(min=0, help="Times to go on after a worker or machine died; default 2 with --engine ray, 0 without."),
]

ENGINES = ("local", "ray")

Begin = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """A sweep that is planned and not begun. place: where, in words. doing: what happens, as it does."""

    planned: "Plan"
    place: str
    doing: "Iterator[tuple[int, Event]]"


@dataclass(frozen=True)
class Where:
    """What --engine, --address, --collect, --gpu-share and --retries say. Raises `InputError` where they do not go
    together."""

    engine: str = "local"
    address: str | None = None
    collect: bool = False
    share: float | None = None
    retries: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"--engine {self.engine}: expected local or ray{did_you_mean(self.engine, ENGINES)}")
        given = {
            "--address": self.address is not None,
            "--collect": self.collect,
            "--gpu-share": self.share is not None,
        }
        if self.engine == "local" and any(given.values()):
            option = next(name for name, there in given.items() if there)
            raise InputError(f"{option} is for a Ray cluster: give --engine ray, too, or leave {option} out")
        if self.share is not None and not 0 < self.share <= 1:
            raise InputError(f"--gpu-share {self.share:g}: expected a part of one GPU, above 0 and at most 1")

    def do(
        self,
        todo: Sequence[Experiment],
        store: "Store",
        experiments: Sequence[Experiment],
        means: Means,
        begin: Begin,
    ) -> "list[tuple[Group, Exception]]":
        """Do what is missing of `experiments` and show how it goes; returns the ensembles that ended in an error, but
        raises that of an only one. begin: is called once it is planned, with the place in words."""
        from dmdlab.lab.sweep import EnsemblesFailed

        place = self._on_ray if self.engine == "ray" and todo else self._here
        try:
            with place(todo, store, means) as ready:
                begin(ready.place)
                follow(ready.planned, store, experiments, ready.doing)
        except EnsemblesFailed as error:
            return error.failed
        return []

    @contextmanager
    def _here(self, todo: Sequence[Experiment], store: "Store", means: Means) -> "Iterator[Ready]":
        from dmdlab.lab.sweep import sweep

        planned = means.plan(todo)
        yield Ready(planned, str(planned.device), sweep(planned, store, retries=self.retries or 0))

    @contextmanager
    def _on_ray(self, todo: Sequence[Experiment], store: "Store", means: Means) -> "Iterator[Ready]":
        from dmdlab.lab.elsewhere import Wanted, engine_on, planned_on
        from dmdlab.lab.joining import ray_cluster
        from dmdlab.lab.sweep import sweep

        address = self.address or os.environ.get("RAY_ADDRESS") or None
        with ray_cluster(address) as cluster:
            retries = 2 if self.retries is None else self.retries
            wanted = Wanted(means.device, means.workers, bytes_of(means.memory), self.share, retries, means.way)
            planned, terms = planned_on(cluster, todo, wanted)
            machines = counted(len(cluster.machines()), "machine")
            where = f"of the Ray cluster at {address}" if address else "of a Ray cluster of its own"
            doing = sweep(planned, store, engine_on(cluster, terms, self.collect))
            yield Ready(planned, f"{planned.device}, {machines} {where}", doing)


def report_failures(failed: "Sequence[tuple[Group, Exception]]", out: Path) -> None:
    """Name the ensembles that ended in an error, with the traceback of the first that nobody foresaw."""
    import traceback

    from dmdlab.lab.plan import shape_name
    from dmdlab.lab.sweep import error_text

    odd = [error for _, error in failed if not isinstance(error, InputError)]
    if odd:
        show.err().print(printable("".join(traceback.format_exception(odd[0])), keep="\n"), soft_wrap=True)
    for group, error in failed:
        line = f"ended in an error: {shape_name(group)}, {counted(len(group), 'run')}: {error_text(error)}"
        show.err().print(printable(line), soft_wrap=True)
    show.err().print(f"{counted(len(failed), 'ensemble')} ended in an error; the others' runs are kept in {out}")
