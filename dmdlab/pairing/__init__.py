"""The pairing is measured: numpy in, numbers out, never torch.

`measure(teacher, student)` takes the outputs of both maps at the same noise and returns a `PairingReport`:
every key of `METRICS` with its interval or the reason why the sample cannot resolve it, the status of each
transport solver, and the reading in plain words. `calibrate` says what each measure reads under known truth.
`mean_interval` and `paired_difference` combine runs over seeds.
"""

from dmdlab.pairing.bases import planted_rotation
from dmdlab.pairing.calibration import Calibration, remap_angle
from dmdlab.pairing.glossary import COLLAPSED_VARIANCE_RATIO, METRICS, POOR_FIDELITY, Measured, Metric
from dmdlab.pairing.metrics import measure, measure_pairs
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.planted import calibrate
from dmdlab.pairing.report import PairingReport
from dmdlab.pairing.resampling import with_intervals
from dmdlab.pairing.resolution import resolvable
from dmdlab.pairing.statistics import Interval, mean_interval, paired_difference
from dmdlab.transport import assignment

__all__ = [
    "COLLAPSED_VARIANCE_RATIO",
    "METRICS",
    "POOR_FIDELITY",
    "Calibration",
    "Interval",
    "Measured",
    "Metric",
    "PairingReport",
    "Pairs",
    "assignment",
    "calibrate",
    "mean_interval",
    "measure",
    "measure_pairs",
    "paired_difference",
    "planted_rotation",
    "remap_angle",
    "resolvable",
    "with_intervals",
]
