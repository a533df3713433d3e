"""The bounds that a diagnosis decides by: a few, named, each with what it separates and how far it carries.

Where no source is named they were read off seeds 0 to 2 of experiments/healthy/mixture-8.toml and lost-8.toml, set to
a round number between the healthy runs and the sick ones that they part; docs/healthy-runs.md shows both sides, and how
they do on other seeds and laws.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dmdlab.pairing.glossary import MAX_EXCESS_RISK, MAX_TRANSPORT_RATIO, POOR_FIDELITY
from dmdlab.pairing.law import CONVENTION


@dataclass(frozen=True)
class Bound:
    """value: what parts healthy from sick. parts: which from which. carries: to what other laws, sizes and settings.

    limit: evidence that takes the value's place where it is there: of quotients of transport costs, where equal laws
    fall. One law's samples cost several times as much as others of it to match where they are few and the dimension is
    low, and hardly more where it is high. widens: that it only does where it is above the value.
    """

    value: float
    parts: str
    carries: str
    limit: str = ""
    widens: bool = False

    def at(self, evidence: Mapping[str, float]) -> float:
        """The bound of a run with this evidence."""
        found = evidence.get(self.limit, self.value)
        return max(found, self.value) if self.widens else found


BOUNDS = {
    "score_excess": Bound(
        0.2,
        "a fake score that follows its student from one that does not",
        "scale-free: a share of the risk, 0 for the best denoiser of any law in any dimension; a lower bound, so that "
        "high values mean something and low ones need not",
    ),
    "student_step": Bound(
        0.17,
        "a student that moves too fast from a fake score that is too slow",
        "free of the law's scale, not of network, optimiser and batch: read off residual MLPs under AdamW",
    ),
    "updates_ratio": Bound(
        2.0,
        "too few updates of the fake score from ones that are too small",
        "a count; DMD2 uses 5, the quickstart 2",
    ),
    "gan_share": Bound(
        1.0,
        "a GAN that helps from one that leads",
        "scale-free: both norms are taken at the same outputs; 1 is where the GAN pulls as hard as matching does",
    ),
    "collapsed": Bound(
        0.1,
        "collapsed students, by variance_ratio, from others",
        "scale-free; one that collapses onto a mode or two keeps more, and is told by lost",
    ),
    "most_lost": Bound(
        0.8,
        "collapsed students, by lost, from those that lack some modes",
        "scale-free, and what counts as lost does not depend on the dimension by chance",
    ),
    "lost": Bound(
        0.05,
        "students that lack a part of the law from those that reach all of it",
        "scale-free; smaller modes than this stay unseen, and so do modes that overlap",
    ),
    "rest": Bound(
        0.75,
        "students that lack a part, by coverage / (1 - lost), from those that are not at the law anywhere yet",
        "as coverage",
    ),
    "coverage": Bound(
        0.6,
        "students near the law from those that are not there yet",
        "by chance 0.97 for every law in every dimension (5 neighbours); what one error of the law costs grows with d",
    ),
    "fidelity": Bound(
        POOR_FIDELITY,
        "students near the law from those that are not there yet (as POOR_FIDELITY of the glossary); fidelity_limit "
        "in its place, where a calibration says where equal laws fall",
        "depends on n and d: in high dimension a wrong law costs little more than the right one",
        limit="fidelity_limit",
    ),
    "variance": Bound(
        CONVENTION["variance_ratio"][1],
        "students of the teacher's spread from wider or (by one over it) narrower ones (as the law's own judgement)",
        "scale-free",
    ),
    "teacher_excess_risk": Bound(
        MAX_EXCESS_RISK,
        "teachers that can be distilled from others (as a record's own check)",
        "scale-free: a share of the risk",
    ),
    "teacher_transport_ratio": Bound(
        MAX_TRANSPORT_RATIO,
        "the same, by their outputs: the flow's few steps count, too; transport_limit in its place, where higher",
        "sees only gross errors in high dimension; in the plane chance can exceed it; the limit is of the "
        "teacher's own outputs, wide for heavy tails",
        limit="transport_limit",
        widens=True,
    ),
}
