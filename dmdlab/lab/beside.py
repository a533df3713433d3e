"""Calibrations beside the training, where a CPU has a core to spare.

A calibration needs a teacher and no student, and takes about as long as a quick student trains; small networks train no
faster on two threads than on one. So a lone process gives half of its threads to another, which waits for the trained
teachers of its runs in the store, calibrates them, and looks what their flows are like near the noise
(`dmdlab.lab.nearby`). It goes by the leases that everybody goes by: who comes to measure finds these, waits for them,
or makes them where nobody is at it.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from dmdlab.config import Experiment
from dmdlab.device.allocator import tune_allocator
from dmdlab.group import Group
from dmdlab.lab.calibrate import calibrated_once, calibration_id, calibration_rows, stored_calibrated
from dmdlab.lab.engines import leave_with_parent
from dmdlab.lab.nearby import keep_nearby
from dmdlab.lab.once import LOOK_SECONDS
from dmdlab.lab.store import Store
from dmdlab.lab.trial import tried

WORTH = 4e11
"""Operations of a group's calibrations from which on they get a process (ours: some ten seconds of a core; that process
takes three to begin)."""

SHARE = 0.1
"""Of a group's training that its calibrations are at least, or the training keeps its threads (ours): it goes without
half of them to its end."""

CPU = torch.device("cpu")


def worth(group: Group, training: int) -> bool:
    """Whether the calibrations of these runs, whose training takes so many operations, are work enough for a process of
    their own: by operations, never by a timing."""
    first = group.shared
    flows = len(calibrated_once(group.members)) * calibration_rows(first) / first.measure.samples
    return flows * tried(group).flow_flops >= max(WORTH, SHARE * training)


@contextmanager
def beside(group: Group, store: Store) -> Iterator[None]:
    """Within it another process makes the calibrations that these runs lack, and what else they need of those
    teachers, with half the threads of this one, which has the rest. It ends with this process, and with the context.
    Alone on a thread, or where the system starts no process, this one makes them when it comes to them.
    """
    threads = torch.get_num_threads()
    lacking = [e for e in calibrated_once(group.members) if store.calibrated(e, calibration_id(e)) is None]
    process = _started(store.out, lacking, threads // 2) if lacking and threads > 1 else None
    if process is None:
        yield
        return
    torch.set_num_threads(threads - threads // 2)
    try:
        yield
    finally:
        process.terminate()  # with its work done, or not needed any more
        process.join()
        torch.set_num_threads(threads)


def _started(out: Path, experiments: Sequence[Experiment], threads: int) -> BaseProcess | None:
    """The other process; None where the system has none to spare."""
    how = (out, experiments, threads)
    process = multiprocessing.get_context("spawn").Process(target=_calibrate, args=how, daemon=True)
    try:
        process.start()
    except OSError:
        return None
    return process


def _calibrate(out: Path, experiments: Sequence[Experiment], threads: int) -> None:
    """The other process. What goes wrong is told by who needs the calibration, and then makes it."""
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):  # which are the parent's business
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that no lease is left behind
    threading.Thread(target=leave_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    tune_allocator()
    store = Store(out)
    for e in experiments:
        with suppress(Exception):
            while e.teacher.kind == "network" and store.start(e) is None:
                time.sleep(LOOK_SECONDS)
            stored_calibrated(store, e, CPU)
            keep_nearby(store, e, CPU)
