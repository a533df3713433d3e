"""The pairing is measured: numpy in, numbers out, never torch.

`measure(teacher, student)` takes the outputs of both maps at the same noise and returns a `PairingReport`:
every key of `METRICS` with its interval or the reason why the sample cannot resolve it, the status of each
transport solver, and the reading in plain words. `calibrate` says what each measure reads under known truth.
Measures that need more than arrays of outputs have functions of their own (`rotation_explained`,
`pair_cosine_gaussian`), whose numbers `PairingReport.with_measures` adds.
`mean_interval` and `paired_difference` combine runs over seeds.
"""

from dmdlab.pairing.baselines import pair_cosine_gaussian, pair_cosine_of
from dmdlab.pairing.bases import planted_rotation
from dmdlab.pairing.calibration import Calibration, remap_angle
from dmdlab.pairing.glossary import COLLAPSED_VARIANCE_RATIO, METRICS, POOR_FIDELITY, Metric
from dmdlab.pairing.local import local_from_differences, local_measures, planted_local
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.metrics import measure, measure_pairs
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.planted import calibrate
from dmdlab.pairing.report import PairingReport
from dmdlab.pairing.resampling import with_intervals
from dmdlab.pairing.resolution import resolvable
from dmdlab.pairing.rotation import planted_turns, rotation_explained
from dmdlab.pairing.statistics import Interval, mean_interval, paired_difference
from dmdlab.pairing.within import within_classes
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
    "local_from_differences",
    "local_measures",
    "mean_interval",
    "measure",
    "measure_pairs",
    "pair_cosine_gaussian",
    "pair_cosine_of",
    "paired_difference",
    "planted_local",
    "planted_rotation",
    "planted_turns",
    "remap_angle",
    "resolvable",
    "rotation_explained",
    "with_intervals",
    "within_classes",
]
