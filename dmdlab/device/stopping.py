"""A wish to stop, from Ctrl-C or a scheduler's signal, that waits until a training can be kept.

Within `until_kept` it waits for the next `safe_point`, where what was trained is kept before the wish is raised;
anywhere else, and when it comes a second time, it is raised at once. One wish serves the whole process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPED = 143
"""Exit status of a process that SIGTERM has stopped, as a shell has it."""


class _Wish:
    error: BaseException | None = None
    within = 0


def stop(error: BaseException) -> bool:
    """Raise `error`, or let it wait for a safe point; returns True where it waits."""
    if not _Wish.within or _Wish.error is not None:
        _Wish.error = None
        raise error
    _Wish.error = error
    return True


def asked() -> bool:
    """Whether a wish waits."""
    return _Wish.error is not None


@contextmanager
def until_kept() -> Iterator[None]:
    """Within it, a wish waits; one that still does at its end is raised there."""
    _Wish.within += 1
    try:
        yield
    except BaseException:
        _Wish.within -= 1
        if not _Wish.within:
            _Wish.error = None
        raise
    _Wish.within -= 1
    if not _Wish.within:
        safe_point()


def safe_point(keep: Callable[[], object] = lambda: None) -> None:
    """Where a training can be kept: if a wish waits, `keep` it and raise the wish. A second one meanwhile is raised."""
    if _Wish.error is not None:
        error = _Wish.error
        keep()
        _Wish.error = None
        raise error
