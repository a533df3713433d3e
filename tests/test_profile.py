"""`dmdlab profile`: nothing of a cycle's time is lost, what is slow shows up as slow, and the command tells it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small import CPU, TINY, experiment
from typer.testing import CliRunner, Result

from dmdlab.cli.machine import app
from dmdlab.config import InputError
from dmdlab.group import Group
from dmdlab.lab import profile
from dmdlab.lab.profile import OTHERS, OVERHEAD, PRODUCTS, Profile, Subject
from dmdlab.lab.trial import tried

SMALL = {"law__dim": 3, "law__components": 2, "student__batch": 8, "teacher__batch": 8, "network__width": 8}


def seeds(*numbers: int, **settings: Any) -> Group:
    return Group(tuple(experiment(**SMALL | settings, seed=s) for s in numbers))


def profiled(subject: Subject, cycles: int = 2) -> Profile:
    return profile.profile(subject, cycles, limit_s=0.0)


def subject_of(step: Any) -> Subject:
    return Subject(members=1, device=CPU, precision="float32", step=step, flops=1000, block=1)


# --- nothing is lost


@pytest.mark.parametrize("make", [profile.distillation_subject, profile.start_networks_subject])
def test_shares_of_a_cycle_are_all_of_it_and_counted_work_gives_the_rate(make: Any) -> None:
    group = seeds(0, 1, 2)
    found = profiled(make(group, CPU))
    assert sum(found.kinds.values()) == pytest.approx(found.cycle_ms)
    assert all(ms > 0 for ms in found.kinds.values())
    operators = sum(operator.ms for operator in found.operators)
    assert operators == pytest.approx(found.cycle_ms - found.kinds[OVERHEAD])
    assert all(o.ms == pytest.approx(o.share * found.cycle_ms) for o in found.operators)
    assert [o.ms for o in found.operators] == sorted((o.ms for o in found.operators), reverse=True)
    assert (found.members, found.cycles, found.precision) == (3, 2, "float32")
    each = tried(group).cycle_flops if make is profile.distillation_subject else tried(group).teaching_flops
    assert found.flops == 3 * each
    assert found.rate == pytest.approx(found.flops / (1e-3 * found.cycle_ms))
    assert found.limit > 0


def test_runs_of_one_seed_share_a_start_network() -> None:
    twins = [experiment(**SMALL, student__init=init) for init in ("teacher", "random")]
    assert profile.start_networks_subject(Group(tuple(twins)), CPU).members == 1


def test_a_slow_operator_shows_up_by_name_and_kind() -> None:
    large = torch.ones(700, 700, dtype=torch.float64)

    def step() -> None:
        large @ large  # matmul calls mm
        torch.nn.functional.silu(large[:9])

    found = profiled(subject_of(step), cycles=4)
    assert (found.operators[0].name, found.operators[0].calls) == ("aten::mm", 1)
    assert found.kinds[PRODUCTS] > 0.5 * found.cycle_ms
    assert {o.name: o.calls for o in found.operators}["aten::silu"] == 1
    assert found.kinds[OTHERS] > 0


def test_a_convolution_is_a_product() -> None:
    x, kernel = torch.ones(4, 8, 32, 32), torch.ones(8, 8, 3, 3)
    found = profiled(subject_of(lambda: torch.nn.functional.conv2d(x, kernel)))
    assert found.kinds[PRODUCTS] > found.kinds[OTHERS]


def test_slow_python_is_overhead() -> None:
    def step() -> None:
        sum(range(300_000))
        torch.ones(2).exp()

    found = profiled(subject_of(step))
    assert found.kinds[OVERHEAD] > 0.8 * found.cycle_ms


def test_traces_hold_the_operators_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = profile.profile(profile.distillation_subject(seeds(0), CPU), 1, tmp_path, limit_s=0.0)
    assert found.traces == [str(tmp_path / "trace.json")]
    names = {event.get("name") for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert {profile.WATCHED, "aten::bmm", "aten::_fused_adamw_"} <= names
    assert capfd.readouterr() == ("", "")


# --- which ensemble


@pytest.mark.parametrize(("members", "wanted"), [(None, [0, 1, 2]), (2, [0, 1]), (5, [0, 1, 2, 3, 4])])
def test_the_first_ensemble_is_cut_or_filled_up_with_new_seeds(members: int | None, wanted: list[int]) -> None:
    es = [*seeds(0, 1, 2).members, *seeds(0, law__dim=5).members]
    assert profile.first_group(es, CPU, members).seeds == wanted


def test_members_that_do_not_fit_are_refused_with_how_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    group = seeds(0, 1, 2)
    monkeypatch.setattr(profile, "memory", lambda device: tried(group).bytes(5, "cpu") - 1)
    assert len(profile.first_group(group.members, CPU, 4)) == 4
    with pytest.raises(InputError, match=r"--members 9: by estimate [34] members .* ask for that many at most"):
        profile.first_group(group.members, CPU, 9)


# --- the command


def call(*words: str | Path, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["profile", *map(str, words)])


COMMAND = ("--preset", "smoke", *TINY, "--device", "cpu", "--cycles", "1", "--members", "2", "--out")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_command_ends_with_tables_the_distance_and_the_trace(tmp_path: Path, columns: int) -> None:
    done = call(*COMMAND, tmp_path / "new", columns=columns)
    assert done.exit_code == 0
    for word in (PRODUCTS, OVERHEAD, "100.0 %", "bmm", "Distance to the limit", "ui.perfetto.dev", "2 members"):
        assert word in done.stdout
    assert "1 cycle of 2 members (residual network, width 8, " in " ".join(done.stderr.split())
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= columns
    assert (tmp_path / "new" / "trace.json").is_file()


def test_json_has_the_numbers_and_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    done = call(*COMMAND, tmp_path, "--json", "--teacher")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["what"] == "teacher iteration"
    assert found["members"] == 2
    assert sum(found["kinds"].values()) == pytest.approx(found["cycle_ms"])
    assert found["limit"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["law.dim=3"], "expected an experiment file"),
        (["--preset", "smoke", "--device", "cuda:99"], "--device cuda:99"),
        (["--preset", "smoke", "law.dmi=3"], "law.dmi"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(words: list[str], said: str, tmp_path: Path) -> None:
    done = call(*words, "--out", tmp_path / "new")
    assert isinstance(done.exception, InputError)  # which the application turns into status 2
    assert said in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_profile_names_its_kernels_and_traces_both_ways(tmp_path: Path) -> None:
    device = torch.device("cuda")
    group = Group((experiment(),))
    for subject in (profile.distillation_subject(group, device), profile.start_networks_subject(group, device)):
        found = profile.profile(subject, 2, tmp_path)
        assert found.kinds[PRODUCTS] > 0
        assert found.kinds[OTHERS] > 0
        assert sum(found.kinds.values()) == pytest.approx(found.cycle_ms)
        assert [Path(path).name for path in found.traces] == ["trace.json", "trace-eager.json"]
