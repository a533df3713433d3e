"""JSON of run folders, read within bounds: whoever wrote it, it costs little memory and no deep recursion."""

import json
import os
import re
from pathlib import Path
from typing import Any

MOST_BYTES = 16 * 2**20
"""Of one JSON file in a store (ours: a summary has 7 kB)."""

DEEPEST = 200
"""Brackets within each other (ours: a summary has four; Python's own limit is about 1000)."""

_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]')


def read_json(path: Path | str) -> Any:
    """What a JSON file holds. Raises OSError; ValueError for a file that is none, too large or nested too deeply."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # `open` takes twice as long
    try:
        size = min(os.fstat(file).st_size, MOST_BYTES)
        data = os.read(file, size + 1)
        while 0 < len(data) < size and (more := os.read(file, size - len(data))):
            data += more
    finally:
        os.close(file)
    if len(data) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES >> 20} MiB")
    check_depth(data)
    return json.loads(data.decode("utf-8"))


def check_depth(data: bytes) -> None:
    """Raise ValueError where brackets lie within each other more than `DEEPEST` times."""
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return
    depth = 0
    for found in _BRACKETS.finditer(data):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > DEEPEST:
            raise ValueError("nested too deeply")


def is_plain(name: object) -> bool:
    """Whether this is the name of a file, and no path that leads elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0:")
