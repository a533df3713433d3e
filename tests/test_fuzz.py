"""Whatever a file holds, its reader gives a valid value or a sentence: no other error, no hang, nothing written beside.

Thirty examples each here; `DMDLAB_FUZZ=N` sets another number, and the long run (`-m chaos`, which `make test-engines`
leaves out) takes 500 each, over 10 000 in all.
"""

import ast
import gzip
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bounds import bounded, outcome
from fuzz import Reader, readers
from hypothesis import HealthCheck, given, settings
from PIL import Image

import dmdlab
from dmdlab import folders
from dmdlab.config import InputError, word_value
from dmdlab.folders import read_images
from dmdlab.laws.arrays import read_npz
from dmdlab.laws.idx import read_idx
from dmdlab.pairing.files import read_pairs
from dmdlab.records import checksums
from dmdlab.records.record import load_calibrated

READERS = readers()
FEW, MANY = int(os.environ.get("DMDLAB_FUZZ", "30")), 500


def fuzzed(reader: Reader, folder: Path, examples: int) -> Counter[str]:
    """How many examples were read, and how many refused."""
    prepared, store, counts = folder / "prepared", folder / "store", Counter[str]()
    prepared.mkdir()
    reader.prepare(prepared)

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(reader.damage)
    def one(data: object) -> None:
        counts[outcome(reader, store, prepared, data)] += 1

    one()
    assert sorted(path.name for path in folder.iterdir()) == ["prepared", "store"]  # nothing written beside
    return counts


@pytest.mark.parametrize("name", READERS)
def test_what_is_damaged_is_read_or_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    counts = fuzzed(READERS[name], tmp_path, FEW)
    assert counts.total() >= FEW // 2


@pytest.mark.slow
@pytest.mark.chaos
def test_ten_thousand_damaged_files(tmp_path: Path) -> None:
    found = {}
    for name, reader in READERS.items():
        (tmp_path / name).mkdir()
        found[name] = dict(fuzzed(reader, tmp_path / name, MANY))
    total = sum(sum(counts.values()) for counts in found.values())
    assert total >= 10_000
    if kept := os.environ.get("DMDLAB_CHAOS_RESULTS"):
        with Path(kept).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": "fuzz", "cases": total, "readers": found}) + "\n")


# --- hostile files


def test_what_unpacks_to_more_than_real_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, by what it claims: here with a bound of a megabyte in place of 256."""
    assert folders.MOST_UNPACKED == 256 << 20
    monkeypatch.setattr(folders, "MOST_UNPACKED", 1 << 20)
    bomb, packed, zeros = tmp_path / "bomb.npz", tmp_path / "bomb.gz", np.zeros(1 << 22, np.uint8)
    np.savez_compressed(bomb, teacher=zeros, images=zeros, **{"planted/pair_cosine": zeros[:1]})
    packed.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\0\0\1\0" * 3 + bytes(1 << 24), 1))
    assert max(bomb.stat().st_size, packed.stat().st_size) < 1 << 17
    for read in (lambda: read_pairs([bomb]), lambda: read_npz(bomb, "law.path", ""), lambda: load_calibrated(bomb)):
        with pytest.raises(InputError, match="would unpack to"):
            read()
    with pytest.raises(InputError, match="would unpack to"):
        read_idx(packed, "law.path")
    with pytest.raises(checksums.Damaged):
        checksums.check_npz(bomb)
    (tmp_path / "pictures").mkdir()
    for name in "ab":
        Image.new("L", (1000, 1000)).save(tmp_path / "pictures" / f"{name}.png")
    with pytest.raises(InputError, match="would unpack to"):
        read_images(tmp_path / "pictures", None, [])


def test_a_huge_shape_costs_no_memory(tmp_path: Path) -> None:
    for name, shape in (("a.npy", (2**40, 2**10)), ("b.npy", (2**62, 2**62)), ("c.npy", (-1, 5))):
        header = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode() + b"\n"
        (tmp_path / name).write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(64))
        with bounded(), pytest.raises(InputError):
            read_pairs([tmp_path / name, tmp_path / name])


def test_a_word_is_one_value() -> None:
    """Also where a line's end would begin another key, or a number has thousands of digits."""
    for word in ("1\nseed = 2", "9" * 5000, "2020-13-01"):
        assert word_value(word) == word
    assert word_value("[1, 2]") == [1, 2]
    assert word_value("[teacher, rotated,]") == ["teacher", "rotated"]
    assert word_value("[1e-4, x]") == [1e-4, "x"]
    assert word_value("[[a], b]") == "[[a], b]"


# --- nothing that is read can run code

RUNNING = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "yaml", "code", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__"}

BETWEEN_PROCESSES = {"lab/on_ray.py: imports pickle"}
"""What Ray itself carries from one process of a sweep to another; no file is read by it."""


def dangers(name: str, source: str) -> list[str]:
    """Every way in which reading a file could run what it holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{name}: imports {m}" for m in modules if m.split(".")[0] in RUNNING]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in CALLS:
            found.append(f"{name}: calls {called}")
        if called == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"{name}: torch.load without weights_only")
        if called == "np.load" and keywords.get("allow_pickle") != "False":
            found.append(f"{name}: np.load without allow_pickle=False")
        if keywords.get("allow_pickle") == "True" or called.endswith((".extractall", ".extract")):
            found.append(f"{name}: {called}")
    return found


def test_nothing_that_is_read_can_run_code() -> None:
    root = Path(dmdlab.__file__).parent
    sources = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    assert {danger for name, source in sources.items() for danger in dangers(name, source)} <= BETWEEN_PROCESSES


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import loads", "torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f)",
     "np.load(f, allow_pickle=True)", "read_array(f, allow_pickle=True)", "eval(text)", "import yaml",
     "archive.extractall(to)"],
)  # fmt: skip
def test_a_danger_is_seen(source: str) -> None:
    assert len(dangers("a.py", source)) >= 1
    assert dangers("a.py", "import json\nnp.load(f, allow_pickle=False)\nre.compile(x)\nmodel.eval()") == []
