"""Closed forms that the lab is held against, in float64, derived in docs/theory.md: `gaussian` (a Gaussian teacher and
the flow of its linear student), `flat` (the turns that a loss of laws cannot see), `noise` (how stochastic gradients
move along them), `walk` (what that does to a pairing) and `predicted` (what a run's settings should lose by all
this)."""

from dmdlab.theory.flat import flat_part, polar, polar_drift, turned_degrees
from dmdlab.theory.gaussian import (
    denoiser_matrix,
    distillation_flow,
    distillation_velocity,
    flow_matrix,
    gaussian_flow,
    noised_kl,
)
from dmdlab.theory.noise import (
    PlaneVariances,
    adam_rates,
    batch_variances,
    expected_variances,
    frozen_variance,
    regression_moments,
    sample_gradients,
    trained_score_moments,
    trained_score_rates,
    wishart_moments,
)
from dmdlab.theory.predicted import expected_loss, level_quadrature
from dmdlab.theory.walk import (
    angle_degrees,
    mean_pair_cosine,
    mean_turn,
    squared_rates,
    trace_moments,
)

__all__ = [
    "PlaneVariances",
    "adam_rates",
    "angle_degrees",
    "batch_variances",
    "denoiser_matrix",
    "distillation_flow",
    "distillation_velocity",
    "expected_loss",
    "expected_variances",
    "flat_part",
    "flow_matrix",
    "frozen_variance",
    "gaussian_flow",
    "level_quadrature",
    "mean_pair_cosine",
    "mean_turn",
    "noised_kl",
    "polar",
    "polar_drift",
    "regression_moments",
    "sample_gradients",
    "squared_rates",
    "trace_moments",
    "trained_score_moments",
    "trained_score_rates",
    "turned_degrees",
    "wishart_moments",
]
