"""`dmdlab reproduce` before it trains, and where it cannot: what it says that it costs, and what ended in an error."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from store_made import put

from dmdlab.cli import reproduce as reproducing
from dmdlab.cli.means import Means
from dmdlab.config import Experiment, InputError
from dmdlab.device import environment
from dmdlab.group import Group
from dmdlab.lab import further as making
from dmdlab.lab import sweep as sweeping
from dmdlab.lab.plan import Part, Plan
from dmdlab.paper import catalogue
from dmdlab.plots.style import Drawing
from dmdlab.records.record import Record

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def unplanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of an hour a run, without trying anything."""

    def plan(means: object, todo: Sequence[Experiment]) -> Plan:
        return Plan([Part(Group((e,)), 0, 1) for e in todo], torch.device("cpu"), 2, 0, [])

    monkeypatch.setattr(Means, "plan", plan)
    monkeypatch.setattr(Plan, "seconds", lambda planned, measuring: [3600.0 for _ in measuring])
    monkeypatch.setattr(Plan, "how_timed", lambda planned: "Times are scaled.")


def test_the_papers_settings_on_a_cpu_ask_first(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("reproduce", "fig2", "--scale", "paper", "seed=0", "--device", "cpu", "--out", tmp_path / "out")
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # where nobody can be asked
    code, out, err = dmdlab(*words)
    assert code == 2
    assert "--yes" in err
    assert "chessboard d=4: 1 run, about 60 min" in out
    assert "Times are scaled." in out
    assert "about 60 min on" in err
    assert not (tmp_path / "out").exists()
    assert dmdlab(*words, "--dry-run")[0] == 0


def test_gpus_share_the_time_and_workers_of_one_take_turns(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Means.plan
    monkeypatch.setattr(Means, "plan", lambda *own: replace(plan(*own), device=torch.device("cuda"), gpus=("0", "1")))
    monkeypatch.setattr(environment, "hardware", lambda _: "two GPUs")
    _, out, _ = dmdlab("reproduce", "fig2", "seed=[0, 1]", "--dry-run", "--out", tmp_path)  # four runs
    assert "about 2 h on two GPUs with 4 workers" in out


def test_what_ends_in_an_error_is_named_and_the_rest_is_drawn(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sweep(planned: Plan, store: object) -> Iterator[Any]:
        yield from ()
        raise sweeping.EnsemblesFailed([(part.group, InputError("this one is refused")) for part in planned.parts])

    def drawing(name: str, records: Sequence[Record]) -> Drawing:
        drawn.extend(records)
        raise InputError("left out here")

    drawn: list[Record] = []
    monkeypatch.setattr(sweeping, "sweep", sweep)
    monkeypatch.setattr(making, "keep_further", lambda *_: ())
    monkeypatch.setattr(catalogue, "drawing", drawing)
    pictures = reproducing.pictures_of(None, None, "quick")
    for e in reproducing.sweep_of("chessboard", "quick", pictures, ["seed=[0, 1]"]).experiments():
        assert e.student.init == "rotated" or put(tmp_path, e)
    code, _, err = dmdlab("reproduce", "fig2", "seed=[0, 1]", "--device", "cpu", "--out", tmp_path)
    assert (code, "Traceback" in err) == (3, False)
    assert err.count("1 run: this one is refused") == 2
    assert f"2 ensembles ended in an error; the others' runs are kept in {tmp_path}" in err
    assert [record.config["student.init"] for record in drawn] == ["teacher", "teacher"]
