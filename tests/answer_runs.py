"""Runs as the figures of docs/answers.md take them, with the numbers that a test gives them."""

import math
from pathlib import Path
from typing import Any

from dmdlab.config import Experiment, flatten
from dmdlab.records.record import Record


def run(angle: float | None, seed: int = 0, fidelity: float = 1.0, **settings: Any) -> Record:
    """A finished run that read this angle; settings with '__' for the dot."""
    own = {key.replace("__", "."): value for key, value in settings.items()}
    config = flatten(Experiment()) | {"seed": seed} | own
    bound = {"reason": "90 or more"} if angle is not None and angle >= 90 else {}
    metrics = {"remap_angle": {"value": angle} | bound, "fidelity": {"value": fidelity}}
    metrics["variance_ratio"] = {"value": 1.0}
    metrics["pair_cosine"] = {"value": math.nan if angle is None else math.cos(math.radians(angle))}
    head = {"id": repr(sorted(own.items())) + str(seed), "status": "done", "failed_at": None, "result_version": 2}
    summary = head | {"teacher": {"ok": True}, "metrics": metrics, "own": {"angle": {"value": angle} | bound}}
    return Record(Path("kept"), summary, config, {"seconds": 1.0, "hardware": "here", "commit": "c", "device": "cpu"})
