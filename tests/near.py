"""Seeded generators, Gaussian pairs of known correlation, and equality to a reference in float64."""

import math

import numpy as np
import torch
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_near(value: Tensor, reference: object, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(value, tensor(np.asarray(reference).tolist()), rtol=0, atol=tolerance)


def correlated(rng: np.random.Generator, n: int, d: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Teacher and student outputs (n, d), standard normal, that correlate by rho."""
    P, E = rng.normal(size=(2, n, d))
    return P, rho * P + math.sqrt(1 - rho**2) * E


def told(x: Tensor) -> float:
    """Many numbers as one, in which each counts differently."""
    flat = x.detach().double().flatten()
    return float(flat @ torch.arange(len(flat)).double().cos())
