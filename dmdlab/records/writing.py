"""Writing whole or not at all: a reader sees the old file or folder or the new one, never a part.

What is being made has a name that begins with a dot and holds the process id; no reader takes it for a result.
"""

import csv
import errno
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dmdlab.config import InputError
from dmdlab.pairing.measured import jsonable
from dmdlab.trouble import explained, writing

ATTEMPTS = 20
"""How often a folder is put in its place where others do the same at the same time (ours)."""

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)
"""What the system says to a rename when another process was quicker."""


@contextmanager
def replacing(path: Path, stays: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """A name beside `path`, with its suffix, to make a file or a folder under.

    It takes the place of `path` when the block ends, and is removed when the block fails. A folder takes the place of
    an old one in two renames: in between there is none. Where several processes do this at once, one of their
    folders stays, whole. Raises `Unwritable` where the system refuses, as a full disk does.

    stays: of what stands there, whether the new one gives way to it; it is asked when all is written.
    """
    partial = _beside(path)
    try:
        with writing(path):
            yield partial
            if partial.is_dir():
                _put(partial, path, stays or _never)
            elif stays is None or not _stands(partial, path, stays):
                os.replace(partial, path)
    finally:
        _remove(partial)


@contextmanager
def replacing_in(path: Path, stays: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """`replacing` in a folder that is made when missing."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, stays) as partial:
        yield partial


def _never(folder: Path) -> bool:
    return False


def _stands(partial: Path, path: Path, stays: Callable[[Path], bool]) -> bool:
    """Whether a file stands at `path` that stays: the new one, linked there where none was, or an older one."""
    with suppress(OSError):  # one stands there, or the file system knows no links
        os.link(partial, path)
    return path.exists() and stays(path)


def _put(partial: Path, path: Path, stays: Callable[[Path], bool]) -> None:
    """Rename the folder `partial` to `path`; what stood there stays, or goes, or comes back where the rename fails."""
    for attempt in range(ATTEMPTS):
        old = _beside(path)
        try:
            if path.is_dir():
                if stays(path):
                    return
                path.rename(old)
                if stays(old):  # another's, put there since
                    old.rename(path)
                    return
            os.rename(partial, path)  # fails where another's folder stands by now
            return
        except BaseException as error:
            lost = isinstance(error, OSError) and error.errno in _TAKEN
            if old.exists() and not path.exists():
                with suppress(OSError):  # another's folder stands there by now
                    old.rename(path)
            if not lost or attempt == ATTEMPTS - 1:
                raise
        finally:
            _remove(old)


def _remove(path: Path) -> None:
    """Remove what is left of a file or folder, if anything is; a disk that refuses that has said so already."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def set_away(path: Path) -> None:
    """Remove a file, or a folder so that no reader sees a part of it. Raises `Unwritable` where the system refuses."""
    with writing(path):
        if path.is_dir() and not path.is_symlink():
            old = _beside(path)
            path.rename(old)
            shutil.rmtree(old)
        else:
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name may be no UTF-8


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a table, whole or not at all: a column for each of their keys, in the order in which these come."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, value: object) -> None:
    """Write `json_text` of a value, whole or not at all."""
    write_text(path, json_text(value) + "\n")


def json_text(value: object) -> str:
    """A JSON document, indented; numbers that are none (NaN, infinity) become null, as JSON has no word for them."""
    return json.dumps(jsonable(value), indent=2, allow_nan=False)


def check_no_file(out: Path) -> None:
    """Raises `InputError` where `out` is a file."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: this is a file; expected a folder (it is made when missing)")


def prepare(out: Path) -> Path:
    """Make sure that `out` is a folder one can write to; raises `InputError` before anything is computed."""
    try:
        check_no_file(out)
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there: {explained(error)}") from None
    return out


def _beside(path: Path) -> Path:
    """A name that no other process or thread has, on whatever machine that shares the folder."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(3)}{path.suffix}")
