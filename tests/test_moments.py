"""Networks kept on the way of a training (`measure.keep`)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, distillation, do, experiments

from dmdlab.config import InputError
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.moments import Moments, kept_iterations
from dmdlab.lab.run import DISTILLING, Progress, run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.records.verify import verify

KEEP = "measure.keep=3"


def test_the_start_points_of_the_curve_and_the_end_are_kept() -> None:
    (e,) = experiments("measure.keep=4", "student.iterations=1000")
    curve = [1, 3, 10, 30, 100, 300, 1000]
    assert kept_iterations(e, curve) == [100, 300, 1000]
    assert kept_iterations(experiments("measure.keep=2")[0], curve) == [1000]
    assert kept_iterations(experiments()[0], curve) == []


def test_a_fake_score_that_no_network_learns_is_not_kept() -> None:
    for kind, expected in (("network", {"student", "fake"}), ("exact", {"student"})):
        linear = load(None, "smoke", ["network.kind=linear", f"fake_score.kind={kind}"]).experiments()
        moments = Moments([1])
        moments.add(0, distillation(linear))
        assert moments.rows.keys() == expected


def test_moments_are_kept_when_due_and_given_to_each_member_by_parameter() -> None:
    loop = distillation(experiments("seed=[0, 1]"))
    moments, network = Moments([2, 5]), loop.student.network
    assert moments.of(1, network) == moments.state() == {}
    expected = []
    for iteration, kept in ((0, True), (0, False), (1, False), (2, True), (3, False), (7, True), (9, False)):
        moments.add(iteration, loop)
        if kept:
            expected.append([p[1].detach().clone() for p in network.parameters()])
        with torch.no_grad():
            network.flat.mul_(1.5)
            loop.trained["student"].parameters[:, : network.flat.shape[1]] = network.flat
    assert moments.due == []
    again = Moments([2, 5])
    again.restore(moments.state())
    for each in (moments, again):
        found = each.of(1, network)
        assert found["iteration"].tolist() == [0, 2, 7]
        for at, values in enumerate(expected):
            for (name, _), value in zip(network.named_parameters(), values, strict=True):
                torch.testing.assert_close(found[f"student.{name}"][at], value, rtol=0, atol=0)
        assert {key.split(".")[0] for key in found} == {"iteration", "student", "fake"}


def test_a_training_that_goes_on_waits_for_what_is_still_due() -> None:
    loop, moments = distillation(experiments("seed=0")), Moments([2, 5, 8])
    for iteration in (0, 2):
        moments.add(iteration, loop)
    again = Moments([2, 5, 8])
    again.restore(moments.state())
    for iteration in (3, 5, 8):
        again.add(iteration, loop)
    assert again.iterations == [0, 2, 5, 8]


def test_a_run_keeps_its_start_and_its_end_beside_what_others_keep(tmp_path: Path) -> None:
    kept, plain = do(experiments("measure.keep=[3, 0]", "seed=0"), tmp_path)
    kept, plain = (kept, plain) if kept.moments() else (plain, kept)
    moments, weights = kept.moments(), kept.weights()
    assert moments["iteration"].tolist()[0] == 0
    assert moments["iteration"].tolist()[-1] == kept.curve()["iteration"][-1]
    for name, weight in weights.items():
        np.testing.assert_array_equal(moments[f"student.{name}"][-1], weight)
        np.testing.assert_array_equal(weight, plain.weights()[name])  # keeping changes nothing
    np.testing.assert_array_equal(moments["student.out.weight"][0], moments["fake.out.weight"][0])  # the teacher
    assert np.abs(moments["fake.out.weight"][-1] - moments["student.out.weight"][-1]).max() > 0
    assert plain.moments() == {}
    assert verify(tmp_path).sound
    path = kept.folder / "moments.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"moments\.safetensors: damaged"):
        kept.moments()


def test_a_training_that_goes_on_keeps_the_same_moments(tmp_path: Path) -> None:
    group = Group(tuple(experiments(KEEP, "seed=[0, 1]")))
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    expected = [r.moments for r in run_group(group, whole, CPU) if isinstance(r, RunResult)]
    running = run_group(group, _always(broken), CPU)
    for event in running:
        if isinstance(event, Progress) and event.stage == DISTILLING and event.done >= 10:
            break
    running.close()
    assert list((tmp_path / "broken" / "checkpoints").glob("*.safetensors"))
    again = [r.moments for r in run_group(group, broken, CPU) if isinstance(r, RunResult)]
    for ours, theirs in zip(again, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name])


def _always(store: Store) -> Store:
    """The store, whose checkpoints are always due."""
    own = store.checkpoint

    def due(group: Group, device: torch.device) -> object:
        found = own(group, device)
        found.wait = 0.0
        return found

    store.checkpoint = due  # type: ignore[method-assign, assignment]
    return store
