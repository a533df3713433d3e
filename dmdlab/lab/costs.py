"""Roughly how long measuring takes beside the training that a plan times: calibrations, and each run's measures."""

from collections.abc import Sequence

from dmdlab.lab.calibrate import calibrated_once, calibration_id, calibration_rows
from dmdlab.lab.plan import Plan
from dmdlab.lab.store import Store
from dmdlab.lab.trial import tried

LOCAL = 1.1
"""Of a calibration's flows, for the local measures among them."""

OWN_FLOWS = 6
"""Flows of n rows that take as long as one run's own measures (ours: U-Nets at side 8, K = 8 to 16)."""


def measuring_seconds(planned: Plan, store: Store, times: Sequence[float]) -> list[float]:
    """How long each part is measured, from `times`, how long each trains, and operations counted: as fast as training.
    Calibrations that the store has cost nothing, one that several parts need is counted with the first."""
    seen, found = set[str](), []
    for part, seconds in zip(planned.parts, times, strict=True):
        own = calibrated_once(part.group.members)
        new = [e for e in own if (id := calibration_id(e)) not in seen and not store.calibration_path(e, id).is_file()]
        seen |= {calibration_id(e) for e in own}
        flows = OWN_FLOWS * len(part.group) + sum(LOCAL * calibration_rows(e) / e.measure.samples for e in new)
        found.append(seconds * flows * tried(part.group).flow_flops / max(1, part.flops))
    return found
