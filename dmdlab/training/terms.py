"""Further terms of the student's loss, beside distribution matching: off unless `terms.<name>` is set.

A term is one class and one line in `TERMS`. It has settings of its own (so every one is an axis of a sweep), random
numbers of its own, networks of its own if it needs any, a loss for the student, and numbers for the training curve.
What it draws comes from streams of its own, so that the other draws of a run stay what they were.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from pydantic import Field
from torch import Tensor

from dmdlab.config import InputError, Section, TermsSpec, nearest, section_from
from dmdlab.group import Group
from dmdlab.laws import Law
from dmdlab.training.draws import Source
from dmdlab.training.optimiser import EnsembleOptimiser
from dmdlab.training.student import Student


class TermSettings(Section):
    """What every term has; 0 turns it off, as not naming it does."""

    weight: float = Field(ge=0, description="factor of this term in the student's loss")


class Term(Protocol):
    """One more loss. Its calls are part of a pure function (`dmdlab.training.cycle`): they change nothing in place,
    draw no random numbers, ask for no value, and hold no tensors with a member axis but the networks' in `optimisers`.
    The student is there for its shape: only within `student_loss` does it hold the parameters of its members.

    Attributes:
        numbers: names of what `student_loss` reports, columns of the curve.
        sources: its random numbers of one cycle, a `Source` each.
        optimisers: of the networks that it trains, by name; empty for none.
    """

    Settings: ClassVar[type[TermSettings]]
    numbers: ClassVar[tuple[str, ...]]
    sources: Sequence[Source]
    optimisers: Mapping[str, EnsembleOptimiser]

    def __init__(self, group: Group, law: Law, student: Student, settings: Any, cycles: int) -> None:
        """For the members of `group`, on the student's device, over `cycles` cycles."""

    def student_loss(self, x: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Each member's loss (e,), to be added to the student's, and `numbers`, each (e,); x = G(z) (e, n, d)."""

    def network_losses(self, x: Tensor, drawn: Sequence[Tensor]) -> Mapping[str, Tensor]:
        """Each member's loss (e,) of every network in `optimisers`; x as above, without gradient."""


TERMS: dict[str, type[Term]] = {}
"""The catalogue."""


def term_settings(spec: TermsSpec) -> dict[str, TermSettings]:
    """The settings of the terms that are on, by name and in the order of their names, defaults filled in.

    Raises `InputError` for an unknown term, an unknown key, a missing weight or a value out of range.
    """
    found = {}
    for name, values in sorted(spec.parameters.items()):
        if name not in TERMS:
            raise InputError(f"terms.{name} is not a term of the loss{nearest(name, TERMS)}")
        settings = section_from(TERMS[name].Settings, values, f"terms.{name}")
        if settings.weight:
            found[name] = settings
    return found


def make_terms(group: Group, law: Law, student: Student, cycles: int) -> dict[str, Term]:
    """The terms that the group's settings turn on, by name."""
    found = term_settings(group.shared.terms)
    return {name: TERMS[name](group, law, student, settings, cycles) for name, settings in found.items()}
