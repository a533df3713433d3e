"""Every experiment of the repository is planned, and comes to records when it is small."""

from pathlib import Path

import numpy as np
import pytest
from small import CPU, do

from dmdlab.config import Experiment, experiment_from, flatten
from dmdlab.experiments import load
from dmdlab.lab.plan import plan

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments").rglob("*.toml"))
SMALL = {
    "teacher.iterations": 4,
    "teacher.steps": 2,
    "student.pairs": 64,
    "student.regression": 4,
    "student.batch": 16,
    "teacher.batch": 16,
    "student.warmup": 0,
    "measure.samples": 40,
    "measure.bases": 2,
    "measure.checkpoints": 2,
}


def small(e: Experiment) -> Experiment:
    """The same experiment, its trainings of a few steps."""
    own = {k: v for k, v in flatten(e).items() if k not in ("teacher.snapshot", "law.digest")}
    if flatten(e).get("teacher.train_samples"):
        own |= {"teacher.train_samples": 64}
    return experiment_from(own | SMALL | {"student.iterations": 2 * e.fake_score.updates})


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "experiments")))
def test_every_experiment_comes_to_records_when_it_is_small(path: Path, tmp_path: Path) -> None:
    """One run of each ensemble."""
    np.savez(
        tmp_path / "pictures.npz", images=np.random.default_rng(0).random((2000, 8, 8)), labels=np.arange(2000) % 10
    )
    words = [f"law.path={tmp_path / 'pictures.npz'}"] if "law.path" in path.read_text(encoding="utf-8") else []
    parts = plan([small(e) for e in load(path, None, words).experiments()], CPU).parts
    firsts = [part.group.members[0] for part in parts]
    records = do(firsts, tmp_path / "runs")
    assert len(records) == len({e.id for e in firsts})
    assert {record.summary["status"] for record in records} <= {"done", "failed"}
