"""What an experiment is: frozen, validated, hashable.

An `Experiment` fixes everything that determines a result: the law, the noise, the teacher, the network, the student's
training, the fake score's training, what is measured, and one seed. Each field says where its default comes from:
`paper` is arXiv 2606.02237, `DMD2` is arXiv 2405.14867 and its released settings, `EDM` is arXiv 2206.00364,
`ours` was chosen on the quickstart law. `dmdlab config show` prints the whole of it.

This file imports nothing of ours.
"""

import difflib
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

RESULT_VERSION = 2
"""Raised when the same configuration starts to give another result, and when a default changes; part of every run id
and record."""

Scalar = bool | int | float | str | None
Value = Scalar | list[Scalar]

MEMBER_OWN: dict[str, Any] = {"member_own": True}
"""Mark of a field in which members of one ensemble may differ: `Field(..., json_schema_extra=MEMBER_OWN)`."""


class InputError(ValueError):
    """Bad input from a user: a sentence that says what was wrong, what was expected and what to do."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint `; did you mean 'x'?` for a misspelt name, or the list of valid names when none is near."""
    valid = sorted(names)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid names: {', '.join(valid) or 'none yet'}"


class Section(BaseModel):
    """A group of settings: no unknown key, no silent conversion, no change after creation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _levels(value: object) -> object:
    numbers = isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value)
    if numbers and len(value) == 2 and value[0] >= value[1]:  # type: ignore[arg-type, index]
        raise ValueError("the first level must be below the second")
    return tuple(value) if isinstance(value, list) else value


Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Unit = Annotated[float, Field(ge=0, le=1)]
Levels = Annotated[tuple[Unit, Unit], BeforeValidator(_levels)]


class OpenSection(BaseModel):
    """Settings of something from a catalogue: further keys are its own, checked where the catalogue is known."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.__pydantic_extra__ or {})


class LawSpec(OpenSection):
    """Which data law, in which dimension; further keys are that law's own parameters (`dmdlab laws` lists them)."""

    __pydantic_extra__: dict[str, Scalar]

    name: str = Field("mixture", description="a law of the catalogue (`dmdlab laws`)")
    dim: int = Field(2, ge=1, le=1_000_000, description="ambient dimension d; set by law.side for laws of pictures")


class NoiseConfig(Section):
    """Variance-exploding noise on the Karras levels (EDM, eq. 5)."""

    sigma_min: Positive = Field(0.002, description="smallest noise level (paper, EDM)")
    sigma_max: Positive = Field(80.0, description="largest noise level, the prior's standard deviation (paper, EDM)")
    rho: Positive = Field(7.0, description="exponent of the Karras levels (paper, EDM)")

    @model_validator(mode="after")
    def _ordered(self) -> "NoiseConfig":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min = {self.sigma_min} must be below sigma_max = {self.sigma_max}")
        return self


class TeacherConfig(Section):
    """The teacher, its flow, and the training of the network that is the teacher or, beside an exact teacher, the
    start of student and fake score."""

    kind: Literal["exact", "network"] = Field(
        "exact", description="'exact': the law's own E[x0 | x_sigma]; 'network': a network trained on the law (paper)"
    )
    steps: Count = Field(32, description="K, steps of the flow Phi_K that defines the pairing (paper: 8; ours: 32)")
    solver: Literal["heun", "euler"] = Field("heun", description="solver of the flow (paper, EDM: heun)")
    iterations: Count = Field(4000, description="training iterations of the network (ours)")
    batch: Count = Field(256, description="batch size of that training (ours; paper toys: 512)")
    learning_rate: Positive = Field(2e-3, description="peak learning rate, cosine to 0 (ours)")
    warmup: int = Field(100, ge=0, description="iterations of linear warm-up (ours)")
    levels: Literal["karras", "lognormal"] = Field(
        "karras", description="its noise levels: uniform in the Karras index (ours), or log-normal(-1.2, 1.2) (EDM)"
    )
    target: Literal["data", "posterior"] = Field(
        "data", description="regress on x0 (EDM), or on the law's E[x0 | x_sigma]: the same minimiser, less variance"
    )
    train_samples: int = Field(0, ge=0, description="size of the training set; 0 draws fresh data for ever")


class NetworkSpec(OpenSection):
    """The network shared by teacher, student and fake score; further keys are its kind's own, as `width` of an MLP."""

    __pydantic_extra__: dict[str, Value]

    kind: str = Field(
        "residual", description="'residual': normalised residual blocks (ours); 'mlp': the paper's plain MLP"
    )
    precision: Literal["auto", "float32", "tf32", "bf16"] = Field(
        "auto", description="of products in training: auto is tf32 on a GPU that has it, else float32 (ours)"
    )


class StudentConfig(Section):
    """The one-step student and its distribution-matching update."""

    init: Literal["teacher", "rotated", "random"] = Field(
        "teacher",
        json_schema_extra=MEMBER_OWN,
        description="the teacher at sigma_max (paper), the same after a fixed random rotation, or a random network",
    )
    iterations: Count = Field(
        10_000, description="fake-score updates; the student moves once per fake_score.updates (paper: 50 000)"
    )
    batch: Count = Field(256, description="batch size (paper toys: 512)")
    learning_rate: Positive = Field(5e-4, json_schema_extra=MEMBER_OWN, description="of AdamW (ours; paper: 2e-6)")
    warmup: int = Field(100, ge=0, description="iterations of linear warm-up, student and fake score (paper: 500)")
    decay: Literal["constant", "cosine"] = Field("constant", description="of both learning rates (paper: constant)")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay, student and fake score (paper, DMD2)")
    clip: float = Field(10.0, ge=0, description="gradient-norm limit per network; 0 turns it off (DMD2: 10)")
    levels: Levels = Field((0.02, 0.98), description="range of the Karras index for the student's update (paper, DMD2)")
    normaliser: Literal["sample", "floored", "batch", "none"] = Field(
        "sample",
        description="what the direction is divided by: mean abs(x - D_teacher) of each sample (DMD2), the same + 1e-6 "
        "(FastGen), of the batch, or 1",
    )
    reduction: Literal["mean", "sum"] = Field(
        "mean", description="of the student's loss over coordinates: mean (DMD2; a hidden 1/d) or sum"
    )


class FakeScoreConfig(Section):
    """The network that learns the student's own score."""

    updates: Count = Field(5, description="fake-score updates per student update (paper, DMD2: 5)")
    batches: Literal["shared", "separate"] = Field(
        "shared", description="whether the student's update uses one of the fake score's batches (DMD2) or its own"
    )
    learning_rate: Positive = Field(1e-3, json_schema_extra=MEMBER_OWN, description="of AdamW (ours; paper: 2e-6)")
    levels: Levels = Field((0.0, 1.0), description="range of the Karras index (DMD2: all of it)")
    weight: Literal["edm", "uniform"] = Field(
        "edm", description="1/sigma^2 + 1/sigma_data^2 (DMD2, EDM) or 1 (FastGen)"
    )


class TermsSpec(OpenSection):
    """Further terms of the student's loss, each by its name with its own settings: `terms.<name>.weight`."""

    __pydantic_extra__: dict[str, dict[str, Value]]


class MeasureConfig(Section):
    """What is measured at the end of a run, and how often on the way."""

    samples: int = Field(1000, ge=2, description="n, rows of every array of a measurement (paper: 1000)")
    checkpoints: Count = Field(24, description="log-spaced points of the training curve (ours)")


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
        if self.student.init == "rotated" and self.law.dim < 2:
            raise ValueError("student.init = 'rotated' needs law.dim >= 2: one dimension has no rotation")
        return self

    @property
    def id(self) -> str:
        """Ten hex digits that determine the result: the hash of `RESULT_VERSION` and of what differs from a default."""
        return fingerprint(changed(self))

    @property
    def teacher_id(self) -> str:
        """The same for what determines the teacher and the start network: runs that share it share them."""
        return fingerprint({k: v for k, v in changed(self).items() if k.startswith(_TEACHER) and k not in _FLOW})


_TEACHER = ("law.", "noise.", "teacher.", "network.", "seed")
_FLOW = ("teacher.kind", "teacher.steps", "teacher.solver")


def map_keys(experiment: Experiment) -> dict[str, Any]:
    """The dotted settings that determine Phi_K, those at their defaults left out; a trained teacher's id among them."""
    found = {k: v for k, v in changed(experiment).items() if k.startswith(("law.", "noise.")) or k in _FLOW}
    return found | ({"teacher": experiment.teacher_id} if experiment.teacher.kind == "network" else {})


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Ten hex digits of the SHA-256 of settings, whatever their order, and of `RESULT_VERSION`."""
    text = json.dumps({"result_version": RESULT_VERSION, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def changed(experiment: Experiment) -> dict[str, Any]:
    """The dotted keys whose values differ from the defaults: what ids are made of, so that a new key changes no old id.

    A catalogue's parameters count as changed when they are there: `experiments.resolve` leaves those at their defaults
    out. Where a file lies counts for nothing once the digest of what it holds is there.
    """
    defaults, flat = flatten(Experiment()), without_places(flatten(experiment))
    return {k: v for k, v in flat.items() if k not in defaults or v != defaults[k]}


def without_places(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted settings without those of where a file lies, once the digest of what it holds is there."""
    places = ("law.path", "law.labels") if "law.digest" in flat else ()
    return {k: v for k, v in flat.items() if k not in places}


def member_keys() -> frozenset[str]:
    """The dotted keys in which members of one ensemble may differ, by the marks on their fields."""
    return frozenset(key for key, field in _fields() if field.json_schema_extra == MEMBER_OWN)


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


def experiment_from(flat: Mapping[str, Any], source: str = "the configuration") -> Experiment:
    """An `Experiment` from dotted keys. Raises `InputError` naming the key, what was expected and the nearest name."""
    check_keys(flat, source)
    try:
        return Experiment.model_validate(nest(flat))
    except (InputError, ValidationError) as error:
        said = _sentence(error) if isinstance(error, ValidationError) else error
        raise InputError(f"{source}: {said}") from None


OPEN = ("law.", "network.", "terms.")
"""Sections whose further keys only their catalogues know."""


def check_keys(keys: Iterable[str], source: str) -> None:
    """Raise `InputError` for the first key that is neither a setting, a section, nor below one of `OPEN`."""
    known, sections = known_keys(), set(Experiment.model_fields)
    for key in keys:
        if key not in known and key not in sections and not key.startswith(OPEN):
            raise InputError(f"{source}: unknown key {key!r}{nearest(key, known)}")


def known_keys() -> list[str]:
    """Every dotted key except the parameters of laws, networks and terms."""
    return list(flatten(Experiment()))


def describe() -> dict[str, str]:
    """What each of `known_keys` means."""
    return {key: field.description or "" for key, field in _fields()}


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every setting's dotted key and its field, sections unfolded."""
    for name, field in Experiment.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from ((f"{name}.{key}", own) for key, own in section.model_fields.items())
        else:
            yield name, field


S = TypeVar("S", bound=Section)


def section_from(model: type[S], values: Mapping[str, Any], prefix: str) -> S:
    """A catalogue entry's own settings, checked and completed. Raises `InputError` that calls a key `prefix`.key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(_sentence(error, f"{prefix}.", list(model.model_fields))) from None


def _sentence(error: ValidationError, prefix: str = "", known: Sequence[str] | None = None) -> str:
    """Pydantic's first complaint in our words; `known`: the names that a misspelt key is compared with."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper())
    if first["type"] == "extra_forbidden":
        return f"unknown key {prefix + key!r}{nearest(key, known_keys() if known is None else known)}"
    missing, got = first["type"] == "missing", first.get("input")
    message = "is missing; it has no default" if missing else first["msg"].removeprefix("Value error, ")
    if not prefix and key.startswith(OPEN) and len(first["loc"]) > 2:  # a parameter, then the type pydantic tried
        key = ".".join(str(part) for part in first["loc"][: 3 if key.startswith("terms.") else 2])
        message = "expected a finite number, a word, true or false"
    shown = "" if isinstance(got, BaseModel | dict) else f", got {got!r}"
    return f"{prefix}{key}: {message}{shown}" if key else f"{message}"
