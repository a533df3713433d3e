"""Engines, which do work here or in processes, and what a machine is said to be."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, experiments

from dmdlab.config import InputError
from dmdlab.device import environment
from dmdlab.group import Group
from dmdlab.lab import engines
from dmdlab.lab.run import Progress, run_group
from dmdlab.lab.store import Store

# --- engines


class Echo:
    """Work that says its members' seeds, from wherever it is done; a seed of 13 is an error."""

    def __call__(self, group: Group) -> Iterator[int]:
        for seed in group.seeds:
            if seed == 13:
                raise ValueError("unlucky")
            yield seed


GROUPS = [Group(tuple(experiments(f"seed={seeds}"))) for seeds in ([0, 1], [2], [3, 13, 5], [6, 7])]


def heard(events: Iterator[tuple[int, int]]) -> tuple[list[tuple[int, int]], str]:
    """All that an engine yields, and the error that it ends with."""
    found = []
    try:
        for event in events:
            found.append(event)  # what came before the error counts
    except ValueError as error:
        return sorted(found), str(error)
    return sorted(found), ""


def test_engines_tell_what_work_says_under_its_groups_index_and_several_workers_end_before_an_error_counts() -> None:
    before = [(0, 0), (0, 1), (1, 2), (2, 3), (2, 5)]
    assert heard(engines.here(Echo(), GROUPS)) == (before, "unlucky")
    assert heard(engines.here(Echo(), GROUPS[:2])) == (before[:3], "")
    assert heard(engines.processes(Echo(), GROUPS, 2)) == ([*before, (3, 6), (3, 7)], "unlucky")


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
