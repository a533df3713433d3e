"""How long measuring takes, as plans say it."""

from dataclasses import replace
from pathlib import Path

import pytest
from small import CPU, experiments, group_of

from dmdlab.lab import costs
from dmdlab.lab.calibrate import calibration_id, calibration_rows
from dmdlab.lab.plan import Part, Plan
from dmdlab.lab.stages import flow_calls
from dmdlab.lab.store import Store
from dmdlab.lab.timing import Speed


def test_measuring_takes_a_runs_own_flows_and_each_calibration_once(tmp_path: Path) -> None:
    """But none that the store has, or that is made beside the training."""
    wanted = experiments("teacher.kind=network", "law.dim=[2, 4]", "student.learning_rate=[1e-4, 1e-3]")
    groups = [group_of(*(e for e in wanted if e.law.dim == d)) for d in (2, 4)]
    parts = [Part(group, 0, 1) for group in (*groups, groups[0])]  # one again
    planned, store = Plan(parts, CPU, 1, 0, []), Store(tmp_path)
    own = [costs.OWN_FLOWS * len(part.group) for part in parts]
    flows = [costs.LOCAL * calibration_rows(part.group.shared) / 24 for part in parts]
    assert flows[0] > 20
    assert costs.measuring_flows(planned, store) == pytest.approx([own[0] + flows[0], own[1] + flows[1], own[2]])
    kept = store.calibration_path(wanted[0], calibration_id(wanted[0]))
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert costs.measuring_flows(planned, store) == pytest.approx([own[0], own[1] + flows[1], own[2]])
    beside = replace(planned, parts=[parts[0], replace(parts[1], beside=1)])
    assert costs.measuring_flows(beside) == pytest.approx([own[0] + flows[0], own[1]])
    speed = Speed(0.0, 0.0, 1.0)
    more = speed.seconds(groups[0], 2, 10.0) - speed.seconds(groups[0], 2)
    assert more == pytest.approx(10 * flow_calls(wanted[0], wanted[0].teacher.steps) / 2)
