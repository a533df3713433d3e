"""The sections of an experiment, and where each default comes from: `paper` is arXiv 2606.02237, `DMD2` is arXiv
2405.14867 and its released settings, `EDM` is arXiv 2206.00364, `ours` was chosen on the quickstart law."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dmdlab.config.settings import (
    MEMBER_OWN,
    Count,
    Iterations,
    Levels,
    NoiseLevel,
    OpenSection,
    Positive,
    Scalar,
    Section,
    StepLevels,
    Value,
)

TURNED = ("turned", "twisted", "rotated")
"""The values of `student.init` that start behind a turn of the noise."""

FITTED = ("regressed", "transport")
"""Those that start at a regression on pairs."""

MOST_PAIRED = 10_000
"""Pairs of a 'transport' start at most: beyond, no assignment is exact (`dmdlab.transport.DENSE_LIMIT`)."""


class LawSpec(OpenSection):
    """Which data law, in which dimension; further keys are that law's own parameters (`dmdlab laws` lists them)."""

    __pydantic_extra__: dict[str, Scalar]

    name: str = Field("mixture", description="a law of the catalogue (`dmdlab laws`)")
    dim: int = Field(2, ge=1, le=1_000_000, description="ambient dimension d; set by law.side for laws of pictures")


class NoiseConfig(Section):
    """Variance-exploding noise on the Karras levels (EDM, eq. 5)."""

    sigma_min: NoiseLevel = Field(0.002, description="smallest noise level (paper, EDM); at least 1e-15")
    sigma_max: NoiseLevel = Field(
        80.0, description="largest noise level, the prior's standard deviation (paper, EDM); at most 1e15"
    )
    rho: float = Field(
        7.0, ge=1, le=100, description="exponent of the Karras levels (paper, EDM); beyond 100 float32 loses the levels"
    )

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
    iterations: Iterations = Field(4000, description="training iterations of the network (ours)")
    batch: Count = Field(256, description="batch size of that training (ours; paper toys: 512)")
    learning_rate: Positive = Field(2e-3, description="peak learning rate (ours)")
    warmup: int = Field(100, ge=0, description="iterations of linear warm-up (ours)")
    decay: Literal["cosine", "constant"] = Field("cosine", description="of its learning rate (ours: cosine to 0)")
    ema: float = Field(
        0.0, ge=0, lt=1, description="the teacher is a running average of the parameters, of this decay; 0: the last"
    )
    snapshot: int = Field(
        0,
        ge=0,
        json_schema_extra=MEMBER_OWN,
        description="the iteration of its training at which the teacher is taken; 0: the end (teacher.iterations)",
    )
    levels: Literal["karras", "lognormal"] = Field(
        "karras", description="its noise levels: uniform in the Karras index (ours), or log-normal(-1.2, 1.2) (EDM)"
    )
    target: Literal["data", "posterior"] = Field(
        "data", description="regress on x0 (EDM), or on the law's E[x0 | x_sigma]: the same minimiser, less variance"
    )
    train_samples: int = Field(0, ge=0, description="size of the training set; 0 draws fresh data for ever")
    condition: bool = Field(False, description="whether teacher, student and fake score are told the law's classes")

    @model_validator(mode="after")
    def _within(self) -> "TeacherConfig":
        if self.snapshot > self.iterations:
            raise ValueError(
                f"snapshot = {self.snapshot} must be at most teacher.iterations = {self.iterations}, the length of "
                "the training that it is taken from"
            )
        return self

    @property
    def age(self) -> int:
        """The iteration at which the teacher is taken."""
        return self.snapshot or self.iterations


class NetworkSpec(OpenSection):
    """The network shared by teacher, student and fake score; further keys are its kind's own, as `width` of an MLP."""

    __pydantic_extra__: dict[str, Value]

    kind: str = Field(
        "residual",
        description="'residual': normalised residual blocks (ours); 'mlp': the paper's plain MLP; 'unet': of pictures; "
        "'linear': a matrix for each noise level",
    )
    precision: Literal["auto", "float32", "tf32", "bf16"] = Field(
        "auto", description="of products in training: auto is tf32 on a GPU that has it, else float32 (ours)"
    )


class StudentConfig(Section):
    """The student of one step or more, and its distribution-matching update."""

    init: Literal["teacher", "turned", "twisted", "rotated", "other", "regressed", "transport", "random"] = Field(
        "teacher",
        json_schema_extra=MEMBER_OWN,
        description="the teacher at sigma_max (paper), it after a fixed random turn of the noise by turn_degrees, "
        "or a twist by an angle that depends on the noise's norm, or a rotation without trace; another teacher, that "
        "of seed + 1 (the fake score starts at its own in each case); the teacher regressed on pairs of its own flow, "
        "or on pairs of an optimal transport of noise to data; or a random network",
    )
    turn_degrees: float = Field(
        45.0,
        json_schema_extra=MEMBER_OWN,
        description="the angle of a 'turned' start in all planes, the root mean square one of a 'twisted' one (ours)",
    )
    pairs: int = Field(
        4096,
        ge=2,
        description=f"noise and data rows that a 'regressed' or 'transport' start is fitted to (ours); at most "
        f"{MOST_PAIRED} for transport",
    )
    regression: Iterations = Field(
        2000,
        description="iterations of that fit (ours): AdamW with teacher.batch and teacher.learning_rate, cosine to 0",
    )
    steps: Count = Field(1, description="how often the student is called, at falling noise levels (DMD2: 1 or 4)")
    step_levels: StepLevels = Field(
        (),
        description="those levels, one a step, falling; empty: uniform in the Karras index, without its end (DMD2)",
    )
    start_level: float = Field(
        0.0,
        ge=0,
        description="the first of them, whose input is z start_level / sigma_max (SiD: 2.5); 0: noise.sigma_max",
    )
    sampler: Literal["sde", "ode"] = Field(
        "sde", description="later levels' noise: fresh (DMD2), or what the last prediction implies (FastGen's ode)"
    )
    rollout: Literal["random", "fixed"] = Field(
        "random", description="the step of the chain that a batch trains: drawn (DMD2), or always student.rollout_step"
    )
    rollout_step: int = Field(0, ge=0, description="a fixed rollout's step, from 1; 0: the last (ours)")
    iterations: Iterations = Field(
        10_000, description="fake-score updates; the student moves once per fake_score.updates (paper: 50 000)"
    )
    batch: Count = Field(256, description="batch size (paper toys: 512)")
    optimiser: Literal["adamw", "sgd"] = Field(
        "adamw", description="of the student: AdamW (paper, DMD2), or plain gradient descent without momentum"
    )
    learning_rate: Positive = Field(
        5e-4, json_schema_extra=MEMBER_OWN, description="of the optimiser (ours; paper: 2e-6)"
    )
    warmup: int = Field(100, ge=0, description="iterations of linear warm-up, student and fake score (paper: 500)")
    decay: Literal["constant", "cosine"] = Field("constant", description="of both learning rates (paper: constant)")
    weight_decay: float = Field(
        0.01, ge=0, description="decoupled weight decay, student and fake score, of either optimiser (paper, DMD2)"
    )
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
    weight: float = Field(
        1.0, ge=0, description="factor of distribution matching in the student's loss; 0 leaves the further terms alone"
    )


class FakeScoreConfig(Section):
    """The network that learns the student's own score."""

    kind: Literal["network", "exact", "estimated", "none"] = Field(
        "network",
        description="'network' (paper); 'exact': the score of a linear student's law in closed form, never trained; "
        "'estimated': the same with the covariance of the fake score's own batches; 'none': for losses without one",
    )
    updates: Count = Field(5, description="fake-score updates per student update (paper, DMD2: 5)")
    batches: Literal["shared", "separate"] = Field(
        "shared", description="whether the student's update uses one of the fake score's batches (DMD2) or its own"
    )
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="of the fake score, as student.optimiser is (DMD2)")
    learning_rate: Positive = Field(
        1e-3, json_schema_extra=MEMBER_OWN, description="of the optimiser (ours; paper: 2e-6)"
    )
    levels: Levels = Field((0.0, 1.0), description="range of the Karras index (DMD2: all of it)")
    weight: Literal["edm", "uniform"] = Field(
        "edm", description="1/sigma^2 + 1/sigma_data^2 (DMD2, EDM) or 1 (FastGen)"
    )

    @property
    def closed(self) -> bool:
        """Whether it is a closed form of a linear student's law, which is never trained."""
        return self.kind in ("exact", "estimated")


class TermsSpec(OpenSection):
    """Further terms of the student's loss, each by its name with its own settings: `terms.<name>.weight`."""

    __pydantic_extra__: dict[str, dict[str, Value]]


class MeasureConfig(Section):
    """What is measured at the end of a run, and how often on the way."""

    samples: int = Field(1000, ge=2, description="n, rows of every array of a measurement (paper: 1000)")
    bases: int = Field(
        4,
        ge=2,
        description="random bases of each planted turn in the calibration, the fewest for a useful interval (ours)",
    )
    checkpoints: Count = Field(24, le=10_000, description="log-spaced points of the training curve (ours)")
    turns: bool = Field(
        False, description="whether one turn of the noise is fitted, too (rotation_explained; not cheap)"
    )
    keep: int = Field(
        0,
        ge=0,
        le=100,
        description="moments of training, start and end among them, whose student and fake score are kept (ours); 0: "
        "the student at its end alone; never 1",
    )

    @field_validator("keep")
    @classmethod
    def _both_ends(cls, keep: int) -> int:
        if keep == 1:
            raise ValueError("start and end are two moments: expected 0, or 2 and more")
        return keep
