"""Every reader of the package, with a file that is well for it and the damage that is done to that."""

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damage import altered, damaged, words
from hypothesis import strategies as st
from made import made, write_run
from PIL import Image
from safetensors.numpy import save
from small import CPU, TINY, experiments
from store_made import put

from dmdlab.config import InputError
from dmdlab.experiments import load
from dmdlab.folders import read_images
from dmdlab.group import Group
from dmdlab.lab.store import Store
from dmdlab.laws.arrays import read_npy as read_points
from dmdlab.laws.idx import read_idx
from dmdlab.laws.picture_files import read_data
from dmdlab.pairing.files import read_array, read_pairs
from dmdlab.records import checksums
from dmdlab.records.catalogue import chosen, row_of, scan
from dmdlab.records.checksums import Damaged, check_npz
from dmdlab.records.kept_arrays import npz_opens, read_stored
from dmdlab.records.leases import Leases
from dmdlab.records.record import Record, load_calibrated, load_record
from dmdlab.records.verify import verify

REFUSED = (InputError, Damaged)


@dataclass(frozen=True)
class Reader:
    """whole: what the file `name` holds when it is well; damage: its strategy; read: what is called on the folder."""

    name: str
    damage: st.SearchStrategy[Any]
    read: Callable[[Path, Any], object]
    prepare: Callable[[Path], object] = lambda folder: None


def _file(name: str, whole: bytes, read: Callable[[Path], object]) -> Reader:
    def given(folder: Path, data: bytes) -> object:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        return read(folder / name)

    return Reader(name, damaged(whole), given)


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _zipped(whole: bytes, data: bytes) -> bytes:
    """An archive that is well, and of whose arrays one is not."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("teacher.npy", data)
        archive.writestr("student.npy", whole)
    return file.getvalue()


def _zip(folder: Path, data: bytes) -> None:
    """By every reader of an npz."""
    (folder / "p.npz").write_bytes(data)
    for read in (
        lambda path: read_pairs([path]),
        lambda path: read_data(path, None),
        lambda path: read_stored(path, ["teacher"]),
        lambda path: npz_opens(path, ["teacher"]),
        load_calibrated,
        check_npz,
    ):
        with suppress(*REFUSED):
            read(folder / "p.npz")


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(file, kind)
    return file.getvalue()


def _sweep(path: Path) -> object:
    found = load(path)
    return found if sum(map(len, found.axes.values())) > 4 else found.experiments()


def _overridden(folder: Path, given: list[str]) -> object:
    found = load(None, "smoke", given)
    return found if sum(map(len, found.axes.values())) > 4 else found.experiments()


def _all_of(record: Record) -> None:
    """Everything that a record tells, each refused by itself."""
    for tell in (lambda: row_of(record), record.whole, record.curve, record.arrays, record.calibration):
        try:
            tell()
        except REFUSED:
            continue


def _listed(store: Path) -> object:
    """Every command that reads a store."""
    rows = [row_of(entry) for entry in scan(store)]
    for filters in (["law.dim>=2"], ["seed=[0, 1]"], ["status!=done"], ["failed_at<3"]):
        try:
            chosen(scan(store), filters)
        except InputError:
            continue
    for entry in scan(store):
        if isinstance(entry, Record):
            _all_of(entry)
    verify(store)
    return rows


def _run(store: Path) -> Path:
    return write_run(store, made(dim=2))


def _part(name: str) -> Reader:
    """One JSON file of a run."""

    def read(store: Path, data: bytes) -> object:
        (folder,) = (store / "runs").iterdir()
        (folder / name).write_bytes(data)
        return _listed(store)

    held = made(dim=2)
    parts = {"summary.json": held.summary | {"format": 2, "pairs": "mixture-s0.npz"}, "experiment.json": held.config}
    return Reader(name, altered(json.dumps(parts.get(name, held.environment))), read, _run)


def _sums(store: Path, data: bytes) -> object:
    (folder,) = (store / "runs").iterdir()
    (folder / checksums.NAME).write_bytes(data)
    return checksums.check_files(folder)


def _curve(store: Path, data: bytes) -> object:
    (folder,) = (store / "runs").iterdir()
    (folder / "curve.csv").write_bytes(data)
    return load_record(folder).curve()


def _leases(store: Path, given: tuple[str, bytes]) -> object:
    name, data = given
    (store / "leases").mkdir(exist_ok=True)
    (store / "leases" / name).write_bytes(data)
    leases = Leases(store)
    return leases.free(["abc", "d"]), leases.at_work()


MEMBERS = experiments(*TINY, "seed=[0, 1]")


def _checkpoint(store: Path, data: bytes) -> object:
    checkpoint = Store(store).checkpoint(Group(tuple(MEMBERS)), CPU)
    checkpoint.folder.mkdir(exist_ok=True)
    checkpoint.path.write_bytes(data)
    state = checkpoint.load()
    Store(store).has_checkpoints()
    checkpoint.clear()
    return state


def _whole_checkpoint() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Store(Path(folder)).checkpoint(Group(tuple(MEMBERS)), CPU)
        checkpoint.save({"place": torch.zeros(2, 3, dtype=torch.int64), "x": torch.ones(2, 5)})
        return checkpoint.path.read_bytes()


def _network(store: Path, data: bytes) -> object:
    path = store / "teachers" / f"{MEMBERS[0].teacher_id}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return Store(store).start(MEMBERS[0])


def _whole_network() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Store(Path(folder)).keep_start(MEMBERS[0], torch.arange(4.0))
        (path,) = (Path(folder) / "teachers").iterdir()
        return path.read_bytes()


def _whole_calibration() -> bytes:
    planted = {f"planted/{key}": np.ones((2, 3)) for key in ("pair_cosine", "delta_e")}
    ends = {"angles_degrees": np.array([0.0, 90.0]), "shares": np.array([0.0, 1.0])}
    return _npz(
        n=np.array(6), d=np.array(2), floor=np.array(0.1), about=np.array('{"calibration": "x"}'), **ends, **planted
    )


def readers() -> dict[str, Reader]:
    """Every reader by what it reads."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 2)).astype(np.float32)
    pictures = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    idx = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in pictures.shape) + pictures.tobytes()
    toml = b'question = "why?"\n[law]\nname = "mixture"\ndim = 2\n[teacher]\nkind = "exact"\n'
    toml += b"[sweep]\nseed = {start = 0, stop = 2}\n"
    tensors = save({"teacher": x, "student": x + 1})
    claim = st.sampled_from(
        ["a.1.lease", "b.broken", "abc.0.claim", "abc.9.claim", "\x1b[2J.0.lease", "notes", ".0.lease"]
    )
    sums = '{"files": {"curve.csv": "0", "a": "1"}, "shared": {"pairs/x.npz": "2"}}'
    lease = json.dumps({"host": "h", "pid": 1, "started": "3", "machine": "m", "runs": ["abc"]})
    return {
        "experiment file": _file("a.toml", toml, _sweep),
        "overrides": Reader("overrides", words(), _overridden),
        "npz of pairs": _file("p.npz", _npz(teacher=x, student=x), lambda path: read_pairs([path])),
        "safetensors of pairs": _file("p.safetensors", tensors, lambda path: read_pairs([path])),
        "npz of damaged arrays": Reader("p.npz", damaged(_npy(x)).map(partial(_zipped, _npy(x))), _zip),
        "npy": _file("p.npy", _npy(x), lambda path: read_array(path, "teacher", [])),
        "npy of points": _file("q.npy", _npy(x), lambda path: read_points(path, "law.path", "points (m, d)")),
        "IDX": _file("i.idx", idx, lambda path: read_idx(path, "law.path")),
        "gzipped IDX": _file("i.gz", gzip.compress(idx, mtime=0), lambda path: read_idx(path, "law.path")),
        "PNG": _file("one/a.png", _picture("PNG"), lambda path: read_images(path.parent, None, [])),
        "JPEG": _file("one/a.jpg", _picture("JPEG"), lambda path: read_images(path.parent, None, [])),
        "BMP, TIFF": _file("one/a.tif", _picture("TIFF"), lambda path: read_data(path.parent, None)),
        "npz of pictures": _file(
            "i.npz", _npz(images=pictures, labels=np.arange(2)), lambda path: read_data(path, None)
        ),
        "calibration": _file("c.npz", _whole_calibration(), load_calibrated),
        "summary": _part("summary.json"),
        "experiment of a run": _part("experiment.json"),
        "environment of a run": _part("environment.json"),
        "checksums": Reader(checksums.NAME, altered(sums), _sums, _run),
        "curve": Reader("curve.csv", damaged(b"iteration,dm_loss\r\n1,0.5\r\n10,nan\r\n"), _curve, _run),
        "leases": Reader("leases", st.tuples(claim, altered(lease)), _leases),
        "checkpoint": Reader("checkpoint", damaged(_whole_checkpoint()), _checkpoint),
        "start network": Reader("network", damaged(_whole_network()), _network),
        "a published run": Reader("any", damaged(b"0123456789" * 30), _published, lambda out: put(out, MEMBERS[0])),
    }  # fmt: skip


def _published(store: Path, data: bytes) -> object:
    """Each file of a run as a sweep writes it, and of what it shares, by this damage."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name[0] != ".")
    path = files[len(data) % len(files)]
    flips = (a ^ (b & 1) for a, b in zip(path.read_bytes(), data * 999, strict=False))
    path.write_bytes(data if data[:1] == b"\0" else bytes(flips))
    return _listed(store)
