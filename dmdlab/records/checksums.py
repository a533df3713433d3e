"""Checksums (SHA-256) of what a store keeps, and what they tell of it later.

A run's folder has `checksums.json`: of each of its files, and of the files that it shares with other runs. A shared
file carries its own: an npz at its very end, as a zip archive's comment, over all bytes before it; a safetensors file
in its metadata, over its tensors. So each is published in one rename with what it belongs to. What older versions wrote
has none: nothing is known of it beyond the check sums (CRC-32) of the npz format itself.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dmdlab.records.kept_json import MOST_BYTES, check_depth, is_plain, read_json
from dmdlab.records.writing import write_json
from dmdlab.trouble import unreadable

NAME = "checksums.json"
"""The file of a run's folder that holds them, written last."""

KEY = "sha256"
"""Of the entry in a safetensors file's metadata."""

State = Literal["whole", "unknown"]
"""As its checksum says; or readable, without one."""

CHUNK = 1 << 20

_MARK, _DIGITS = b"sha256:", 64
_END = b"PK\5\6"  # of a zip archive: 22 bytes that begin so, the last two the length of a comment that follows
_LENGTH = (len(_MARK) + _DIGITS).to_bytes(2, "little")


class Damaged(ValueError):
    """A file is cut short, changed or foreign. The text: why."""


def of_file(path: Path) -> str:
    """A file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An npz of these arrays that ends with its checksum."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(_LENGTH + _MARK)
        file.seek(0)
        sha = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(sha.encode())


def kept_in_npz(path: Path) -> str | None:
    """The checksum that an npz carries; None for one that ends as an npz without. Raises `Damaged`; OSError."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 22 + len(_MARK) + _DIGITS), os.SEEK_END)
        end = file.read()
    if end[:4] == _END and end[20:].startswith(_LENGTH + _MARK):
        return end[-_DIGITS:].decode("latin-1")
    if end[-22:-18] == _END and end[-2:] == b"\0\0":
        return None
    raise Damaged("cut short, or no npz file")


def check_npz(path: Path) -> State:
    """Read an npz through, in pieces. Raises `Damaged` for one that is cut short, changed, compressed (as no store
    writes it: what is unpacked could be of any size), and OSError."""
    kept = kept_in_npz(path)
    if kept is not None and kept != _before(path, _DIGITS):
        raise Damaged("not what its checksum was made of")
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise Damaged("not written by a sweep: it holds compressed arrays")
            if kept is None and (bad := archive.testzip()):
                raise Damaged(f"{bad} is not what its check sum was made of")
    except (OSError, Damaged):
        raise
    except Exception as error:  # zipfile has a dozen kinds for a file that is not whole
        raise Damaged(" ".join(str(error).split()) or type(error).__name__) from None
    return "unknown" if kept is None else "whole"


def of_weights(path: Path) -> tuple[str, str | None]:
    """The checksum of a safetensors file's tensors, and the one that it carries. Raises `Damaged`; OSError."""
    with path.open("rb") as file:
        length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
        if length > min(MOST_BYTES, size):
            raise Damaged("cut short, or no safetensors file")
        head = file.read(length)
        try:
            check_depth(head)
            tensors: dict[str, Any] = json.loads(head)
            kept = str(tensors.pop("__metadata__")[KEY]) if "__metadata__" in tensors else None
            end = max((own["data_offsets"][1] for own in tensors.values()), default=0)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise Damaged("no safetensors file") from None
        if end != size - 8 - length:
            raise Damaged("cut short")
        sha = hashlib.sha256(json.dumps(tensors, sort_keys=True).encode())
        while chunk := file.read(CHUNK):
            sha.update(chunk)
    return sha.hexdigest(), kept


def check_weights(path: Path) -> State:
    """Read a safetensors file through. Raises `Damaged`; OSError."""
    sha, kept = of_weights(path)
    if kept is not None and kept != sha:
        raise Damaged("its numbers are not those that its checksum was made of")
    return "unknown" if kept is None else "whole"


def write_checksums(folder: Path, shared: Mapping[str, str | None]) -> None:
    """Write those of a run's folder. shared: of what it shares, by the path in the store, None where it has none."""
    files = {path.name: of_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / NAME, {"files": files, "shared": dict(sorted(shared.items()))})


def read_checksums(folder: Path) -> tuple[dict[str, str], dict[str, str | None]]:
    """Those of a run's files by name, and of what it shares by path. Raises `Damaged`; OSError."""
    try:
        held = read_json(folder / NAME)
        files, shared = held["files"], held["shared"]
        parts = [part for name in shared for part in name.split("/", 1)]
        kinds = {type(sha) for sha in [*files.values(), *shared.values()]}
        sound = all(map(is_plain, [*files, *parts])) and len(parts) == 2 * len(shared)
    except FileNotFoundError:
        raise Damaged(f"no {NAME}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged(f"{NAME}: {error}") from None
    if not kinds <= {str, type(None)}:
        raise Damaged(f"{NAME}: a checksum that is none")
    if not sound:
        raise Damaged(f"{NAME} names files outside the store")
    return dict(files), dict(shared)


def check_files(folder: Path) -> list[str]:
    """What is wrong with the files that a run's checksums name, a line each. Raises `Damaged`; OSError."""
    wrong = []
    for name, sha in read_checksums(folder)[0].items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            wrong.append(f"{name} is lost")
        elif of_file(path) != sha:
            wrong.append(f"{name} was changed or damaged")
    return wrong


def shared_of(folder: Path) -> list[str] | None:
    """The paths in the store of what a run shares; None where its format did not say, or it cannot be read."""
    try:
        return list(read_checksums(folder)[1])
    except (Damaged, OSError):
        return None


def check_shared(path: Path) -> State:
    """`check_npz` or `check_weights`, by the file's name. Raises `Damaged`; `InputError` where it cannot be read."""
    try:
        if path.is_symlink() or not path.is_file():
            raise Damaged("no file")
        return check_weights(path) if path.suffix == ".safetensors" else check_npz(path)
    except OSError as error:
        raise unreadable(path, error) from None


def _before(path: Path, last: int) -> str:
    """SHA-256 of a file without its last bytes."""
    sha, left = hashlib.sha256(), path.stat().st_size - last
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            sha.update(chunk)
            left -= len(chunk)
    return sha.hexdigest()
