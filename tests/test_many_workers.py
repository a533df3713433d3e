"""Two hundred workers on one store, and many of them killed: nothing is lost, and nothing stands twice."""

from collections import Counter
from pathlib import Path

import pytest
from faults import account, counted

from benchmarks.crowd import NoOp, crowd, groups_of, runs
from dmdlab.lab import sweep
from dmdlab.lab.drain import Draining
from dmdlab.lab.store import Store
from dmdlab.records import leases
from dmdlab.records.verify import verify


@pytest.mark.chaos
def test_two_hundred_workers_of_whom_many_are_killed_publish_every_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of them as if on other machines, so that nobody sees at once that they are gone."""
    monkeypatch.setattr(leases, "BEAT", 0.5)
    monkeypatch.setattr(leases, "STALE", 4.0)
    monkeypatch.setattr(sweep, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(NoOp, "pause", 4.0)
    wanted = runs(600)
    found = crowd(tmp_path, wanted, 3, 200, 60, seed=0, far=0.3)
    print(found)
    store, checked = Store(tmp_path), verify(tmp_path)
    assert store.missing(wanted) == []
    assert (checked.sound, len(checked.runs)) == (True, 600)
    folders = Counter(path.name.rpartition("-")[2] for path in (tmp_path / "runs").iterdir() if path.name[0] != ".")
    assert folders == Counter(e.id for e in wanted)
    assert 40 <= found.killed <= 60  # how many are killed before all is done is a matter of time
    assert found.computed - found.in_vain <= 600  # that of the killed which did not come to say so is not counted
    what = f"SIGKILL of {found.killed} of 200 at random, 600 runs, a third of the workers as if on other machines"
    with counted("200 workers on one store", what) as counts:
        counts["injected"] = found.killed
        account(counts, [e.id for e in wanted], list(folders.elements()))


def test_a_worker_takes_what_is_free_and_leaves_what_others_are_at(tmp_path: Path) -> None:
    wanted, store = runs(12), Store(tmp_path)
    work, groups = NoOp(store, sweep.torch.device("cpu")), groups_of(wanted, 3)
    first, second = (Draining(4)(work, groups) for _ in range(2))
    index, event = next(first)
    others = list(second)
    assert isinstance(event, sweep.Finished)
    finished = [e.experiment.id for _, e in others if isinstance(e, sweep.Finished)]
    assert sorted(finished) == sorted(own for i, group in enumerate(groups) if i != index for own in group.ids)
    (held,) = [e.held for i, e in others if i == index and isinstance(e, sweep.Elsewhere)]
    assert len(held) == 2
    rest = [e for _, e in first]
    assert len([e for e in rest if isinstance(e, sweep.Finished)]) == 2
    assert store.missing(wanted) == []
    (damaged,) = (tmp_path / "runs").glob(f"*-{wanted[4].id}/student.npy")
    damaged.write_bytes(damaged.read_bytes()[:-4])
    again = [
        e.experiment.id
        for _, e in Draining(poor=frozenset([wanted[4].id]))(work, groups)
        if isinstance(e, sweep.Finished)
    ]
    assert again == [wanted[4].id]
