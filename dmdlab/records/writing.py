"""Writing whole or not at all: a reader sees the old file or folder or the new one, never a part.

What is being made has a name that begins with a dot and holds the process id; no reader takes it for a result.
"""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmdlab.config import InputError
from dmdlab.pairing.glossary import jsonable


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path`, with its suffix, to make a file or a folder under.

    It takes the place of `path` when the block ends, and is removed when the block fails. A folder takes the place of
    an old one in two renames: in between there is none.
    """
    partial, old = _beside(path), _beside(path)
    try:
        yield partial
        if partial.is_dir() and path.is_dir():
            path.rename(old)
        os.replace(partial, path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        for left in (partial, old):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `json_text` of a value, whole or not at all."""
    write_text(path, json_text(value) + "\n")


def json_text(value: object) -> str:
    """A JSON document, indented; numbers that are none (NaN, infinity) become null, as JSON has no word for them."""
    return json.dumps(jsonable(value), indent=2, allow_nan=False)


def prepare(out: Path) -> Path:
    """Make sure that `out` is a folder one can write to; raises `InputError` before anything is computed."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: this is a file; expected a folder (it is made when missing)")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there ({error.strerror}); choose a folder you own") from None
    return out


def _beside(path: Path) -> Path:
    """A name that no other process or thread has, on whatever machine that shares the folder."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(3)}{path.suffix}")
