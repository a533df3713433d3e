"""IDX, the format of the MNIST files, gzipped or not.

Two zero bytes, a type, a number of axes; their sizes, 4 bytes each, the most significant first; the entries. Source:
the description beside the MNIST files (LeCun, Cortes & Burges), which all hold the type read here, unsigned bytes.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np

from dmdlab.config import InputError
from dmdlab.folders import check_unpacked

GZIP = b"\x1f\x8b"
_UNSIGNED_BYTES = 0x08


class _Opened(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_idx(path: Path, key: str) -> np.ndarray:
    """The array of an IDX file, uint8. key: of the setting that names the file.

    Raises:
        InputError: a wrong magic number or type; a file that is cut short, damaged, or holds more or less than it says.
    """
    said = f"{key}: {path}"
    shape: tuple[int, ...] = ()
    try:
        with path.open("rb") as raw:
            opened = gzip.open if raw.read(2) == GZIP else open
        with opened(path, "rb") as file:
            shape = _header(file, said)
            wanted, size = math.prod(shape), path.stat().st_size
            if opened is gzip.open:
                check_unpacked(wanted, size)
            entries, more = file.read(wanted if opened is gzip.open else min(wanted, size)), bool(file.read(1))
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(said) else f"{said}: {error}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{said} is cut short or damaged within its gzip ({error}): copy it again") from None
    except OSError as error:
        raise InputError(f"{said} cannot be read ({error.strerror or error}): give an IDX file") from None
    except (MemoryError, OverflowError):
        raise InputError(f"{said} says that it is of shape {shape}, which memory cannot hold: copy it again") from None
    if len(entries) < wanted:
        raise InputError(f"{said} is cut short: it holds {len(entries)} of {wanted} entries; copy it again")
    if more:
        raise InputError(f"{said} holds more than the {wanted} entries that its header says: copy it again")
    if not wanted:
        raise InputError(f"{said} holds nothing: its header says {shape}, expected at least one entry")
    return np.frombuffer(entries, np.uint8).reshape(shape)


def _header(file: _Opened, said: str) -> tuple[int, ...]:
    """The sizes of the axes, checked."""
    magic = file.read(4)
    if len(magic) == 4 and (magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4):
        raise InputError(
            f"{said} is no IDX file: its magic number is {magic.hex(' ')}, expected 00 00 08 03 for pictures or "
            "00 00 08 01 for labels"
        )
    if len(magic) == 4 and magic[2] != _UNSIGNED_BYTES:
        raise InputError(
            f"{said} is an IDX file of type 0x{magic[2]:02x}, expected unsigned bytes, 0x08: save other numbers as .npy"
        )
    sizes = file.read(4 * magic[3]) if len(magic) == 4 else b""
    if len(magic) < 4 or len(sizes) < 4 * magic[3]:
        raise InputError(f"{said} is cut short within its header: copy it again")
    return tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
