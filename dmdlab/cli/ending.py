"""How a command ends: what its streams can show, what is said where something ends it early, and its exit status."""

import codecs
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dmdlab.config import InputError
from dmdlab.device import stopping
from dmdlab.trouble import ADVICE, explained, number_of, printable

BAD_INPUT, INTERRUPTED, HUNG_UP, NOBODY_READS = 2, 130, 129, 141
"""Exit statuses, beside `stopping.STOPPED`; the last is what a shell makes of SIGPIPE."""

STATUSES = {"SIGINT": INTERRUPTED, "SIGTERM": stopping.STOPPED, "SIGHUP": HUNG_UP}
"""Signals that end a command, and the status that it ends with."""

WAITING = b"\nStopping at the end of this training cycle, which is then kept; a second signal stops at once.\n"

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""How an output says that it takes no more."""

PLAIN = {"±": "+-", "–": "-", "—": "-", "…": "...", "°": " deg", "≥": ">=", "≤": "<=", "×": "x", "•": "*", "━": "-"}
"""Forms in ASCII of what we print, for an output whose encoding lacks them."""


class Ended(KeyboardInterrupt):
    """A signal from outside ended the command as Ctrl-C does. status: the exit status that it asks for."""

    def __init__(self, status: int = INTERRUPTED) -> None:
        super().__init__()
        self.status = status


def status_of(command: Callable[[], Any]) -> int:
    """Call a command that may raise whatever it likes; what is wrong is said on stderr, and its exit status comes back.

    An error that is nobody's but ours passes, as a traceback.
    """
    _show_anything()
    try:
        with _heard():
            status = _called(command)
            sys.stdout.flush()  # while there is somebody to say that it fails
        return status
    except InputError as error:
        return _say(f"dmdlab: {error}", BAD_INPUT)
    except KeyboardInterrupt as error:
        status = getattr(error, "status", INTERRUPTED)
        how = {HUNG_UP: "Hung up", stopping.STOPPED: "Stopped"}.get(status, "Interrupted")
        words = getattr(error, "__notes__", [])
        return _say(f"\n{how}: {' '.join(words)}" if words else f"\n{how}.", status)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        return NOBODY_READS
    except OSError as error:
        if number_of(error) not in ADVICE:
            raise
        if error.filename or number_of(error) not in FULL:
            name = f"{error.filename}: " if error.filename else ""
            return _say(f"dmdlab: {name}{explained(error, reading=True)}", BAD_INPUT)
        lost = "what was to be printed is lost, what is in a folder stays"
        return _say(f"dmdlab: the output cannot be written ({explained(error)}): {lost}", BAD_INPUT)
    finally:
        _drop_the_rest()


def _called(command: Callable[[], Any]) -> int:
    """The status with which a command of typer's leaves, or what it leaves for: a pipe without reader, an interrupt."""
    try:
        command()
    except SystemExit as end:  # typer and rich both make an exit of what they caught
        cause = end.__context__
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt | BrokenPipeError):
                raise cause from None
            cause = cause.__context__
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _say(text: str, status: int) -> int:
    """Say it on stderr, as far as that still leads anywhere: after a hang-up it does not."""
    with suppress(OSError, ValueError):
        print(printable(text, keep="\n\t"), file=sys.stderr, flush=True)
    return status


def _drop_the_rest() -> None:
    """What stdout cannot take goes nowhere, instead of into an error while the interpreter shuts down."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_anything() -> None:
    """Let stdout and stderr print whatever comes: in plain forms where their encoding lacks a character."""
    codecs.register_error("dmdlab", _plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before we came
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="dmdlab")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """For the codecs: what stands in place of characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or _escaped(c) for c in lacking), error.end


def _escaped(character: str) -> str:
    """A byte of a file's name that is no text, or '?'."""
    byte = ord(character) - 0xDC00  # as Python keeps such bytes
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else "?"


@contextmanager
def _heard() -> Iterator[None]:
    """Within it, a scheduler's SIGTERM and a terminal's hang-up do what Ctrl-C does: they wait for a training's next
    safe point, or end the command at once (`stopping`). What is ignored stays ignored."""
    signals = {getattr(signal, name): status for name, status in STATUSES.items() if hasattr(signal, name)}
    if threading.current_thread() is not threading.main_thread():  # where no signal can be heard
        signals = {}

    def end(number: int, frame: object) -> None:
        if stopping.stop(Ended(signals[number])):
            with suppress(OSError):  # a signal's handler may not print
                os.write(2, WAITING)

    before = {number: signal.getsignal(number) for number in signals}
    ours = (signal.SIG_DFL, signal.default_int_handler)  # nohup ignores a hang-up
    heard = [number for number, handler in before.items() if handler in ours]
    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
