"""Stores whose runs were never made: published as a sweep publishes, without any training."""

from pathlib import Path

import numpy as np
import torch
from made import made
from small import experiments

from dmdlab.config import Experiment
from dmdlab.lab.store import RunResult, Store
from dmdlab.records.record import SHARED


def put(out: Path, e: Experiment, **more: object) -> bool:
    """Publish a run of these settings, with pairs and a start network; whether it stands. more: of its summary."""
    store, (n, d) = Store(out), (8, e.law.dim)
    store.keep_pairs(e, {name: np.full((n, d), i + e.seed, np.float32) for i, name in enumerate(SHARED)})
    store.keep_start(e, torch.arange(4.0) + e.seed)
    summary = {k: v for k, v in made(dim=d).summary.items() if k not in ("format", "result_version", "id")}
    student = np.random.default_rng(e.seed).normal(size=(n, d)).astype(np.float32)
    curve = {"iteration": [1.0], "dm_loss": [0.5]}
    return store.put(RunResult(e, summary | {"note": 0.5} | more, curve, student, {"weight": torch.ones(3)}), {})


def published(out: Path, *words: str) -> list[Experiment]:
    """The runs of these words, published."""
    wanted = experiments(*words)
    assert all(put(out, e) for e in wanted)
    return wanted


def flip(path: Path, at: int | None = None) -> None:
    """Change one bit, by default in the middle."""
    held = bytearray(path.read_bytes())
    held[len(held) // 2 if at is None else at] ^= 1
    path.write_bytes(held)
