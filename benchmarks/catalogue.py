"""How long listing many runs takes: `python -m benchmarks.catalogue FOLDER [RUNS]`, with a run's folder to copy.

Copies the three small files of FOLDER, a finished run, into RUNS folders (10 000) of a temporary store, other ids and
seeds, and times `dmdlab runs ls` on it, as a process and as a scan alone.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dmdlab.records.catalogue import chosen, scan

NAMES = ("summary", "experiment", "environment")


def spread(run: Path, out: Path, runs: int) -> None:
    """So many copies of a run's small files."""
    held = {name: json.loads((run / f"{name}.json").read_text()) for name in NAMES}
    for i in range(runs):
        folder = out / "runs" / f"copy-s{i}-{i:010x}"
        folder.mkdir(parents=True)
        held["summary"]["id"], held["experiment"]["seed"] = f"{i:010x}", i
        for name, part in held.items():
            (folder / f"{name}.json").write_text(json.dumps(part, indent=2))


def main() -> None:
    """Print seconds of wall clock and of this process's CPU."""
    run, runs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        spread(run, out, runs)
        for what, words in {"all": [], "filtered": ["seed<100", "pair_cosine>-2"]}.items():
            wall, cpu = time.perf_counter(), time.process_time()
            found = chosen(scan(out), words)
            told = f"{time.perf_counter() - wall:.2f} s, CPU {time.process_time() - cpu:.2f} s"
            print(f"scan, {what}: {len(found)} of {runs} runs, {told}")
        wall = time.perf_counter()
        call = [sys.executable, "-c", "from dmdlab.cli import main; main()", "runs", "ls", folder]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
        print(f"dmdlab runs ls: {time.perf_counter() - wall:.2f} s")


if __name__ == "__main__":
    main()
