"""What the system refuses, told in sentences: an error's number, what it means and the advice that fits it."""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dmdlab.config import InputError

ADVICE = {
    errno.ENOSPC: "the disk is full: make room on it, or choose a folder on another one",
    errno.EDQUOT: "your quota on this disk is used up: delete something there, or choose a folder on another one",
    errno.EACCES: "permission denied: choose a folder you own",
    errno.EPERM: "the system does not permit it: choose a folder you own",
    errno.EROFS: "this file system can only be read: choose a folder on another one",
    errno.ENAMETOOLONG: "the name is longer than the system allows: choose a shorter one",
    errno.ENOENT: "no such file or folder: check the path, and make its folder first",
    errno.ENOTDIR: "a part of the path is a file: choose a path through folders",
    errno.EEXIST: "a part of the path is a file: choose a path through folders",
    errno.EISDIR: "this is a folder; expected a file",
    errno.ELOOP: "symbolic links lead round in a circle: choose a path without them",
    errno.EINVAL: "the system does not accept this: choose a name of plain letters on another disk",
    errno.EILSEQ: "the file system does not accept this name: choose one of plain letters",
    errno.EFBIG: "so large a file is not allowed here: raise `ulimit -f`, or choose a folder on another disk",
    errno.EMFILE: "this process has too many files open: raise `ulimit -n`, or give fewer --workers",
    errno.ENFILE: "all processes together have too many files open: end some, or give fewer --workers",
    errno.EAGAIN: "the system refuses more processes: give fewer --workers, or raise `ulimit -u`",
    errno.ENOMEM: "the system has no memory left: give fewer --workers or a smaller --memory",
    errno.EIO: "the disk, or the network behind it, fails: check it, then give the same command again",
    errno.ESTALE: "the network disk has lost the file: mount it again, then give the same command again",
    errno.ETXTBSY: "another program holds the file: end that one first",
    errno.EBUSY: "another program holds the file: end that one first",
}
"""Error number -> what is wrong and what to do about it, where something is to be written."""

READING = {
    errno.EACCES: "permission denied: ask its owner, or make it readable with chmod",
    errno.EPERM: "the system does not permit it: ask its owner, or copy it to a folder you own",
    errno.ENOENT: "no such file or folder: check the path",
    errno.EINVAL: "the system cannot read it there: copy it to another disk",
}
"""The same where something is to be read and the advice is another."""

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's word for a file that takes no more
_IN_TEXT = re.compile(r"\(os error (\d+)\)")  # safetensors' way to tell an error number


def printable(text: str, keep: str = "") -> str:
    """The text with what a terminal would obey (control characters, escapes, marks of direction) as escapes. keep:
    characters that stay. Bytes that are no text are left to the stream."""
    if text.isprintable():
        return text
    plain = (c if c.isprintable() or c in keep or 0xDC80 <= ord(c) <= 0xDCFF else ascii(c)[1:-1] for c in text)
    return "".join(plain)


class Unwritable(InputError):
    """The system does not let a file or folder be written; what was written before stays."""


def number_of(error: BaseException) -> int | None:
    """The number of a system's error, also where a library hides it in its text; None for any other error."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, OSError) and _SHORT_WRITE.search(str(error)):
        return errno.ENOSPC
    found = _IN_TEXT.search(str(error))
    return int(found[1]) if found else None


def explained(error: BaseException, reading: bool = False) -> str:
    """What is wrong and what to do about it, or the error's own words where its number says nothing."""
    number = number_of(error)
    known = ADVICE | READING if reading else ADVICE
    own = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    return known[number] if number in known else own or type(error).__name__


def unreadable(path: Path, error: OSError) -> InputError:
    """The sentence for a file or folder that the system does not let be read."""
    return InputError(f"{path}: cannot be read ({explained(error, reading=True)})")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says while `path` is written into `Unwritable`; any other error passes.

    Of several around each other the outermost names the path, as the inner ones write under names that go.
    """
    try:
        yield
    except Unwritable as error:
        raise Unwritable(f"{path}: cannot be written: {explained(error.__cause__ or error)}") from error.__cause__
    except InputError:
        raise
    except Exception as error:  # safetensors has its own kind
        if number_of(error) not in ADVICE:
            raise
        raise Unwritable(f"{path}: cannot be written: {explained(error)}") from error


def counted(number: int, noun: str) -> str:
    """'1 run', '2 runs', '2 processes'."""
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def first_names(names: Sequence[str], most: int = 5) -> str:
    """'a, b, c': the first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
