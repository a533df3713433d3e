"""Further terms of the student's loss, beside distribution matching: off unless `terms.<name>` is set.

A term is one class and one line in `TERMS`. It has settings of its own (so every one is an axis of a sweep), random
numbers of its own, networks of its own if it needs any, a loss for the student, and numbers for the training curve.
What it draws comes from streams of its own, so that the other draws of a run stay what they were. docs/losses.md has
their formulas.
"""

from dmdlab.config import Experiment, InputError, TermsSpec, did_you_mean, section_from
from dmdlab.training.terms.drifting import Drifting
from dmdlab.training.terms.f_distill import FDistill
from dmdlab.training.terms.gan import GAN
from dmdlab.training.terms.regression import Regression
from dmdlab.training.terms.sid import SiD
from dmdlab.training.terms.term import Around, Batch, Matching, Term, TermSettings

TERMS: dict[str, type[Term]] = {
    "drifting": Drifting,
    "f_distill": FDistill,
    "gan": GAN,
    "regression": Regression,
    "sid": SiD,
}
"""The catalogue."""

__all__ = [
    "TERMS",
    "Around",
    "Batch",
    "Matching",
    "Term",
    "TermSettings",
    "check_terms",
    "make_terms",
    "term_settings",
]


def term_settings(spec: TermsSpec) -> dict[str, TermSettings]:
    """The settings of the terms that are on, by name and in the order of their names, defaults filled in.

    Raises `InputError` for an unknown term, an unknown key, a missing weight or a value out of range.
    """
    found = {}
    for name, values in sorted(spec.parameters.items()):
        if name not in TERMS:
            raise InputError(f"terms.{name} is not a term of the loss{did_you_mean(name, TERMS, 'terms.')}")
        settings = section_from(TERMS[name].Settings, values, f"terms.{name}")
        if settings.weight:
            found[name] = settings
    return found


def check_terms(experiment: Experiment) -> dict[str, TermSettings]:
    """`term_settings`, and whether they, and what is left of distribution matching, suit the experiment.

    Raises `InputError` as it does, for a term that does not, for a student that nothing trains, and for a fake score
    that is left out though something reads it.
    """
    found, weight = term_settings(experiment.terms), experiment.student.weight
    if not weight and not found:
        raise InputError(
            "student.weight is 0 and no term of the loss is on, so that nothing trains the student; set one of them, "
            f"as terms.<name>.weight of {', '.join(TERMS)}"
        )
    reading = ["student"] * bool(weight) + [f"terms.{name}" for name in found if TERMS[name].needs_scores]
    if experiment.fake_score.kind == "none" and reading:
        raise InputError(
            f"fake_score.kind is 'none', but with {reading[0]}.weight above 0 the student's loss reads the fake score; "
            f"leave fake_score.kind at 'network', or set {reading[0]}.weight = 0"
        )
    others = [name for name in found if TERMS[name].needs_scores]
    if experiment.fake_score.kind == "estimated" and others:
        raise InputError(
            f"fake_score.kind is 'estimated', which distribution matching alone reads, and terms.{others[0]} reads the "
            f"fake score, too; set terms.{others[0]}.weight = 0, or fake_score.kind = 'exact'"
        )
    for name, settings in found.items():
        TERMS[name].check(experiment, settings)
    return found


def make_terms(around: Around) -> dict[str, Term]:
    """The terms that the group's settings turn on, by name. Raises `InputError` as `check_terms` does."""
    made: dict[str, Term] = {}
    for name, settings in check_terms(around.group.shared).items():
        made[name] = TERMS[name](around._replace(terms=made), settings)
    return made
