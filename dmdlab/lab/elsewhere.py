"""How a sweep is planned and done on a Ray cluster, whose machines see the store, or do not (`collect`)."""

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device.compiling import Way
from dmdlab.device.limits import SHARING
from dmdlab.group import Group
from dmdlab.lab.collect import collecting
from dmdlab.lab.on_ray import Cluster, Terms, no_room, tasks
from dmdlab.lab.plan import Plan, plan
from dmdlab.lab.sweep import Engine, Event, Work

MARK = ".seen-"
"""What the name of a file begins with by which machines see that they share a folder."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a cluster. device: 'auto' takes GPUs where there are any. workers: tasks at a time, at most.
    memory: bytes of a machine for all its tasks. share: of a GPU, for a task. retries: times that a group begins anew
    where its worker dies. way: how all train on a device, as for `Distillation`."""

    device: str = "auto"
    workers: int | None = None
    memory: int | None = None
    share: float | None = None
    retries: int = 2
    way: Callable[[torch.device], Way | None] = lambda device: None


def planned_on(cluster: Cluster, experiments: Sequence[Experiment], wanted: Wanted) -> tuple[Plan, Terms]:
    """What trains together on this cluster, and what each task asks for. Raises `InputError` as `plan`, and where the
    cluster lacks GPUs, or room for any task."""
    with_gpu = [m for m in cluster.machines() if m.gpus >= 1]
    if wanted.device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {wanted.device}: Ray chooses among GPUs; expected auto, cpu or cuda")
    if wanted.device == "cuda" and not with_gpu:
        raise InputError("--device cuda: no machine of the Ray cluster has a GPU that Ray knows of; use --device cpu")
    if with_gpu and wanted.device != "cpu":
        return _on_gpus(cluster, experiments, wanted)
    if wanted.share is not None:
        raise InputError(f"--gpu-share {wanted.share:g}: without a GPU there is nothing to share; leave it out")
    return _on_cpus(cluster, experiments, wanted)


def _on_gpus(cluster: Cluster, experiments: Sequence[Experiment], wanted: Wanted) -> tuple[Plan, Terms]:
    """Planned on a machine that has such a GPU: this one may have none."""
    machines = [m for m in cluster.machines() if m.gpus >= 1]
    gpus = sum(int(m.gpus) for m in machines)
    cores = min(m.cpus / m.gpus for m in machines)
    each = int(1 / wanted.share + 1e-3) if wanted.share else max(1, min(SHARING, int(cores / 2)))
    base = Terms(cpus=1, gpus=1.0, retries=wanted.retries, most=wanted.workers)
    device = torch.device("cuda")
    found: Plan = cluster.once(base, plan, experiments, device, each, wanted.memory, wanted.way(device), (), gpus)
    share = wanted.share or math.floor(1e4 / found.workers) / 1e4
    threads = max(1, int(cores / found.workers))
    return found, replace(base, gpus=share, threads=threads)


def _on_cpus(cluster: Cluster, experiments: Sequence[Experiment], wanted: Wanted) -> tuple[Plan, Terms]:
    """A core a task, or as many as leave it memory enough."""
    terms, device = Terms(retries=wanted.retries, most=wanted.workers), torch.device("cpu")
    most = max((int(m.cpus) for m in cluster.machines()), default=0)
    for cpus in range(1, most + 1):
        terms = replace(terms, cpus=cpus, threads=cpus)
        rooms = [(m, m.room(terms)) for m in cluster.machines() if m.room(terms)]
        memory = min(min(m.memory, wanted.memory or m.memory) // room for m, room in rooms)
        sharers = min(sum(room for _, room in rooms), wanted.workers or math.inf)
        try:
            found = plan(experiments, device, 1, memory, wanted.way(device), (), int(sharers))
        except InputError:
            if cpus == most:
                raise
            continue
        return found, replace(terms, memory=max((part.bytes for part in found.parts), default=0))
    raise InputError(no_room(cluster, terms))


def engine_on(cluster: Cluster, terms: Terms, collect: bool) -> Engine:
    """The engine that does groups as tasks of this cluster. collect: published runs come back through Ray."""

    def engine(work: Work, groups: Sequence[Group]) -> Iterator[tuple[int, Event]]:
        if collect:
            yield from collecting(lambda *given: tasks(cluster, *given), work, groups, terms)
            return
        with _marked(work.store.out) as mark:
            yield from tasks(cluster, Shared(replace(work, store=type(work.store)(mark.parent)), mark), groups, terms)

    return engine


@dataclass(frozen=True)
class Shared:
    """Work in a folder that its machine shares with the one that asked for it. Raises `InputError` where it does
    not."""

    work: Work
    mark: Path

    def __call__(self, group: Group) -> Iterator[Event]:
        """What happens, as it does."""
        if not self.mark.is_file():
            raise InputError(
                f"a machine of the Ray cluster does not see {self.mark.parent}: choose an --out on a folder that all "
                "machines share, or give --collect, which sends finished runs back through Ray"
            )
        yield from self.work(group)


@contextmanager
def _marked(out: Path) -> Iterator[Path]:
    mark = out.resolve() / f"{MARK}{secrets.token_hex(8)}"
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)
