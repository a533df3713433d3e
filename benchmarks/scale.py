"""What sharing a sweep among many workers costs by itself: `python -m benchmarks.scale [RUNS] [WORKERS] [FOLDER]`.

Runs take no time (`benchmarks.crowd`), so that what is left is the scheduler's own: choosing, leases, publishing, and
afterwards what a worker costs that finds all done, and a listing. 1 000 workers are simulated in one process, each a
step after the other, so that all of them hold leases at once. Measured at a tenth, at a third and at all of the runs;
every row goes to benchmarks/scale.json as soon as it stands, and `report` writes it to docs/scale.md.
"""

import json
import random
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.crowd import NoOp, groups_of, runs
from dmdlab.device.environment import hardware
from dmdlab.lab.drain import Draining
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Event, to_the_end
from dmdlab.records import leases
from dmdlab.records.catalogue import scan

ROOT = Path(__file__).parents[1]
RESULT, PAGE = ROOT / "benchmarks/scale.json", ROOT / "docs/scale.md"
GROUP = 10
BEGIN, END = "<!-- scale: made by python -m benchmarks.scale report -->", "<!-- end -->"


class Still:
    """A heartbeat that needs no thread: a thousand would be measured instead of the scheduler."""

    def __init__(self, folder: Path, owner: str, every: float) -> None:
        self.path = folder / f"{owner}.0.lease"

    def end(self) -> None:
        """Remove the lease."""
        self.path.unlink(missing_ok=True)


def simulate(out: Path, number: int, workers: int) -> dict[str, Any]:
    """CPU and wall seconds of a sweep of so many runs by so many workers at once."""
    wanted = runs(number)
    groups, store, cpu = groups_of(wanted, GROUP), Store(out), torch.device("cpu")

    def worker(own: int) -> Iterator[tuple[int, Event]]:
        return to_the_end(NoOp(store, cpu), groups, Draining(workers, draws=random.Random(own)), wait=False)

    workers, spent = min(workers, len(groups)), timer()
    crowd = deque(worker(own) for own in range(workers))
    while crowd:
        one = crowd.popleft()
        if next(one, None) is not None:
            crowd.append(one)
    row = {"runs": number, "workers": workers, "ensembles": len(groups), **spent("sweep")}
    spent = timer()
    missing = store.missing(wanted)
    row |= spent("resume") | {"missing": len(missing)}
    spent = timer()
    row |= {"listed": len(scan(out)), **spent("list")}
    spent = timer()
    list(worker(0))  # one more worker, who finds all done
    return row | spent("late_worker")


def timer() -> Any:
    """A stop watch: called with a name, its readings."""
    wall, cpu = time.perf_counter(), time.process_time()

    def read(name: str) -> dict[str, float]:
        return {f"{name}_seconds": time.perf_counter() - wall, f"{name}_cpu": time.process_time() - cpu}

    return read


def main() -> None:
    """Measure, or write the page of what was measured."""
    words = sys.argv[1:]
    if words == ["report"]:
        report()
        return
    most, workers = (int(words[i]) if len(words) > i else default for i, default in enumerate((100_000, 1_000)))
    leases._Beating = Still  # type: ignore[assignment, misc]
    command = f"python -m benchmarks.scale {most} {workers}"
    found: dict[str, Any] = {"command": command, "hardware": hardware(torch.device("cpu")), "rows": []}
    for number in sorted({most // 10, most * 3 // 10, most}):
        folder = Path(tempfile.mkdtemp(dir=words[2] if len(words) > 2 else None))
        try:
            found["rows"].append(simulate(folder, number, workers))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(found["rows"][-1], flush=True)


def table(found: dict[str, Any]) -> str:
    """The page's table."""
    lines = [
        f"`{found['command']}` on {found['hardware']}; seconds of one core's CPU.",
        "",
        "| runs | workers | ensembles | scheduling and publishing, ms a run | resuming: all looked through | "
        "a late worker | listing |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        each = 1000 * row["sweep_cpu"] / row["runs"]
        others = " | ".join(f"{row[f'{name}_cpu']:.1f} s" for name in ("resume", "late_worker", "list"))
        lines.append(f"| {row['runs']} | {row['workers']} | {row['ensembles']} | {each:.1f} | {others} |")
    return "\n".join(lines)


def report() -> None:
    """Write the table into the page."""
    page, found = PAGE.read_text(encoding="utf-8"), json.loads(RESULT.read_text(encoding="utf-8"))
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
