"""Control groups: how much of the machine containers, systemd and schedulers such as Slurm grant this process.

Groups are nested folders and a process is held to every limit from its own group up to the root, so the tightest
counts. Version 2 has one tree, version 1 one for each controller; both are read. Elsewhere than on Linux, nothing
limits.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
"""Where /proc and /sys lie; tests lay them out elsewhere."""

NO_LIMIT = 2**60
"""Bytes from which on a limit of version 1 means none: there the largest number is written instead of 'max'."""


def cpu_quota() -> float | None:
    """Cores' worth of time that control groups grant; None without a limit.

    Thread libraries do not see it: below the number of allowed cores they start more threads than get time.
    """
    quotas = []
    for group in _groups("cpu"):
        names = ["cpu.max"] if (group / "cpu.max").is_file() else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        both = [word for name in names for word in read_or_empty(group / name).split()]
        if len(both) == 2 and both[0] not in ("max", "-1"):
            quotas.append(int(both[0]) / int(both[1]))
    return min(quotas, default=None)


def memory_limit() -> int | None:
    """Bytes of RAM that control groups allow; None without a limit. Beyond it a process is killed, not refused."""
    limits = (_limit(group) for group in _groups("memory"))
    return min((limit for limit in limits if limit is not None), default=None)


def memory_left() -> int | None:
    """Bytes of RAM that may still be taken within every limit; None without a limit.

    A limit on a group is on all processes in it and below it. Pages that only cache files and are idle count as free:
    the system gives them up when asked.
    """
    left = []
    for group in _groups("memory"):
        limit = _limit(group)
        if limit is not None:
            used = _number(group, "memory.current", "memory.usage_in_bytes") or 0
            left.append(max(0, limit - max(0, used - _cached(group))))
    return min(left, default=None)


def read_or_empty(path: Path) -> str:
    """What a file says; nothing where it is missing or closed to us."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's groups, its own first, then those above."""
    mount = ROOT / "sys/fs/cgroup"
    for line in read_or_empty(ROOT / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mount / controller if controllers else mount
        parts = [part for part in path.split("/") if part not in ("", "..")]
        yield from (top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _limit(group: Path) -> int | None:
    limit = _number(group, "memory.max", "memory.limit_in_bytes")
    return limit if limit is not None and limit < NO_LIMIT else None


def _number(group: Path, *names: str) -> int | None:
    """What the first of these files says that holds a number."""
    words = (read_or_empty(group / name).strip() for name in names)
    return next((int(word) for word in words if word.isdigit()), None)


def _cached(group: Path) -> int:
    """Bytes of idle file pages charged to a group and those below it: version 1 keeps a total beside its own."""
    told = dict(re.findall(r"^(\w+) (\d+)$", read_or_empty(group / "memory.stat"), re.MULTILINE))
    return int(told.get("total_inactive_file") or told.get("inactive_file") or 0)
