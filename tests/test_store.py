"""A store without any training: what checksums tell later, the commands on runs, hostile names and files."""

import hashlib
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import made, write_run
from small import cut
from store_made import flip, published, put

from dmdlab.config import Experiment, InputError
from dmdlab.lab.store import Store
from dmdlab.records import checksums, kept_json
from dmdlab.records.catalogue import Filter, chosen, scan
from dmdlab.records.checksums import Damaged, save_npz
from dmdlab.records.kept_arrays import read_stored
from dmdlab.records.record import FORMAT, load_record, load_records
from dmdlab.records.verify import verify
from dmdlab.trouble import printable

Command = Callable[..., tuple[int, str, str]]
FOUR = ("seed=[0, 1]", 'student.init=["teacher", "rotated"]')


def one(out: Path) -> tuple[Experiment, Path]:
    (e,) = published(out)
    return e, Store(out).folder(e)


# --- checksums


def test_a_published_run_has_checksums_of_its_files_and_of_what_it_shares(tmp_path: Path) -> None:
    _, folder = one(tmp_path)
    files, shared = checksums.read_checksums(folder)
    assert {*files, checksums.NAME} == {path.name for path in folder.iterdir()}
    assert files["summary.json"] == checksums.of_file(folder / "summary.json")
    (pairs,), (network,) = (tmp_path / "pairs").iterdir(), (tmp_path / "teachers").iterdir()
    assert shared == {f"pairs/{pairs.name}": checksums.kept_in_npz(pairs), f"teachers/{network.name}": None}
    assert checksums.kept_in_npz(pairs) == hashlib.sha256(pairs.read_bytes()[:-64]).hexdigest()
    assert load_record(folder).summary["format"] == FORMAT
    assert [one.state for one in verify(tmp_path).runs + verify(tmp_path).shared] == ["whole"] * 3


def test_runs_of_older_formats_are_read_and_unknown_and_damage_in_them_is_seen(tmp_path: Path) -> None:
    for layout in (1, 2):
        folder = write_run(tmp_path / str(layout), made(dim=3), layout)
        folder = folder.rename(folder.with_name(f"mixture-{made(dim=3).summary['id']}"))
        found = verify(tmp_path / str(layout))
        assert ([run.state for run in found.runs], found.sound) == (["unknown"], True)
        flip(folder / "pairs.npz" if layout == 1 else next((tmp_path / "2" / "pairs").iterdir()))
        assert [run.path for run in verify(tmp_path / str(layout)).repeat] == [folder]


def test_the_first_pairs_stay_and_a_damaged_start_network_is_a_sentence(tmp_path: Path) -> None:
    e, _ = one(tmp_path)
    before = Store(tmp_path).pairs(e) or {}
    assert not Store(tmp_path).keep_pairs(e, {name: array + 1 for name, array in before.items()})
    for name, array in (Store(tmp_path).pairs(e) or {}).items():
        np.testing.assert_array_equal(array, before[name])
    (path,) = (tmp_path / "teachers").iterdir()
    flip(path, -1)
    with pytest.raises(InputError, match=r"damaged \(its numbers are not those.*delete it"):
        Store(tmp_path).start(e)


def test_one_flipped_bit_anywhere_in_what_is_shared_is_seen(tmp_path: Path) -> None:
    one(tmp_path)
    for path in (*(tmp_path / "pairs").iterdir(), *(tmp_path / "teachers").iterdir()):
        whole = path.read_bytes()
        assert checksums.check_shared(path) == "whole"
        for at in range(0, len(whole), 7):
            flip(path, at)
            with pytest.raises(Damaged):
                print(at, checksums.check_shared(path))
            path.write_bytes(whole)


# --- verify


def edited(path: Path) -> None:
    path.write_text(path.read_text().replace("0.5", "0.7"))


def other_arrays(path: Path) -> None:
    """As somebody makes the file anew, with a good checksum."""
    with np.load(path) as stored:
        arrays = {name: stored[name] + 1 for name in stored.files}
    checksums.save_npz(path, arrays)


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "npy bit": ("runs/*-teacher-s0-*/student.npy", lambda path: flip(path, -3), "student.npy was changed"),
    "weights bit": ("runs/*-teacher-s0-*/student.safetensors", flip, "student.safetensors was changed"),
    "edited curve": ("runs/*-teacher-s0-*/curve.csv", edited, "curve.csv was changed"),
    "edited number": ("runs/*-teacher-s0-*/summary.json", edited, "summary.json was changed"),
    "cut summary": ("runs/*-teacher-s0-*/summary.json", lambda path: cut(path, 100), "damaged"),
    "lost": ("runs/*-teacher-s0-*/environment.json", Path.unlink, "no environment.json"),
    "lost weights": ("runs/*-teacher-s0-*/student.safetensors", Path.unlink, "student.safetensors is lost"),
    "sums": ("runs/*-teacher-s0-*/checksums.json", lambda path: flip(path, 40), "changed or damaged|checksums.json"),
    "npz bit": ("pairs/*-s0-*", flip, "pairs/.* is damaged"),
    "npz cut": ("pairs/*-s0-*", lambda path: cut(path, -20), "pairs/.* is damaged"),
    "npz lost": ("pairs/*-s0-*", Path.unlink, "pairs/.* is lost"),
    "npz anew": ("pairs/*-s0-*", other_arrays, "another than it was measured against"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_verify_finds_damage_and_a_sweep_repeats_just_those_runs(damage: str, dmdlab: Command, tmp_path: Path) -> None:
    """Of four runs one, or the two that were measured against the same pairs."""
    wanted, (pattern, damaging, told) = published(tmp_path, *FOUR), DAMAGE[damage]
    (path,) = tmp_path.glob(pattern)
    damaging(path)
    hit = [e for e in wanted if e.seed == 0 and (pattern.startswith("pairs") or e.student.init == "teacher")]
    code, out, _ = dmdlab("runs", "verify", tmp_path, "--json")
    found = json.loads(out)
    assert code == 3
    assert sorted(found["repeat"]) == sorted(Store(tmp_path).folder(e).name for e in hit)
    wrong = [line for one in found["checked"] for line in one["wrong"]]
    assert any(re.search(told, line) for line in wrong), wrong
    assert len(list(tmp_path.glob("runs/*"))) == 4  # nothing is changed unasked
    assert dmdlab("runs", "verify", tmp_path, "--repair")[0] == 3
    assert Store(tmp_path).missing(wanted) == hit
    assert len(list((tmp_path / "damaged" / "runs").iterdir())) == len(hit)
    for e in hit:
        assert put(tmp_path, e)
    assert dmdlab("runs", "verify", tmp_path)[0] == 0
    assert all(record.folder.parent.parent == tmp_path for record in load_records(tmp_path))  # none that was set aside


def test_what_is_foreign_is_named_and_what_a_run_draws_is_not(dmdlab: Command, tmp_path: Path) -> None:
    _, folder = one(tmp_path)
    for name in ("curve.png", "curve.txt"):
        (folder / name).write_text("drawn")
    assert dmdlab("runs", "verify", tmp_path)[0] == 0
    (folder / "notes.md").write_text("mine")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "pairs" / "x.npz").symlink_to(folder / "student.npy")
    code, out, _ = dmdlab("runs", "verify", tmp_path)
    assert code == 3
    for line in ("holds what is not its own: notes.md", "damaged: runs/other: no summary.json", "foreign: pairs/x.npz"):
        assert line in out


# --- the catalogue


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["law.dim>=8"], 4),
        (["law.dim<8", "student.init=rotated"], 2),
        (["law.dim==2", "seed!=0"], 2),
        (["seed=[1, 2]"], 4),
        (["status=failed"], 0),
        (["failed_at=none", "seed=[0, none]"], 4),
        (["failed_at!=none"], 0),
        (["pair_cosine>0.3"], 4),
        (["pair_cosine<=nan"], 0),
        (["law.dim > 2", "law.dim <= 8"], 4),
    ],
)
def test_filters_choose_by_any_setting_or_measure(words: list[str], expected: int, tmp_path: Path) -> None:
    for dim in (2, 8):
        for init in ("teacher", "rotated"):
            for seed in (0, 1):
                write_run(tmp_path, made("mixture", dim, init, seed, pair_cosine=0.6 * (init == "teacher")))
    assert len(chosen(scan(tmp_path), words)) == expected


def test_a_filter_that_makes_no_sense_is_a_sentence(dmdlab: Command, tmp_path: Path) -> None:
    write_run(tmp_path, made())
    for word, told in {
        "law.dmi>=3": "did you mean 'law.dim'",
        "law.dim>=many": "many is no number",
        "law.dim": "expected a filter",
        "law.dim=>8": "expected a filter",
        ">=3": "expected a filter",
    }.items():
        code, out, err = dmdlab("runs", "ls", tmp_path, word)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert told in err
    assert Filter.of("a=b=c").value == "b=c"
    assert "no store of runs" in dmdlab("runs", "ls", tmp_path / "runs")[2]


def test_a_list_never_fails_for_one_runs_sake(dmdlab: Command, tmp_path: Path) -> None:
    write_run(tmp_path, made(seed=0))
    write_run(tmp_path, made(seed=1, status="failed"))
    bad = write_run(tmp_path, made(seed=2))
    (bad / "summary.json").write_text("{")
    code, out, err = dmdlab("runs", "ls", tmp_path)
    assert (code, len(out.splitlines())) == (0, 4)
    assert "3 runs, 1 failed, 1 that cannot be read" in err
    rows = json.loads(dmdlab("runs", "ls", tmp_path, "--format", "json")[1])
    assert sorted(row["status"] for row in rows) == ["done", "failed", "unreadable"]
    assert len(dmdlab("runs", "ls", tmp_path, "status=done", "--format", "csv")[1].splitlines()) == 2
    assert "did you mean 'json'" in dmdlab("runs", "ls", tmp_path, "--format", "jsn")[2]


def test_one_run_is_shown_by_the_first_letters_of_its_id(dmdlab: Command, tmp_path: Path) -> None:
    e, _ = one(tmp_path)
    code, out, _ = dmdlab("runs", "show", tmp_path, e.id[:4])
    assert code == 0
    assert "student.safetensors" in out
    assert json.loads(dmdlab("runs", "show", tmp_path, e.id, "--json")[1])["id"] == e.id
    assert "no runs of this id" in dmdlab("runs", "show", tmp_path, "zz")[2]


# --- out of a store


def keep_further(store: Path) -> None:
    """Beside every file of pairs what figures need beyond it, as `dmdlab reproduce` keeps it."""
    (store / "further").mkdir()
    for path in (store / "pairs").iterdir():
        save_npz(store / "further" / path.name, {"phi_32": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize("name", ["new", "new.ZIP", "new.tar.gz"])
def test_exported_runs_are_a_store_of_their_own(name: str, dmdlab: Command, tmp_path: Path) -> None:
    wanted, to = published(tmp_path / "s", *FOUR), tmp_path / name
    keep_further(tmp_path / "s")
    assert dmdlab("runs", "export", tmp_path / "s", to, "seed=1", "student.init=rotated")[0] == 0
    if name.endswith("ZIP"):
        zipfile.ZipFile(to).extractall(tmp_path / "new")
    elif name.endswith("gz"):
        with tarfile.open(to) as packed:
            packed.extractall(tmp_path / "new", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    assert [Store(tmp_path / "new").finished(e) for e in wanted] == [e.id == wanted[-1].id for e in wanted]
    assert verify(tmp_path / "new").sound
    assert [len(list((tmp_path / "new" / kind).iterdir())) for kind in ("teachers", "pairs", "further")] == [1, 1, 1]
    assert "there already" in dmdlab("runs", "export", tmp_path / "s", to)[2]
    assert "not an archive that is made" in dmdlab("runs", "export", tmp_path / "s", tmp_path / "new.tar.xz")[2]


def test_nothing_leads_out_of_a_store(dmdlab: Command, tmp_path: Path) -> None:
    _, folder = one(tmp_path / "s")
    (tmp_path / "secret.npz").write_text("secret")
    for inside in (tmp_path / "s" / "x", tmp_path / "s" / "runs" / "x.zip", tmp_path / "s"):
        code, _, err = dmdlab("runs", "export", tmp_path / "s", inside)
        assert (code, "inside the store" in err) == (2, True)
    (folder / "curve.csv").unlink()
    (folder / "curve.csv").symlink_to(tmp_path / "secret.npz")
    code, _, err = dmdlab("runs", "export", tmp_path / "s", tmp_path / "new")
    assert (code, "a link" in err, (tmp_path / "new").exists()) == (2, True, False)
    held = json.loads((folder / "summary.json").read_text())
    for name in ("../../secret.npz", "/etc/passwd", "..", "a/b", 3):
        (folder / "summary.json").write_text(json.dumps(held | {"calibration": name}))
        with pytest.raises(InputError, match="a plain name of a file as calibration"):
            load_record(folder)
    (folder / "summary.json").write_text(json.dumps(held))
    (folder / checksums.NAME).write_text(json.dumps({"files": {"../../../secret.npz": ""}, "shared": {}}))
    with pytest.raises(Damaged, match="outside the store"):
        checksums.read_checksums(folder)


def test_rm_asks_and_gc_removes_what_is_left_over(dmdlab: Command, tmp_path: Path) -> None:
    wanted = published(tmp_path, *FOUR)
    keep_further(tmp_path)
    code, _, err = dmdlab("runs", "rm", tmp_path, "seed=1")
    assert (code, "give --yes" in err) == (2, True)
    assert "expected filters" in dmdlab("runs", "rm", tmp_path, "--yes")[2]
    assert dmdlab("runs", "gc", tmp_path)[1] == "Nothing that no run needs.\n"
    assert dmdlab("runs", "rm", tmp_path, "seed=1", "--yes")[0] == 0
    assert [e.seed for e in Store(tmp_path).missing(wanted)] == [1, 1]
    (tmp_path / "runs" / ".half.12-abc").mkdir()
    code, out, err = dmdlab("runs", "gc", tmp_path)
    assert (code, "give --yes" in err) == (2, True)
    assert [line.split("/")[0] for line in out.splitlines()] == ["pairs", "further", "teachers", "runs"]
    assert dmdlab("runs", "gc", tmp_path, "--yes")[0] == 0
    assert [len(list((tmp_path / kind).iterdir())) for kind in ("runs", "pairs", "further", "teachers")] == [2, 1, 1, 1]
    assert verify(tmp_path).sound
    assert Store(tmp_path).missing(wanted[:1]) == []


# --- hostile files


def test_json_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    deep = kept_json.DEEPEST
    path.write_text(deep * "[" + deep * "]")
    assert kept_json.read_json(path)
    for text in ((deep + 1) * "[" + (deep + 1) * "]", (deep + 1) * '{"a":', "\x00", "[" * 10**6):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"."):
            kept_json.read_json(path)
    path.write_text(json.dumps({"a": 400 * "[{", "b": 300 * [[]]}))  # brackets in a string, and side by side
    assert len(kept_json.read_json(path)["b"]) == 300
    monkeypatch.setattr(kept_json, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="larger than"):
        kept_json.read_json(path)


def test_what_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", noise=np.zeros(1 << 20))
    with pytest.raises(Damaged, match="compressed"):
        checksums.check_npz(tmp_path / "bomb.npz")
    with pytest.raises(InputError, match="compressed arrays"):
        read_stored(tmp_path / "bomb.npz", ["noise"])
    for data in (b"", b"\xff" * 16, (2**60).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"):
        (tmp_path / "x.safetensors").write_bytes(data)
        with pytest.raises(Damaged):
            checksums.check_weights(tmp_path / "x.safetensors")


def test_what_a_terminal_would_obey_is_shown_escaped(dmdlab: Command, tmp_path: Path) -> None:
    folder = write_run(tmp_path, made())
    os.rename(folder, folder.with_name("evil\x1b[2J\x07\u202ename"))
    config = json.loads((folder.with_name("evil\x1b[2J\x07\u202ename") / "experiment.json").read_text())
    config["law.name"] = "\x1b]0;title\x07"
    (folder.with_name("evil\x1b[2J\x07\u202ename") / "experiment.json").write_text(json.dumps(config))
    for words in (("ls",), ("verify",), ("show",), ("rm", "--yes", "seed=0")):
        name = ("evil\x1b[2J\x07\u202ename",) if words[0] == "show" else ()
        _, out, err = dmdlab("runs", words[0], tmp_path, *name, *words[1:])
        assert not {"\x1b", "\x07", "\u202e"} & set(out + err)
        assert "\\x1b" in out + err
    assert printable("é ü\n", keep="\n") == "é ü\n"


def test_a_summary_without_its_format_is_damaged_and_a_file_among_runs_is_none(dmdlab: Command, tmp_path: Path) -> None:
    e, folder = one(tmp_path)
    (tmp_path / "runs" / "notes").write_text("mine")
    assert [entry.folder for entry in scan(tmp_path)] == [folder]
    (folder / "summary.json").write_text("{}")
    (found,) = [run for run in verify(tmp_path).runs if run.path == folder]
    assert found.state == "damaged"
    assert dmdlab("runs", "verify", tmp_path, "--repair")[0] == 3
    assert Store(tmp_path).missing([e]) == [e]
