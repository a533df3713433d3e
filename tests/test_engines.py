"""Engines, which do work here or in processes, and what a machine is said to be."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, experiments
from store_made import put

from dmdlab.config import InputError
from dmdlab.device import environment
from dmdlab.group import Group
from dmdlab.lab import engines
from dmdlab.lab.engines import Lost, Raised
from dmdlab.lab.plan import plan
from dmdlab.lab.run import Progress, run_group
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Elsewhere, EnsemblesFailed, Event, Work, sweep, to_the_end
from dmdlab.trouble import Unwritable

# --- engines


class Echo:
    """Work that says its members' seeds, from wherever it is done; a seed of 13 is an error."""

    def __call__(self, group: Group) -> Iterator[int]:
        for seed in group.seeds:
            if seed == 13:
                raise ValueError("unlucky")
            yield seed


GROUPS = [Group(tuple(experiments(f"seed={seeds}"))) for seeds in ([0, 1], [2], [3, 13, 5], [6, 7])]


def heard(events: Iterator[tuple[int, object]]) -> list[tuple[int, object]]:
    """All that an engine yields, errors by their text."""
    told = [(i, str(e.error) if isinstance(e, Raised) else e) for i, e in events]
    return sorted(told, key=lambda one: (one[0], str(one[1])))


def test_engines_tell_what_work_says_under_its_groups_index_and_an_error_ends_its_group_only() -> None:
    said = [(0, 0), (0, 1), (1, 2), (2, 3), (2, 5), (2, "unlucky"), (3, 6), (3, 7)]
    assert heard(engines.here(Echo(), GROUPS)) == said
    assert heard(engines.processes(Echo(), GROUPS, 2)) == said


class Full:
    """Work on a disk that takes no more."""

    def __call__(self, group: Group) -> Iterator[int]:
        yield group.shared.seed
        time.sleep(0.05)
        raise Unwritable("the disk is full")


@pytest.mark.chaos
def test_where_the_disk_takes_no_more_nothing_new_is_begun() -> None:
    assert heard(engines.here(Full(), GROUPS)) == [(0, 0), (0, "the disk is full")]
    many = GROUPS * 5
    assert len(heard(engines.processes(Full(), many, 2))) < 2 * len(many)


class Sees:
    """Work that says which GPUs its process sees."""

    def __call__(self, group: Group) -> Iterator[str]:
        yield os.environ["CUDA_VISIBLE_DEVICES"]
        time.sleep(0.5)  # so that no worker takes all


@pytest.mark.long
def test_each_worker_has_a_gpu_of_its_own() -> None:
    assert {gpu for _, gpu in engines.processes(Sees(), GROUPS, 2, ("3", "5"))} == {"3", "5"}


def test_all_errors_are_told_at_the_end_and_the_other_groups_are_done(tmp_path: Path) -> None:
    class Unlucky(Echo):
        store = Store(tmp_path)

    told: list[object] = []
    events = to_the_end(Unlucky(), [*GROUPS, GROUPS[2]])  # type: ignore[arg-type]
    with pytest.raises(EnsemblesFailed) as error:
        told.extend(event for _, event in events)
    assert [e for e in told if not isinstance(e, Raised)] == [0, 1, 2, 3, 5, 6, 7, 3, 5]
    assert str(error.value) == "; ".join(2 * ["mixture d=2, residual 8 x 1: ValueError: unlucky"])
    with pytest.raises(ValueError, match="unlucky"):  # the only one's error is its own
        list(to_the_end(Unlucky(), GROUPS[2:3]))  # type: ignore[arg-type]


def test_what_is_done_later_keeps_its_place_among_the_groups(tmp_path: Path) -> None:
    """Though an engine that gets it again gets it alone: here the second of two, which others are at twice."""
    rounds = list[int]()

    def engine(work: object, groups: Sequence[Group]) -> Iterator[tuple[int, Event]]:
        rounds.append(len(groups))
        last = Elsewhere((), groups[-1].members) if len(rounds) < 3 else Raised(ValueError("unlucky"))
        yield len(groups) - 1, last

    told: list[int] = []
    events = to_the_end(Work(Store(tmp_path), CPU), GROUPS[:2], engine)
    with pytest.raises(EnsemblesFailed) as error:
        told.extend(index for index, _ in events)
    assert (rounds, told) == ([2, 1, 1], [1, 1, 1])
    assert [group.ids for group, _ in error.value.failed] == [GROUPS[1].ids]


def test_a_killed_worker_is_followed_as_often_as_asked(tmp_path: Path) -> None:
    """Each time with a word on what is not finished; then it is a sentence that counts what is kept."""
    wanted, times = experiments("seed={start=0, stop=5}"), list[int]()

    def engine(work: object, groups: Sequence[Group]) -> Iterator[tuple[int, Event]]:
        times.append(len(groups))
        for e in wanted[:3]:
            put(tmp_path, e)
        yield from ()
        raise engines.WorkerKilled("ended by SIGKILL")

    planned = plan(wanted, CPU)
    parts = [replace(planned.parts[0], group=Group(tuple(own))) for own in (wanted[:2], wanted[2:])]
    planned = replace(planned, parts=parts)
    told: list[tuple[int, Event]] = []
    with pytest.raises(InputError, match=r"a worker was ended by SIGKILL; 3 of 5 runs .*lacks 2 of 3 runs"):
        told.extend(sweep(planned, Store(tmp_path), engine, retries=1))
    assert times == [2, 2]
    assert [(index, event.again) for index, event in told if isinstance(event, Lost)] == [(1, 1)]


# --- the machine


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"--device {name}"):
        environment.choose_device(name)


def test_a_device_that_is_there_is_chosen() -> None:
    assert environment.choose_device("cpu") == CPU
    assert environment.choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("law", ["mixture", "cube"])
def test_an_ensemble_on_a_gpu_measures_the_same_noise(law: str, tmp_path: Path) -> None:
    """A law with tensors of its own and one without; the teacher's pairs agree with the CPU's, as the latents do."""
    wanted = experiments(f"law.name={law}", "law.dim=3", 'student.init=["teacher", "rotated"]')
    found = []
    for device in (torch.device("cuda"), CPU):
        store = Store(tmp_path / device.type)
        for event in run_group(Group(tuple(wanted)), store, device):
            assert isinstance(event, Progress) or event.summary["status"] == "done"
        found.append(store.pairs(wanted[0]) or {})
    np.testing.assert_array_equal(found[0]["noise"], found[1]["noise"])
    np.testing.assert_allclose(found[0]["teacher"], found[1]["teacher"], rtol=1e-3, atol=1e-3)
