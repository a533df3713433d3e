"""What a term of the student's loss is."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import Field
from torch import Tensor

from dmdlab.config import Experiment, Section
from dmdlab.diffusion import Denoiser
from dmdlab.group import Group
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser
from dmdlab.training.draws import Source
from dmdlab.training.optimiser import EnsembleOptimiser
from dmdlab.training.student import Student


class TermSettings(Section):
    """What every term has; 0 turns it off, as not naming it does."""

    weight: float = Field(ge=0, description="factor of this term in the student's loss")


class Around(NamedTuple):
    """What a term is made for: the members, on the student's device. `score` is the denoiser of the students' own law,
    the network `fake` or the exact one; `updates` counts the fake score's over the whole training; `terms` are those of
    the run, by name, complete once all of them are made."""

    group: Group
    law: Law
    teacher: Denoiser
    student: Student
    fake: EDMDenoiser
    score: Denoiser
    updates: int
    terms: "Mapping[str, Term]"


class Matching(NamedTuple):
    """What distribution matching has found for a batch, without gradient: x_sigma (e, n, d) at sigma (e, n, 1), and its
    direction (e, n, d)."""

    x_sigma: Tensor
    sigma: Tensor
    direction: Tensor


class Batch(NamedTuple):
    """The student's outputs x = G(z) (e, n, d), their class labels (e, n) or None, and what matching found for them:
    None where there is no score to match by, and for outputs at a term's own latents."""

    x: Tensor
    label: Tensor | None
    matching: Matching | None


class Term:
    """One more loss. Calls other than `__init__` and `check` are part of a pure function (`dmdlab.training.cycle`):
    they change nothing in place, draw no random numbers, ask for no value, and hold no tensors with a member axis but
    the parameters of networks. Those of its own, and the teacher, the fake score and the student of `Around`, are there
    for their shape: the cycle lends them their parameters while it calls, the student's only in `student_loss`.

    Attributes:
        numbers, critic_numbers: names of what the losses report, columns of the curve.
        sources: its random numbers of one cycle, a `Source` each. What each cycle brings anew from a store, such as
            rows of fixed pairs, is drawn in this sense, too.
        optimisers: of the networks that it trains, by name, one step for each update of the fake score.
        joined: whether they are one optimiser with the fake score's: what is clipped is the norm of all.
        needs_scores: whether the student's loss asks the teacher, and the score of the student's own law.
    """

    Settings: ClassVar[type[TermSettings]] = TermSettings
    numbers: ClassVar[tuple[str, ...]] = ()
    critic_numbers: ClassVar[tuple[str, ...]] = ()
    needs_scores: bool = False
    sources: Sequence[Source] = ()
    optimisers: Mapping[str, EnsembleOptimiser] = {}
    joined: bool = False

    def __init__(self, around: Around, settings: Any) -> None:
        """For the members of `around.group`."""

    @classmethod
    def check(cls, experiment: Experiment, settings: Any) -> None:
        """Raises `InputError` for an experiment that the term does not suit."""

    def latents(self, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor | None] | None:
        """Noise (e, m, d), turned already, and class labels (e, m) or None, at which the term wants the student's
        outputs in place of the batch; None: the batch."""
        return None

    def student_loss(self, batch: Batch, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Each member's loss (e,), to be added to the student's, and `numbers`, each (e,)."""
        raise NotImplementedError

    def critic_loss(self, batch: Batch, update: int, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Each member's loss (e,), to be added to the fake score's in its update of this number (from 0), and
        `critic_numbers`, each (e,). Its gradient moves the networks in `optimisers` and, where it passes through it,
        the fake score. Only called where there are such networks."""
        raise NotImplementedError
