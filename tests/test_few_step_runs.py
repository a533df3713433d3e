"""Runs of students of several steps, to the record: told the class, and on pictures."""

import math
from pathlib import Path

import pytest
from small import TINY, do

from dmdlab.experiments import load

KINDS = {
    "told the class": ("law.name=mixture", "law.components=3", "teacher.condition=true"),
    "pictures": ("law.name=manifold", "law.side=4", "teacher.target=data", "network.kind=unet"),
}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["sde", "ode"])
@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_two_steps_come_to_records(kind: str, sampler: str, tmp_path: Path) -> None:
    small = [word for word in TINY if not (word.startswith("network.") and kind == "pictures")]
    size = ("network.channels=[4,4]", "network.depths=[1,1]") if kind == "pictures" else ()
    words = (*small, *KINDS[kind], *size, "teacher.kind=network", "student.steps=2", f"student.sampler={sampler}")
    (record,) = do(load(None, "smoke", words).experiments(), tmp_path)
    assert record.done
    assert math.isfinite(float(record.row["pair_cosine"]))
    assert any(key.startswith("steps_") and record.row[key] is not None for key in record.row)
