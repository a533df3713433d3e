"""From a group to results: what each member gets, what is taken from the store and kept there, what a failure is."""

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, do, experiments, group_of, law_of
from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.device import environment
from dmdlab.diffusion import flow, karras_grid
from dmdlab.group import Group
from dmdlab.lab import engines
from dmdlab.lab.evaluate import check_teacher, excess_risks
from dmdlab.lab.run import DISTILLING, MEASURING, PAIRING, START_NETWORKS, Progress, run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.networks import EDMDenoiser, denoiser_of
from dmdlab.records.record import load_records
from dmdlab.training.turn import Turn

INITS = 'student.init=["teacher", "rotated", "random"]'
STILL = ("student.iterations=1", "student.learning_rate=1e-30", "student.weight_decay=0.0")
"""One tiny step at a negligible rate: the student is still its start."""


def results(wanted: Sequence[Experiment], store: Store) -> list[RunResult]:
    events = run_group(Group(tuple(wanted)), store, CPU)
    return [event for event in events if isinstance(event, RunResult)]


def student_of(result: RunResult) -> EDMDenoiser:
    """The trained network that a result holds."""
    row = torch.cat([w.flatten() for w in result.weights.values()])
    return denoiser_of(row[None], law_of(result.experiment), result.experiment.network)


def noise_of(result: RunResult, store: Store) -> Tensor:
    pairs = store.pairs(result.experiment)
    assert pairs is not None
    return torch.from_numpy(pairs["noise"])[None]  # (1, n, d)


def outputs(result: RunResult) -> np.ndarray:
    assert result.student is not None
    return result.student


# --- one run's results


def test_members_of_any_init_and_rate_get_what_they_get_alone(tmp_path: Path) -> None:
    wanted = experiments(INITS, "student.learning_rate=[1e-2, 1e-3]", "seed=[0, 1]")
    together = results(wanted, Store(tmp_path / "together"))
    assert [r.experiment.id for r in together] == [e.id for e in wanted]
    for e, member in list(zip(wanted, together, strict=True))[::5]:  # one of each init, both rates, both seeds
        (alone,) = results([e], Store(tmp_path / e.id))
        np.testing.assert_allclose(outputs(alone), outputs(member), rtol=1e-4, atol=1e-5)
        for name, column in alone.curve.items():
            np.testing.assert_allclose(column, member.curve[name], rtol=1e-3, atol=1e-5, err_msg=name)
        for name, weight in alone.weights.items():
            torch.testing.assert_close(weight, member.weights[name], rtol=1e-4, atol=1e-5)
        for name, array in (Store(tmp_path / e.id).pairs(e) or {}).items():
            kept = Store(tmp_path / "together").pairs(e)
            assert kept is not None
            np.testing.assert_allclose(array, kept[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_inits_start_where_they_say(tmp_path: Path) -> None:
    store = Store(tmp_path)
    teacher, rotated, random = results(experiments(INITS, *STILL, "law.dim=3"), store)
    z = noise_of(teacher, store)
    for member, noise in ((teacher, z), (rotated, Turn([0], [True], 3)(z)), (random, z)):
        expected = student_of(member)(noise, 5.0)[0].detach()
        torch.testing.assert_close(torch.from_numpy(outputs(member)), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(teacher.weights[n], rotated.weights[n]) for n in teacher.weights)
    assert not torch.equal(teacher.weights["out.weight"], random.weights["out.weight"])
    for member in (teacher, rotated, random):  # and have not moved from there
        assert member.summary["student"]["weight_movement"] < 1e-20
        assert member.summary["student"]["kernel_change"] == 0


def test_a_record_says_how_lazily_its_student_was_trained(tmp_path: Path) -> None:
    records = do(experiments("student.learning_rate=[1e-5, 1e-2]"), tmp_path)
    little, much = sorted(records, key=lambda record: record.row["student.learning_rate"])
    for key in ("student_weight_movement", "student_kernel_change"):
        assert 0 < little.row[key] < much.row[key]
    assert any("its weights moved by" in sentence for sentence in much.summary["in_words"])


def test_progress_comes_before_results_and_counts_up(tmp_path: Path) -> None:
    events = list(run_group(Group(tuple(experiments("seed=[0, 1]"))), Store(tmp_path), CPU))
    stages = [e.stage for e in events if isinstance(e, Progress)]
    assert [stage for stage, _ in itertools.groupby(stages)] == [START_NETWORKS, PAIRING, DISTILLING, MEASURING]
    for stage in set(stages):
        done = [e.done for e in events if isinstance(e, Progress) and e.stage == stage]
        assert done == sorted(done)
    assert isinstance(events[-1], RunResult)


def test_a_trained_teacher_is_the_students_start_and_its_own_flow(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (member,) = results(experiments("teacher.kind=network", *STILL), store)
    e, z, network = member.experiment, noise_of(member, store), student_of(member)
    arrays = (store.pairs(e) or {}) | {"student": outputs(member)}
    expected = {
        "teacher": flow(network, z, karras_grid(4, e.noise)),
        "one_step": network(z, 5.0),
        "student": network(z, 5.0),
    }
    for name, made in expected.items():
        np.testing.assert_allclose(arrays[name], made[0].detach().numpy(), rtol=1e-4, atol=1e-4)
    assert member.summary["teacher"]["excess_risk"] == member.summary["start_excess_risk"] > 0


def test_a_student_of_a_younger_teacher_is_its_copy_at_that_age(tmp_path: Path) -> None:
    """Teachers of all ages train as one; each student starts at, and is paired with, its own."""
    young, old = experiments("teacher.kind=network", "teacher.snapshot=[4, 10]", *STILL)
    assert (young.teacher.age, old.teacher.age, old.teacher.snapshot) == (4, 10, 0)  # the end has one name
    together = Store(tmp_path)
    for result, e in zip(results([young, old], together), (young, old), strict=True):
        (alone,) = results([e], Store(tmp_path / e.id))
        np.testing.assert_allclose(outputs(alone), outputs(result), rtol=1e-4, atol=1e-5)
        row = together.start(e)
        assert row is not None
        held = torch.cat([w.flatten() for w in result.weights.values()])
        torch.testing.assert_close(held, row, rtol=1e-3, atol=1e-4)
    rows = [together.start(e) for e in (young, old)]
    assert not torch.equal(*rows)  # type: ignore[arg-type]


# --- what runs share


def test_start_networks_in_the_store_are_used_and_new_ones_are_kept(tmp_path: Path) -> None:
    wanted, store = experiments("seed=[0, 1]", *STILL), Store(tmp_path)
    first = results(wanted, store)
    kept = [store.start(e) for e in wanted]
    assert kept[0] is not None
    other = Store(tmp_path / "other")
    other.keep_start(wanted[0], 0 * kept[0])
    spoilt, same = results(wanted, other)
    assert all(w.abs().max() < 1e-20 for w in spoilt.weights.values())
    np.testing.assert_allclose(outputs(same), outputs(first[1]), rtol=1e-4, atol=1e-5)
    row = other.start(wanted[1])
    assert row is not None
    torch.testing.assert_close(row, kept[1], rtol=1e-4, atol=1e-5)


def test_pairs_of_one_teacher_are_stored_once_for_all_students_and_starts_and_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results(experiments(INITS, "student.learning_rate=[1e-3, 1e-4]"), store)
    (path,) = (tmp_path / "pairs").iterdir()
    before = path.stat().st_mtime_ns
    results(experiments("student.iterations=10"), store)  # a run of another shape
    results(experiments("seed=[0, 1]", "student.iterations=15"), store)  # beside a seed whose pairs are new
    assert path.stat().st_mtime_ns == before
    assert len(list((tmp_path / "pairs").iterdir())) == 2


def test_a_run_is_measured_against_the_pairs_in_the_store(tmp_path: Path) -> None:
    """Alone, and beside a seed that has none yet."""
    store, first = Store(tmp_path), experiments()[0]
    results([first], store)
    marked = {name: array + np.float32(0.5) for name, array in (store.pairs(first) or {}).items()}
    store.keep_pairs(first, marked)
    for wanted in (experiments("student.init=rotated"), experiments("student.iterations=10", "seed=[0, 1]")):
        for result in results(wanted, store):
            store.publish(result, {})
        arrays = store.record(wanted[0]).arrays()
        for name, array in marked.items():
            np.testing.assert_array_equal(arrays[name], array)
        ratio = arrays["student"].var(axis=0).sum() / arrays["teacher"].var(axis=0).sum()
        assert store.record(wanted[0]).summary["metrics"]["variance_ratio"]["value"] == pytest.approx(ratio, rel=1e-3)


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def flipped(path: Path) -> None:
    """Damaged within: another byte in its middle."""
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 0xFF
    path.write_bytes(held)


@pytest.mark.parametrize("keep", [0, 100, -10])
@pytest.mark.parametrize("folder", ["teachers", "calibration"])
def test_what_is_shared_and_cut_short_is_a_sentence_before_any_training(folder: str, keep: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    results(experiments(), store)
    (path,) = (tmp_path / folder).iterdir()
    cut(path, keep)
    is_told_before_any_training(path, store)


def test_pairs_that_are_damaged_within_are_a_sentence_before_any_training(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results(experiments(), store)
    (path,) = (tmp_path / "pairs").iterdir()
    flipped(path)
    is_told_before_any_training(path, store)


def is_told_before_any_training(path: Path, store: Store) -> None:
    events, stages = run_group(group_of(*experiments("student.init=rotated")), store, CPU), list[str]()
    with pytest.raises(InputError) as error:
        stages.extend(event.stage for event in events if isinstance(event, Progress))
    assert DISTILLING not in stages
    told = str(error.value)
    assert str(path) in told
    assert "damaged" in told or "an empty file" in told
    assert "delete it" in told
    assert "\n" not in told


# --- a run's folder is whole


def an_unfinished(tmp_path: Path) -> tuple[Store, RunResult]:
    store = Store(tmp_path)
    (result,) = results(experiments(), store)
    return store, result


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()], ids=["raised", "interrupted"])
def test_a_folder_that_cannot_be_written_whole_is_not_there(error: BaseException, tmp_path: Path) -> None:
    """It stops in the middle of the curve."""

    def half() -> Iterator[float]:
        yield 1.0
        raise error

    store, result = an_unfinished(tmp_path)
    broken = RunResult(result.experiment, result.summary, {"iteration": half()}, result.student, {})  # type: ignore[dict-item]
    with pytest.raises(type(error)):
        store.publish(broken, {})
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(InputError, match="no finished run"):
        load_records(tmp_path)
    assert store.missing([result.experiment]) == [result.experiment]


def test_what_a_killed_process_left_is_taken_for_no_run(tmp_path: Path) -> None:
    """Under the name that a folder has while it is written."""
    store, result = an_unfinished(tmp_path)
    folder = store.publish(result, {})
    folder.rename(folder.with_name(f".{folder.name}.123-abc"))
    assert not store.finished(result.experiment)
    with pytest.raises(InputError, match="no finished run"):
        load_records(tmp_path)
    store.publish(result, {})
    assert [r.summary["id"] for r in load_records(tmp_path)] == [result.experiment.id]


def test_a_folder_without_its_summary_is_replaced_whole(tmp_path: Path) -> None:
    store, result = an_unfinished(tmp_path)
    folder = store.publish(result, {})
    (folder / "summary.json").unlink()
    (folder / "left.txt").write_text("of an older run")
    assert store.missing([result.experiment]) == [result.experiment]
    assert store.publish(result, {}) == folder
    assert not (folder / "left.txt").exists()
    assert store.finished(result.experiment)
    assert store.record(result.experiment).summary["pairs"] in {p.name for p in (tmp_path / "pairs").iterdir()}


def test_a_run_whose_pairs_are_lost_is_made_anew(tmp_path: Path) -> None:
    store, result = an_unfinished(tmp_path)
    store.publish(result, {})
    (path,) = (tmp_path / "pairs").iterdir()
    path.unlink()
    assert store.missing([result.experiment]) == [result.experiment]
    for again in results([result.experiment], store):
        store.publish(again, {})
    assert store.missing([result.experiment]) == []


@pytest.mark.parametrize("file", ["runs/*/student.npy", "pairs/*.npz"])
def test_a_run_whose_arrays_are_cut_short_is_made_anew(file: str, tmp_path: Path) -> None:
    store, result = an_unfinished(tmp_path)
    store.publish(result, {})
    before = store.record(result.experiment).arrays()
    (path,) = tmp_path.glob(file)
    whole = path.read_bytes()
    for keep in (0, 100, -10):
        path.write_bytes(whole)
        assert store.missing([result.experiment]) == []
        cut(path, keep)
        assert store.missing([result.experiment]) == [result.experiment]
    for again in results([result.experiment], store):
        store.publish(again, {})
    assert store.missing([result.experiment]) == []
    for name, array in store.record(result.experiment).arrays().items():
        np.testing.assert_allclose(array, before[name], rtol=1e-4, atol=1e-5)


def test_a_store_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="this is a file; expected a folder"):
        Store(tmp_path / "file")


# --- failures


def test_a_diverging_member_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    wanted = experiments("student.learning_rate=[1e-3, 1e30]", "student.iterations=50")
    store = Store(tmp_path)
    for result in results(wanted, store):
        store.publish(result, {})
    good, bad = (store.record(e) for e in wanted)
    assert (good.summary["status"], good.summary["failed_at"]) == ("done", None)
    assert bad.summary["status"] == "failed"
    assert bad.summary["failed_at"] in range(5, 51, 5)
    assert bad.arrays() == {}
    assert not (bad.folder / "student.safetensors").exists()
    (alone,) = results(wanted[:1], Store(tmp_path / "alone"))
    np.testing.assert_allclose(good.arrays()["student"], outputs(alone), rtol=1e-4, atol=1e-5)
    assert store.missing(wanted) == []


def test_an_ensemble_of_which_every_member_fails_says_so_quietly(tmp_path: Path) -> None:
    (member,) = results(experiments("student.learning_rate=1e30", "student.iterations=50"), Store(tmp_path))
    assert member.summary["status"] == "failed"


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_a_diverging_teacher_is_a_failed_run_and_the_other_seeds_go_on(tmp_path: Path) -> None:
    """One seed's network is spoilt after training, as by a rate too high for it."""
    wanted, store = experiments("teacher.kind=network", "seed=[0, 1]"), Store(tmp_path)
    results(wanted, store)
    kept = store.start(wanted[1])
    assert kept is not None
    other = Store(tmp_path / "other")
    other.keep_start(wanted[1], kept * math.nan)
    good, bad = results(wanted, other)
    assert good.summary["status"] == "done"
    assert bad.summary["status"] == "failed"
    assert bad.summary["teacher"]["ok"] is False


def test_the_teachers_check_passes_data_and_flags_what_is_not() -> None:
    rng = np.random.default_rng(0)
    teacher, data, fresh = rng.standard_normal((3, 200, 2))
    good = check_teacher(teacher, data, fresh, 0.01)
    assert good["ok"]
    assert good["reasons"] == []
    assert good["transport_ratio"] == pytest.approx(good["transport"] / good["transport_fresh"])
    far = check_teacher(teacher + 3, data, fresh, 0.01)
    assert not far["ok"]
    assert "times as much to match with data" in far["reasons"][0]
    vague = check_teacher(teacher, data, fresh, 0.3)
    assert not vague["ok"]
    assert "excess risk is 0.3" in vague["reasons"][0]
    assert check_teacher(teacher, data, fresh, math.nan)["ok"]  # a law without an exact denoiser


def test_a_memorising_denoiser_is_compared_on_what_it_memorised() -> None:
    """There it knows the answer but for large noise, and any other is much worse; elsewhere both would be wrong."""
    (e,) = experiments("law.name=blobs", "law.side=4", "law.empirical=2", "network.kind=mlp")
    assert excess_risks(group_of(e), lambda x, sigma, label=None: 0 * x, law_of(e)) > 100


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
