"""What an experiment is: frozen, validated, hashable, and what its ids are made of.

An `Experiment` fixes everything that determines a result: the law, the noise, the teacher, the network, the student's
training, the fake score's training, what is measured, and one seed.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import Field, model_validator

from dmdlab.config.sections import (
    MOST_PAIRED,
    TURNED,
    FakeScoreConfig,
    LawSpec,
    MeasureConfig,
    NetworkSpec,
    NoiseConfig,
    StudentConfig,
    TeacherConfig,
    TermsSpec,
)
from dmdlab.config.settings import MEMBER_OWN, InputError, Section

RESULT_VERSION = 2
"""Raised when the same configuration starts to give another result, and when a default changes; part of every run id
and record."""


class Experiment(Section):
    """Everything that determines a result."""

    law: LawSpec = Field(default_factory=LawSpec)
    noise: NoiseConfig = Field(default_factory=NoiseConfig)
    teacher: TeacherConfig = Field(default_factory=TeacherConfig)
    network: NetworkSpec = Field(default_factory=NetworkSpec)
    student: StudentConfig = Field(default_factory=StudentConfig)
    fake_score: FakeScoreConfig = Field(default_factory=FakeScoreConfig)
    terms: TermsSpec = Field(default_factory=TermsSpec)
    measure: MeasureConfig = Field(default_factory=MeasureConfig)
    seed: int = Field(
        0, ge=0, json_schema_extra=MEMBER_OWN, description="of networks, training and latents: the statistical unit"
    )

    @model_validator(mode="after")
    def _possible(self) -> "Experiment":
        init, pairs = self.student.init, self.student.pairs
        if init in TURNED and self.law.dim < 2:
            raise ValueError(f"student.init = {init!r} needs law.dim >= 2: one dimension has no rotation")
        if init == "transport" and pairs > MOST_PAIRED:
            raise ValueError(
                f"student.pairs = {pairs} are too many for an exact assignment, which student.init = 'transport' "
                f"starts from: give at most {MOST_PAIRED}, or choose another start"
            )
        return self

    def model_copy(self, **how: Any) -> "Experiment":
        """As pydantic's, without the ids of what is copied."""
        copied = super().model_copy(**how)
        for name in ("id", "teacher_id", "fit_id"):
            copied.__dict__.pop(name, None)
        return copied

    @cached_property
    def id(self) -> str:
        """Ten hex digits that determine the result: the hash of `RESULT_VERSION` and of what differs from a default."""
        return fingerprint(_changed(self))

    @cached_property
    def teacher_id(self) -> str:
        """The same for what determines the teacher and the start network: runs that share it share them."""
        return fingerprint({k: v for k, v in _changed(self).items() if k.startswith(_TEACHER) and k not in _FLOW})

    @cached_property
    def fit_id(self) -> str:
        """The same for what determines a start that is fitted to pairs (`FITTED`)."""
        return fingerprint({k: v for k, v in _changed(self).items() if k.startswith(_TEACHER) or k in _FIT})


_TEACHER = ("law.", "noise.", "teacher.", "network.", "seed")
_FLOW = ("teacher.kind", "teacher.steps", "teacher.solver")
_FIT = ("student.init", "student.pairs", "student.regression", "student.start_level", "student.step_levels")
_MAP = (*_FLOW, "teacher.condition")


def map_keys(experiment: Experiment) -> dict[str, Any]:
    """The dotted settings that determine Phi_K, those at their defaults left out; a trained teacher's id among them."""
    found = {k: v for k, v in _changed(experiment).items() if k.startswith(("law.", "noise.")) or k in _MAP}
    return found | ({"teacher": experiment.teacher_id} if experiment.teacher.kind == "network" else {})


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Ten hex digits of the SHA-256 of settings, whatever their order, and of `RESULT_VERSION`."""
    text = json.dumps({"result_version": RESULT_VERSION, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _changed(experiment: Experiment) -> dict[str, Any]:
    """The dotted keys whose values differ from the defaults: what ids are made of, so that a new key changes no old id.

    A catalogue's parameters count as changed when they are there: `experiments.resolve` leaves those at their defaults
    out. Where a file lies counts for nothing once the digest of what it holds is there.
    """
    defaults, flat = flatten(Experiment()), without_places(flatten(experiment))
    if experiment.teacher.age == experiment.teacher.iterations:  # the end, whatever it is called
        flat["teacher.snapshot"] = 0
    return {k: v for k, v in flat.items() if k not in defaults or v != defaults[k]}


PLACES = ("law.path", "law.labels")
"""The settings that say where a file lies."""


def without_places(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted settings without those of where a file lies, once the digest of what it holds is there."""
    return {k: v for k, v in flat.items() if k not in PLACES or "law.digest" not in flat}


def flatten(experiment: Experiment) -> dict[str, Any]:
    """`{"law.dim": 2, ...}`: every key with dots, in the order of the sections; tuples become lists."""
    return dict(leaves(experiment.model_dump(mode="json")))


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested tables."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`: `{"law.dim": 2}` -> `{"law": {"dim": 2}}`.

    Raises `InputError` when one key lies below another, as `law.dim.x` below `law.dim`: one of them would be lost.
    """
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        target = nested
        for section, above in zip(sections, itertools.accumulate(sections, "{}.{}".format), strict=True):
            if above in flat:
                raise InputError(f"{key!r} lies below {above!r}, which is set itself; leave one of them out")
            target = target.setdefault(section, {})
        target[last] = value
    return nested
