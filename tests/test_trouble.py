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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small import TINY, do, experiments, group_of

from dmdlab.cli import measure as measure_command
from dmdlab.config import InputError
from dmdlab.group import Group
from dmdlab.lab import engines
from dmdlab.pages import measurement
from dmdlab.records.writing import prepare, replacing, write_text
from dmdlab.trouble import ADVICE, Unwritable, counted

Command = Callable[..., tuple[int, str, str]]
CODE = "from dmdlab.cli import main; main()"
SMALL = ("--preset", "smoke", *TINY)
FULL = Path("/dev/full")
CAN_MOUNT = shutil.which("unshare") is not None and (
    subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0
)
mounts = pytest.mark.skipif(not CAN_MOUNT, reason="only root may mount a small disk")


def printed(encoding: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own that prints in this encoding, and draws no figures, which take longer."""
    undrawn = "from dmdlab.cli import run; run.draw_figures = lambda *_: None; "
    call = [sys.executable, "-c", undrawn + CODE, *map(str, words)]
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


@pytest.mark.slow
@mounts
def test_a_full_disk_ends_a_sweep_in_two_processes_with_what_is_kept(tmp_path: Path) -> None:
    words = ("sweep", *SMALL, "seed={stop = 12}", "--device", "cpu")
    status, told, left = on_small_disk("100k", tmp_path, *words, "--workers", "2", "--out", tmp_path)
    kept = sum(name.endswith("summary.json") for name in left)
    assert status == 2
    assert "the disk is full: make room on it" in told
    assert f"{kept} of 12 runs are finished and kept in {tmp_path}. Go on with: dmdlab sweep" in " ".join(told.split())
    assert "folder you own" not in told
    assert "Traceback" not in told
    assert not [name for name in left if "/." in name.removeprefix(str(tmp_path))]


@pytest.mark.slow
@mounts
def test_a_full_disk_ends_a_calibration_with_what_is_kept(tmp_path: Path) -> None:
    words = ("calibrate", *SMALL, "law.dim=[2, 3, 4, 5]", "--device", "cpu", "--out", tmp_path)
    status, told, left = on_small_disk("40k", tmp_path, *words)
    assert status == 2
    assert "the disk is full" in told
    assert f"{len(left)} of 4 calibrations are kept" in told
    assert all(Path(name).suffix == ".npz" and Path(name).name[0] != "." for name in left)


@pytest.mark.slow
@mounts
def test_a_small_dev_shm_says_what_to_do(tmp_path: Path) -> None:
    words = ("sweep", *SMALL, "seed={stop = 8}", "--device", "cpu", "--workers", "2", "--out", tmp_path)
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
@pytest.mark.parametrize(
    ("seed", "how"),
    [
        (0, r"ended by SIGBUS, as when /dev/shm.*full"),
        pytest.param(1, "exit code 3", marks=pytest.mark.long),
    ],
)
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


@pytest.mark.parametrize("encoding", [pytest.param("cp1252", marks=pytest.mark.slow), "ascii"])
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


def test_numbers_of_things_read_well() -> None:
    told = [counted(n, noun) for n, noun in ((1, "run"), (0, "run"), (2, "core"), (1, "process"), (2, "process"))]
    assert told == ["1 run", "0 runs", "2 cores", "1 process", "2 processes"]
