"""Seeded generators, and equality to a reference in float64, for the tests of the laws."""

import numpy as np
import torch
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_near(value: Tensor, reference: object, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(value, tensor(np.asarray(reference).tolist()), rtol=0, atol=tolerance)
