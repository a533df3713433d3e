"""What one damaged file may cost, and what its reader may make of it."""

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz import REFUSED, Reader

MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30
"""Of the processor, and of further memory, that one file may cost."""


@contextmanager
def bounded() -> Iterator[None]:
    """Within it, memory beyond `MOST_BYTES` more than now is refused, and the time is measured."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    began = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - began < MOST_SECONDS


def outcome(reader: Reader, store: Path, prepared: Path, data: Any) -> str:
    """'read' or 'refused', in a sentence; whatever else a reader does passes as an error of the test."""
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(prepared, store)
    with bounded():
        try:
            reader.read(store, data)
        except REFUSED as error:
            said = str(error)
        else:
            return "read"
    assert 0 < len(said) < 20_000
    return "refused"
