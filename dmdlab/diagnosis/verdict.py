"""What a curve resembles, and why: rules in a fixed order, each a comparison with a named bound."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmdlab.config import InputError
from dmdlab.diagnosis.bounds import BOUNDS
from dmdlab.diagnosis.columns import Curve, of_record
from dmdlab.diagnosis.evidence import NEEDS, evidence
from dmdlab.pairing.words import spoken
from dmdlab.records.record import Record

VERDICTS = {
    "healthy": "a healthy run",
    "unfinished": "a run that shows no sickness and is not at its teacher's law (yet)",
    "learning-rate": "a learning rate of the student that is too high",
    "lagging": "a fake score that lags behind its student",
    "few-updates": "too few updates of the fake score for each of the student's",
    "collapsed": "a collapsed student",
    "mode-lost": "a student that has lost a part of the law, such as a mode",
    "teacher-bad": "a bad teacher",
    "gan-weight": "a GAN weight that is too high",
    "unknown": "nothing that can be told",
}
"""What a diagnosis can say, in the words of 'it resembles'."""

ADVICE = {
    "unfinished": "Train longer, or with a larger network; then look again.",
    "learning-rate": "Lower student.learning_rate, by a factor of three at a time.",
    "lagging": "Raise fake_score.learning_rate or fake_score.updates, or lower student.learning_rate.",
    "few-updates": "Raise fake_score.updates.",
    "collapsed": "Look at student.levels (the highest noise must join the modes) and at where the student starts.",
    "mode-lost": "Raise the highest of student.levels; see whether a term that covers (a small GAN, f-distill) helps.",
    "teacher-bad": "Train the teacher longer: no student is better than what it learns from.",
    "gan-weight": "Lower terms.gan.weight until gan_gradient_norm is well below dmd_gradient_norm.",
}

LAW = ("variance_ratio", "coverage", "fidelity", "lost")


@dataclass(frozen=True)
class Diagnosis:
    """verdict: a key of `VERDICTS`. reasons: sentences with the numbers that decided. lacking: columns that would tell
    more. numbers: all the evidence. healthy is what nothing speaks against, of what could be looked at."""

    verdict: str
    reasons: tuple[str, ...]
    lacking: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def in_words(self) -> list[str]:
        """The diagnosis, its reasons, what to do and what is missing, a sentence or two each."""
        first = "It cannot be told" if self.verdict == "unknown" else f"It resembles {VERDICTS[self.verdict]}"
        told = [f"{first}: {self.reasons[0]}", *self.reasons[1:]]
        told += [ADVICE[self.verdict]] if self.verdict in ADVICE else []
        return [*told, f"Not looked at, for want of columns: {', '.join(self.lacking)}."] if self.lacking else told


def diagnose(curve: Curve) -> Diagnosis:
    """What a curve resembles (`VERDICTS`). Of several sicknesses the one that explains the others is named: a bad
    teacher before everything, a fake score that is behind before what it makes of the student."""
    at = evidence(curve)
    if curve.broke is None and int((curve.columns["iteration"] > 0).sum()) < 2:
        told = "it has fewer than two rows of a training, and what tells is how they go on."
        return Diagnosis("unknown", (told,), (), at)
    return judge(at, curve.broke)


def said_of(record: Record) -> list[str]:
    """A sentence on a run whose curve tells that it is not healthy; none otherwise, or without a curve that tells."""
    try:
        found = diagnose(of_record(record))
    except InputError:
        return []
    if found.verdict in ("healthy", "unknown"):
        return []
    return [f"Its curve resembles {VERDICTS[found.verdict]} (`dmdlab diagnose {record.folder}` says why)."]


def judge(at: Mapping[str, float], broke: float | None = None) -> Diagnosis:
    """The same from the evidence alone. broke: the iteration at which training failed, or None."""
    if broke is not None:
        told = f"from iteration {broke:g} on its numbers are not finite, or ran away."
        return Diagnosis("learning-rate", (told,), (), at)
    lacking = tuple(dict.fromkeys(c for name in _WANTED if name not in at for c in NEEDS.get(name, (name,))))
    for rule in (_teacher, _gan, _rate, _behind, _collapsed, _flow, _lost, _law):
        if (found := rule(at)) is not None:
            verdict, (first, *others) = found
            return Diagnosis(verdict, (first, *(other[:1].upper() + other[1:] for other in others)), lacking, at)
    return Diagnosis("unknown", (_undecided(at, lacking),), lacking, at)


_WANTED = ("score_excess", "student_step", "updates_ratio", *LAW)
"""What a full diagnosis wants; the GAN's and the teacher's numbers are wanted where there is one."""

STEP = "one update moves the student's outputs by up to {} of the law's spread"

Found = tuple[str, list[str]] | None


def _teacher(at: Mapping[str, float]) -> Found:
    if not _above(at, "teacher_excess_risk"):
        return None
    text = "the teacher adds {} to the denoising risk that nobody can avoid"
    return "teacher-bad", [_says(text, at, "teacher_excess_risk"), *_far(at)]


def _flow(at: Mapping[str, float]) -> Found:
    """A teacher whose flow is not at the law, be it the denoiser's fault or that of few steps: fidelity, coverage and
    what is lost are held against that flow, and tell nothing. What is told without them comes first."""
    if not (far := _far(at)):
        return None
    if at.get("teacher_excess_risk") == 0:  # exact
        blame = "Its denoiser is exact, so that its flow is to blame, or chance in few dimensions"
        return "unknown", [*far, f"{blame}; raise teacher.steps, or measure.samples."]
    return "teacher-bad", far


def _far(at: Mapping[str, float]) -> list[str]:
    text = "the teacher's outputs cost {} times as much to match with data as data does"
    return [_says(text, at, "teacher_transport_ratio")] if _above(at, "teacher_transport_ratio") else []


def _gan(at: Mapping[str, float]) -> Found:
    if not _above(at, "gan_share") or _does_no_harm(at):
        return None
    text = "the GAN's gradient is {} times as long as matching's at the student's outputs"
    return "gan-weight", [_says(text, at, "gan_share")]


def _rate(at: Mapping[str, float]) -> Found:
    if not _above(at, "student_step") or _does_no_harm(at):
        return None
    law = ", ".join(f"{name} {spoken(at[name])}" for name in LAW if name in at)
    return "learning-rate", [_says(STEP, at, "student_step"), f"Its law is not reached ({law})."]


def _behind(at: Mapping[str, float]) -> Found:
    if not _above(at, "score_excess"):
        return None
    reasons = [_says("the fake score's excess risk is {}", at, "score_excess")]
    reasons += [_says(STEP, at, "student_step")] if "student_step" in at else []
    if at.get("updates_ratio", BOUNDS["updates_ratio"].value) < BOUNDS["updates_ratio"].value:
        reasons.append(
            f"It has {spoken(at['updates_ratio'])} updates for each of the student's; below "
            f"{BOUNDS['updates_ratio'].value:g} is few."
        )
        return "few-updates", reasons
    if "student_step" in at and "updates_ratio" in at:
        return "lagging", reasons
    return "unknown", [
        *reasons,
        "That is a rate too high, or its updates too few or too small: student_step and student_updates would tell.",
    ]


def _collapsed(at: Mapping[str, float]) -> Found:
    narrow = "variance_ratio" in at and at["variance_ratio"] < BOUNDS["collapsed"].value
    if not narrow and not _above(at, "lost", "most_lost"):
        return None
    reasons = []
    if narrow:
        reasons.append(
            f"the student has {spoken(at['variance_ratio'])} of the teacher's variance; one that is not collapsed has "
            f"more than {BOUNDS['collapsed'].value:g}."
        )
    if _above(at, "lost", "most_lost"):
        reasons.append(
            _says("{} of the law is out of its reach", at, "lost", "most_lost", "less than {} is a mode lost")
        )
    return "collapsed", [*reasons, *_keeps_up(at)]


def _lost(at: Mapping[str, float]) -> Found:
    if not _above(at, "lost") or "coverage" not in at:
        return None
    rest = at["coverage"] / (1 - at["lost"])
    if rest < BOUNDS["rest"].value:
        return None  # not a part that is lost: the whole is not reached yet
    covered = (
        f"Of the rest it covers {spoken(rest)}; where a law is not reached yet that is below {BOUNDS['rest'].value:g}."
    )
    missing = _says("{} of the law is out of its reach in one piece", at, "lost")
    return "mode-lost", [missing, covered, *_keeps_up(at)]


def _law(at: Mapping[str, float]) -> Found:
    known = [name for name in LAW[:3] if name in at]
    if not {"coverage", "fidelity"} & set(known):
        return None
    told = ", ".join(f"{name} {spoken(at[name])}" for name in known)
    widest = BOUNDS["variance"].value
    bounds = (
        f"healthy runs have a coverage above {BOUNDS['coverage'].value:g}, a fidelity below "
        f"{BOUNDS['fidelity'].at(at):.3g} and a variance_ratio of {1 / widest:g} to {widest:g}"
    )
    reasons = [f"{told}; {bounds}.", *_keeps_up(at)]
    if not _at_the_law(at):
        return "unfinished", reasons
    if "score_excess" not in at:
        return "healthy", [*reasons, "Whether its fake score keeps up was not measured."]
    return "healthy", reasons


def _at_the_law(at: Mapping[str, float]) -> bool:
    """Whether nothing that was measured of the student's law is outside its bounds."""
    widest = BOUNDS["variance"].value
    return (
        at.get("coverage", 1.0) >= BOUNDS["coverage"].value
        and at.get("fidelity", 1.0) <= BOUNDS["fidelity"].at(at)
        and 1 / widest <= at.get("variance_ratio", 1.0) <= widest
        and at.get("lost", 0.0) <= BOUNDS["lost"].value
    )


def _does_no_harm(at: Mapping[str, float]) -> bool:
    """Whether the law is reached and the fake score keeps up, whatever the GAN or the student's steps are like."""
    return _at_the_law(at) and not _above(at, "score_excess")


def _keeps_up(at: Mapping[str, float]) -> list[str]:
    return (
        [_says("the fake score keeps up, with an excess risk of {}", at, "score_excess")]
        if "score_excess" in at
        else []
    )


def _above(at: Mapping[str, float], name: str, bound: str | None = None) -> bool:
    return name in at and at[name] > BOUNDS[bound or name].at(at)


def _says(text: str, at: Mapping[str, float], name: str, bound: str | None = None, but: str = "") -> str:
    """A sentence: what was found, and what healthy runs stay below."""
    limit = f"{BOUNDS[bound or name].at(at):.3g}"
    return f"{text.format(spoken(at[name]))}; {but.format(limit) if but else f'healthy runs stay below {limit}'}."


def _undecided(at: Mapping[str, float], lacking: tuple[str, ...]) -> str:
    told = ", ".join(f"{name} {spoken(value)}" for name, value in at.items() if "limit" not in name)
    seen = f"{told or 'losses alone'} could be looked at, and say nothing that a healthy run would not"
    return f"{seen}; {_telling(lacking)}."


def _telling(lacking: tuple[str, ...]) -> str:
    asked = [name for name in ("score_excess", "fidelity", "coverage", "variance_ratio") if name in lacking]
    return f"{', '.join(asked)} would tell" if asked else "no further column is known that would tell"
