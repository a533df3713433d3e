"""What a training curve resembles: a healthy run, one of several sick ones, or nothing that can be told.

Numpy only. `curve_of` reads anybody's csv or a run's folder, `diagnose` says what it resembles, with its reasons as
numbers; the bounds are in `dmdlab.diagnosis.bounds`, the pages about them in docs/healthy-runs.md.
"""

from dmdlab.diagnosis.bounds import BOUNDS, Bound
from dmdlab.diagnosis.columns import COLUMNS, Curve, curve_of, of_record, read_csv
from dmdlab.diagnosis.evidence import evidence
from dmdlab.diagnosis.verdict import VERDICTS, Diagnosis, diagnose, judge, said_of

__all__ = [
    "BOUNDS",
    "COLUMNS",
    "VERDICTS",
    "Bound",
    "Curve",
    "Diagnosis",
    "curve_of",
    "diagnose",
    "evidence",
    "judge",
    "of_record",
    "read_csv",
    "said_of",
]
