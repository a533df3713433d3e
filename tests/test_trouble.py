"""What users of such tools run into: full disks, poor encodings, pipes without a reader, two sweeps in one folder.

Each ends with a sentence and its status, or with a result; nothing is lost and nothing half-written stays.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small import CPU, TINY, do, experiments, group_of

from dmdlab.cli import measure as measure_command
from dmdlab.config import InputError
from dmdlab.group import Group
from dmdlab.lab import engines
from dmdlab.lab.run import run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.pages import measurement
from dmdlab.pairing import Pairs, measure
from dmdlab.records.record import load_records
from dmdlab.records.writing import prepare, replacing, write_text
from dmdlab.trouble import ADVICE, Unwritable

Command = Callable[..., tuple[int, str, str]]
CODE = "from dmdlab.cli import main; main()"
SMALL = ("--preset", "smoke", *TINY)
FULL = Path("/dev/full")
CAN_MOUNT = shutil.which("unshare") is not None and (
    subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0
)
mounts = pytest.mark.skipif(not CAN_MOUNT, reason="only root may mount a small disk")


def printed(encoding: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own that prints in this encoding."""
    call = [sys.executable, "-c", CODE, *map(str, words)]
    place = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.run(call, capture_output=True, encoding=encoding, check=False, env=place)


def on_small_disk(size: str, folder: Path, *words: str | Path) -> tuple[int, str, list[str]]:
    """The same with a disk of this size at `folder`: status, stderr, and every file that it leaves there."""
    script = 'mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99; f=$2; shift 2; "$@"; s=$?; find "$f" -type f; exit $s'
    call = ["unshare", "-m", "sh", "-c", script, "sh", size, str(folder), sys.executable, "-c", CODE, *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode == 99:
        pytest.skip("a small disk cannot be mounted here")
    return done.returncode, done.stderr, done.stdout.split()


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    teacher, other = np.random.default_rng(0).normal(size=(2, 60, 4))
    np.savez(tmp_path / "p.npz", teacher=teacher, student=0.9 * teacher + 0.4 * other)
    return tmp_path / "p.npz"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds: tables show their intervals."""
    out = tmp_path_factory.mktemp("swept")
    do(experiments("seed=[0, 1]"), out)
    return out


# --- a system that refuses


@pytest.mark.parametrize("number", ADVICE)
def test_what_the_system_refuses_is_told_by_its_number_and_nothing_partial_stays(number: int, tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "run") as partial:
            partial.mkdir()
            with replacing(partial / "a.json") as inner:
                inner.write_text("half")
                raise OSError(number, os.strerror(number))

    with pytest.raises(Unwritable) as told:
        write()
    assert str(told.value) == f"{tmp_path / 'run'}: cannot be written: {ADVICE[number]}"
    assert list(tmp_path.iterdir()) == []
    assert ("folder you own" in str(told.value)) == (number in (errno.EACCES, errno.EPERM))


def test_a_disk_that_is_full_where_a_library_says_so_in_its_own_way(tmp_path: Path) -> None:
    for error in (OSError("100000 requested and 8176 written"), RuntimeError("I/O error: No space (os error 28)")):
        with pytest.raises(Unwritable, match="the disk is full"), replacing(tmp_path / "a.npy"):
            raise error
    with pytest.raises(RuntimeError, match="another"), replacing(tmp_path / "a.npy"):
        raise RuntimeError("another")


@mounts
def test_a_full_disk_ends_a_sweep_in_two_processes_with_what_is_kept(tmp_path: Path) -> None:
    words = ("sweep", *SMALL, "seed=[0, 1, 2, 3, 4, 5]", "law.dim=[2, 3]", "--device", "cpu")
    status, told, left = on_small_disk("100k", tmp_path, *words, "--workers", "2", "--out", tmp_path)
    kept = sum(name.endswith("summary.json") for name in left)
    assert status == 2
    assert "the disk is full: make room on it" in told
    assert f"{kept} of 12 runs are finished and kept in {tmp_path}. Go on with: dmdlab sweep" in " ".join(told.split())
    assert "folder you own" not in told
    assert "Traceback" not in told
    assert not [name for name in left if "/." in name.removeprefix(str(tmp_path))]


@mounts
def test_a_full_disk_ends_a_calibration_with_what_is_kept(tmp_path: Path) -> None:
    words = ("calibrate", *SMALL, "law.dim=[2, 3, 4, 5]", "--device", "cpu", "--out", tmp_path)
    status, told, left = on_small_disk("40k", tmp_path, *words)
    assert status == 2
    assert "the disk is full" in told
    assert f"{len(left)} of 4 calibrations are kept" in told
    assert all(Path(name).suffix == ".npz" and Path(name).name[0] != "." for name in left)


@mounts
def test_a_small_dev_shm_says_what_to_do(tmp_path: Path) -> None:
    words = ("sweep", *SMALL, "seed=[0, 1]", "law.dim=[2, 3]", "--device", "cpu", "--workers", "2", "--out", tmp_path)
    status, told, _ = on_small_disk("4k", Path("/dev/shm"), *words)
    assert status == 2
    assert "/dev/shm on Linux, and cannot have them (it is full): give --workers 1" in told
    assert "Traceback" not in told


def test_workers_that_cannot_have_semaphores_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError(errno.ENOSPC, "No space left on device"), ImportError("lacks a functioning sem_open")):

        def refuse(*args: object, error: Exception = error, **named: object) -> None:
            raise error

        monkeypatch.setattr(engines, "ProcessPoolExecutor", refuse)
        with pytest.raises(InputError, match="give --workers 1"):
            list(engines.processes(print, [group_of(*experiments())], 2))  # type: ignore[arg-type]


def dies(group: Group) -> Iterator[str]:
    """Work that a full disk under a mapped file ends, or a library that leaves."""
    if group.shared.seed:
        os._exit(3)
    os.kill(os.getpid(), signal.SIGBUS)
    yield "never"


@pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="Windows has no such signal")
@pytest.mark.parametrize(("seed", "how"), [(0, r"ended by SIGBUS, as when /dev/shm.*full"), (1, "exit code 3")])
def test_a_worker_that_is_ended_says_how(seed: int, how: str) -> None:
    with pytest.raises(engines.WorkerKilled, match=how):
        list(engines.processes(dies, [group_of(*experiments(f"seed={seed}"))], 1))


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("words", [("metrics",), ("metrics", "--json"), ("--help",)])
def test_an_output_that_takes_nothing_is_said(words: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        call = [sys.executable, "-c", CODE, *words]
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("dmdlab: the output cannot be written (the disk is full")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("metrics",), ("metrics", "--json"), ("--help",)])
def test_a_pipe_that_nobody_reads_ends_quietly_as_sigpipe_does(words: tuple[str, ...]) -> None:
    call = [sys.executable, "-c", CODE, *words]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (141, "")


@pytest.mark.parametrize("command", ["sweep", "run", "table", "plot", "measure", "report"])
def test_a_path_of_300_characters_is_a_sentence(command: str, dmdlab: Command, npz: Path, tmp_path: Path) -> None:
    name = tmp_path / (300 * "a")
    words: dict[str, tuple[str | Path, ...]] = {
        "sweep": (f"{name}.toml",),
        "run": (*SMALL, "--out", name),
        "table": (name,),
        "plot": ("curve", name),
        "measure": (f"{name}.npz",),
        "report": (npz, "--report", f"{name}.html"),
    }
    code, out, err = dmdlab("measure" if command == "report" else command, *words[command])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the name is longer than the system allows: choose a shorter one" in err


# --- what an output can show


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_poor_encoding_loses_no_result(encoding: str, npz: Path, swept: Path) -> None:
    measured = printed(encoding, "measure", npz)
    assert (measured.returncode, measured.stderr) == (0, "")
    for word in ("pair_cosine", "fidelity", "unresolved"):
        assert word in measured.stdout
    table = printed(encoding, "sweep", *SMALL, "seed=[0, 1]", "--device", "cpu", "--out", swept)
    assert table.returncode == 0
    assert "Traceback" not in table.stderr
    assert f"Mean {'+-' if encoding == 'ascii' else '±'} half the 95 % interval" in table.stdout


def test_a_file_name_that_is_no_text_is_measured_and_reported(dmdlab: Command, npz: Path, tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"p\xff.npz")
    try:
        npz.rename(strange)
    except OSError:
        pytest.skip("the file system takes text only")
    code, out, _ = dmdlab("measure", strange, "--report", tmp_path / "out.html")
    assert code == 0
    assert "Report:" in out
    assert "p�.npz" in (tmp_path / "out.html").read_text(encoding="utf-8")
    code, out, _ = dmdlab("measure", strange, "--json")
    assert json.loads(out)["files"] == [str(strange)]
    code, _, err = dmdlab("measure", tmp_path / os.fsdecode(b"q\xff.npz"))
    assert code == 2
    assert "q\\xff.npz: no such file" in err
    write_text(tmp_path / "a.txt", str(strange))
    assert "p\\udcff" in (tmp_path / "a.txt").read_text(encoding="utf-8")


# --- two at once


def finished(out: Path) -> tuple[Store, RunResult]:
    (experiment,) = experiments()
    store = Store(out)
    (result,) = (e for e in run_group(group_of(experiment), store, CPU) if isinstance(e, RunResult))
    return store, result


def at_once(work: Callable[[int], object], workers: int = 6) -> list[BaseException]:
    """Everything that goes wrong where so many threads do the same at the same time."""
    errors: list[BaseException] = []
    start = threading.Barrier(workers)

    def one(worker: int) -> None:
        start.wait()
        try:
            work(worker)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_sweeps_that_finish_the_same_run_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    store, result = finished(tmp_path)
    row = torch.arange(5.0)
    pairs = store.pairs(result.experiment)
    assert pairs is not None

    def publish(worker: int) -> None:
        for _ in range(10):
            store.publish(result, {})
            store.keep_start(result.experiment, row)
            store.keep_pairs(result.experiment, pairs)

    assert at_once(publish) == []
    (record,) = load_records(tmp_path)
    assert set(record.arrays()) >= {"teacher", "student"}
    assert store.start(result.experiment) is not None
    assert not list(tmp_path.rglob(".*"))


def test_folders_put_in_one_place_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    def put(worker: int) -> None:
        for _ in range(30):
            with replacing(tmp_path / "run") as partial:
                partial.mkdir()
                for name in "ab":
                    (partial / name).write_text(str(worker))

    assert at_once(put, 4) == []
    assert len({path.read_text() for path in (tmp_path / "run").iterdir()}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_that_another_sweep_finished_stays(tmp_path: Path) -> None:
    store, result = finished(tmp_path)
    folder = store.publish(result, {"commit": "theirs"})
    store.publish(result, {"commit": "ours"})
    assert json.loads((folder / "environment.json").read_text())["commit"] == "theirs"


@pytest.mark.slow
def test_two_sweeps_in_one_folder_both_come_to_their_end(tmp_path: Path) -> None:
    words = [sys.executable, "-c", CODE, "sweep", *SMALL, "--device", "cpu", "--workers", "1"]
    call = [*words, "--json", "--out", str(tmp_path)]
    both = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert len(json.loads(out)) == 1
    assert len(load_records(tmp_path)) == 1


def test_a_copied_run_counts_once_and_is_named(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    run_folder = next((tmp_path / "s" / "runs").iterdir())
    shutil.copytree(run_folder, tmp_path / "s" / "runs" / "z-copy")
    code, out, err = dmdlab("table", tmp_path / "s", "--format", "json")
    assert (code, len(json.loads(out))) == (0, 2)
    assert f"z-copy is the same run as {run_folder}; it counts once" in " ".join(err.split())
    code, _, err = dmdlab("plot", "curve", tmp_path / "s")
    assert code == 0
    assert "it counts once" in err


# --- files as they come


@pytest.mark.parametrize("text", ["a = " + 3000 * "[", "law.dim = " + 3000 * "[" + 3000 * "]"])
def test_brackets_without_end_are_a_sentence(text: str, dmdlab: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(text)
    for words in ((tmp_path / "e.toml",), ("--preset", "smoke", text.replace(" ", ""))):
        code, _, err = dmdlab("sweep", *words, "--out", tmp_path / "out")
        assert (code, err.count("\n")) == (2, 1)
        assert "nested too deeply" in err


def test_a_byte_order_mark_is_no_part_of_an_experiment(dmdlab: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('question = "Why?"\n[law]\ndim = 3\n', encoding="utf-8-sig")
    code, out, _ = dmdlab("config", "show", tmp_path / "e.toml", "--json")
    assert code == 0
    assert json.loads(out)["settings"]["law.dim"] == 3


def tensors() -> Iterator[tuple[torch.Tensor, str]]:
    yield torch.eye(4).to_sparse(), "Sparse"
    yield torch.empty(4, 4, device="meta"), "meta"


def test_tensors_that_are_no_arrays_are_sentences_and_float8_is_read() -> None:
    for tensor, told in tensors():
        with pytest.raises(InputError, match=rf"student is a tensor that cannot be read.*{told}"):
            measure(torch.eye(4), tensor)
    pairs = Pairs.of(torch.eye(4), torch.eye(4).to(torch.float8_e4m3fn))
    np.testing.assert_array_equal(pairs.student, np.eye(4))
    assert any("float8_e4m3fn" in note for note in pairs.notes)


def test_points_behind_the_first_array_of_a_laws_file_are_not_dropped(dmdlab: Command, tmp_path: Path) -> None:
    words = ("config", "show", "law.name=empirical", "law.dim=2", f'law.path="{tmp_path / "p.npy"}"')
    with (tmp_path / "p.npy").open("wb") as file:
        np.save(file, np.eye(2))
        file.flush()
        assert dmdlab(*words)[0] == 0
        np.save(file, np.eye(2))
    code, _, err = dmdlab(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert "bytes behind its array" in err


DAMAGED = {"cut": b"\x08\x00\x00", "another's": b"hello, I am no tensor", "empty": b""}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_start_network_is_named(damage: str, dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    path = sorted((tmp_path / "s" / "teachers").iterdir())[0]
    words = ("sweep", *SMALL, "seed=[0, 1]", "student.init=rotated", "--device", "cpu", "--out", tmp_path / "s")
    path.write_bytes(DAMAGED[damage])
    code, _, err = dmdlab(*words)
    assert code == 2
    assert f"{path}: damaged" in err
    assert "delete it, and it is trained anew" in err
    save_file({"parameters": torch.ones(2, 3)}, path)
    code, _, err = dmdlab(*words)
    assert code == 2
    assert f"{path}: damaged (parameters (2, 3)" in err


def test_a_lost_or_damaged_calibration_is_named(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    (path,) = (tmp_path / "s" / "calibration").iterdir()
    with np.load(path) as stored:
        arrays = dict(stored)
    damages: dict[str, Callable[[], object]] = {
        "damaged or cut short": lambda: path.write_bytes(path.read_bytes()[:-40]),
        "damaged: planted/pair_cosine has shape (2,)": lambda: np.savez(
            path, **(arrays | {"planted/pair_cosine": np.zeros(2)})
        ),
        "this is no calibration: planted/pair_cosine missing": lambda: np.savez(
            path, **{key: arrays[key] for key in arrays if key != "planted/pair_cosine"}
        ),
    }
    for told, damage in damages.items():
        damage()
        code, out, err = dmdlab("plot", "dimension", tmp_path / "s")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{path}: {told}" in err
    np.savez(path, **(arrays | {"about": np.array("{ no JSON")}))
    code, _, err = dmdlab("calibrate", *SMALL, "--device", "cpu", "--out", tmp_path / "s")
    assert code == 2
    assert f"{path}: damaged" in err
    path.unlink()
    code, _, err = dmdlab("plot", "dimension", tmp_path / "s")
    assert code == 0
    assert f"Note: {path}: not there" in " ".join(err.split())


@pytest.mark.parametrize("file", ["summary", "experiment"])
def test_a_record_that_lacks_what_a_row_is_made_of_is_named(
    file: str, dmdlab: Command, swept: Path, tmp_path: Path
) -> None:
    shutil.copytree(swept, tmp_path / "s")
    path = next((tmp_path / "s").rglob(f"{file}.json"))
    held = json.loads(path.read_text())
    path.write_text(json.dumps({key: held[key] for key in held if key not in ("status", "law.dim")}))
    code, out, err = dmdlab("table", tmp_path / "s")
    assert (code, out) == (2, "")
    assert f"damaged ({file}.json lacks" in err
    path.write_text(3000 * "[")
    assert "damaged" in dmdlab("table", tmp_path / "s")[2]


# --- what takes long


def test_a_long_measurement_says_before_what_it_solves_and_quick_leaves_the_halves_out(
    dmdlab: Command, npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "TRIED", 1.0)
    monkeypatch.setattr(measure_command, "ANNOUNCED", 0.0)
    code, out, err = dmdlab("measure", npz, "--json")
    assert code == 0
    assert "Measuring 60 pairs in 4 dimensions takes about" in err
    assert "one assignment of all rows and 20 of half of them, for the intervals, which --quick leaves out" in err
    assert json.loads(out)["metrics"]["delta_e"]["low"] is not None
    code, out, err = dmdlab("measure", npz, "--json", "--quick")
    assert code == 0
    assert "--quick" not in err
    assert json.loads(out)["metrics"]["delta_e"]["low"] is None
    assert json.loads(out)["metrics"]["pair_cosine"]["low"] is not None


def test_a_folder_that_cannot_be_made_is_refused_with_the_right_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(InputError, match="cannot write there: the disk is full"):
        prepare(tmp_path)
