"""Roughly what measuring takes beside the training: calibrations, and each run's own measures."""

from dmdlab.lab.calibrate import calibrated_once, calibration_id, calibration_rows
from dmdlab.lab.plan import Plan
from dmdlab.lab.store import Store

LOCAL = 1.1
"""Of a calibration's flows, for the local measures among them."""

OWN_FLOWS = 6
"""Flows of n rows that take as long as one run's own measures (ours: U-Nets at side 8, K = 8 to 16)."""


def measuring_flows(planned: Plan, store: Store | None = None) -> list[float]:
    """Flows of n rows, one network at a time, that take as long as measuring each part. Calibrations that the store has
    or that are made beside the training cost nothing; one that several parts need is counted with the first."""
    seen, found = set[str](), []
    for part in planned.parts:
        own = {calibration_id(e): e for e in calibrated_once(part.group.members)}
        new = [e for id, e in own.items() if id not in seen and not (store and store.calibration_path(e, id).is_file())]
        seen |= own.keys()
        calibrations = 0 if part.beside else LOCAL * sum(calibration_rows(e) / e.measure.samples for e in new)
        found.append(OWN_FLOWS * len(part.group) + calibrations)
    return found
