"""What control groups grant, by files as Linux lays them out, and what of the RAM is available within that."""

from pathlib import Path

import pytest

from dmdlab.device import cgroups
from dmdlab.device import limits as memory

KINDS = [2, 1]
"""The versions of the system."""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: /proc and /sys below a folder of the test."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    return tmp_path


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def lay_memory(root: Path, version: int, group: str, limit: str, used: int, idle: int = 0) -> None:
    """A group's memory files, in bytes; version 1 counts idle pages of the group alone beside those of all below."""
    if version == 2:
        names, stat = ("memory.max", "memory.current"), f"anon 5\ninactive_file {idle}\n"
    else:
        names, stat = ("memory.limit_in_bytes", "memory.usage_in_bytes"), f"inactive_file 0\ntotal_inactive_file {idle}"
        limit = "9223372036854771712" if limit == "max" else limit
    folder = root / "sys/fs/cgroup" / ("" if version == 2 else "memory") / group
    lay(folder, {names[0]: f"{limit}\n", names[1]: f"{used}\n", "memory.stat": stat})


def lay_groups(root: Path, version: int, group: str) -> None:
    """The process's own group."""
    lay(root, {"proc/self/cgroup": f"0::/{group}\n" if version == 2 else f"5:cpu:/\n4:memory:/{group}\n"})


def test_without_control_groups_nothing_limits(system: Path) -> None:
    assert cgroups.cpu_quota() is None
    assert cgroups.memory_limit() is None
    assert cgroups.memory_left() is None


# --- time


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"job/cpu.max": "150000 100000\n"}, 1.5),
        ({"job/cpu.max": "max 100000\n"}, None),
        ({"job/cpu.max": "max 100000\n", "cpu.max": "400000 100000\n"}, 4.0),
        ({"job/cpu.max": "300000 100000\n", "cpu.max": "200000 100000\n"}, 2.0),
        ({"other/cpu.max": "100000 100000\n"}, None),
    ],
    ids=["own", "none", "above", "the tighter", "another's"],
)
def test_a_quota_of_version_2_is_the_tightest_on_the_way_up(
    system: Path, files: dict[str, str], quota: float | None
) -> None:
    lay(system / "proc", {"self/cgroup": "0::/job\n"})
    lay(system / "sys/fs/cgroup", files)
    assert cgroups.cpu_quota() == quota


@pytest.mark.parametrize(("microseconds", "quota"), [("250000", 2.5), ("-1", None)])
def test_a_quota_of_version_1_is_read(system: Path, microseconds: str, quota: float | None) -> None:
    lay(system / "proc", {"self/cgroup": "5:memory:/job\n4:cpu,cpuacct:/job\n0::/\n"})
    both = {"cpu.cfs_quota_us": f"{microseconds}\n", "cpu.cfs_period_us": "100000\n"}
    lay(system / "sys/fs/cgroup/cpu/job", both)
    assert cgroups.cpu_quota() == quota


# --- memory


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2147483648\n"}, 2**31),
        ("0::/a\n", {"a/memory.max": "max\n"}, None),
        ("0::/../..\n", {"memory.max": "1073741824\n"}, 2**30),  # a container that sees only the end of its own path
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "1048576\n"}, 2**20),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("3:cpuset:/a\n", {"memory/a/memory.limit_in_bytes": "1048576\n"}, None),
    ],
)
def test_a_memory_limit_of_either_version_is_read(
    system: Path, groups: str, files: dict[str, str], limit: int | None
) -> None:
    lay(system / "proc", {"self/cgroup": groups})
    lay(system / "sys/fs/cgroup", files)
    assert cgroups.memory_limit() == limit


@pytest.mark.parametrize("version", KINDS)
@pytest.mark.parametrize(
    ("job", "step", "left"),
    [
        (("max", 900, 0), ("500", 100, 0), 400),  # the process's own group, as a scheduler's job step
        (("800", 300, 0), ("max", 300, 0), 500),  # only the one above
        (("800", 700, 0), ("500", 100, 0), 100),  # above is looser, but its other processes have taken most of it
        (("800", 700, 600), ("500", 100, 0), 400),  # unless that only caches files
        (("800", 300, 400), ("max", 0, 0), 800),  # more idle pages than usage, read a moment later: all of it
        (("100", 130, 0), ("500", 20, 0), 0),  # above the limit, on the way to be reclaimed
        (("max", 900, 0), ("max", 900, 0), None),
    ],
)
def test_what_is_left_is_the_least_of_all_nested_limits(
    system: Path, version: int, job: tuple[str, int, int], step: tuple[str, int, int], left: int | None
) -> None:
    lay_groups(system, version, "job/step")
    lay_memory(system, version, "job", *job)
    lay_memory(system, version, "job/step", *step)
    lay_memory(system, version, "other", "1", 0)  # not ours
    assert cgroups.memory_left() == left


@pytest.mark.parametrize("version", KINDS)
def test_a_limit_whose_use_is_not_told_counts_as_unused(system: Path, version: int) -> None:
    lay_groups(system, version, "job")
    lay_memory(system, version, "job", "500", 0)
    for path in (system / "sys").rglob("*"):
        if path.name in ("memory.current", "memory.usage_in_bytes", "memory.stat"):
            path.unlink()
    assert cgroups.memory_left() == 500


@pytest.mark.parametrize("version", KINDS)
def test_available_memory_is_the_systems_or_what_control_groups_leave_whichever_is_less(
    system: Path, version: int
) -> None:
    assert memory.available() == 4 * 2**30  # nothing is told
    lay(system, {"proc/meminfo": "MemTotal:  9000 kB\nMemAvailable:    5000 kB\n"})
    assert memory.available() == 5000 * 1024
    lay_groups(system, version, "job")
    lay_memory(system, version, "job", "3000000", 1_000_000)
    assert memory.available() == 2_000_000
    lay_memory(system, version, "job", "9000000", 1_000_000)
    assert memory.available() == 5000 * 1024


def test_a_container_that_does_not_see_its_own_group_reads_the_one_it_sees(system: Path) -> None:
    """There the path is the host's, and the group is the root of the mount."""
    lay_groups(system, 2, "system.slice/docker-1234.scope")
    lay_memory(system, 2, "", "700", 200)
    assert cgroups.memory_left() == 500
