"""Weights of a record as one row."""

from collections.abc import Mapping, Sequence

import numpy as np

from dmdlab.config import InputError


def in_order(weights: Mapping[str, np.ndarray], order: Mapping[str, Sequence[int]]) -> np.ndarray:
    """A network's parameters by name as one row (P,), in the order of these names and shapes. Raises `InputError` where
    one is missing or of another shape."""
    for name, shape in order.items():
        if name not in weights or list(weights[name].shape) != list(shape):
            raise InputError(f"the weights lack {name} of shape {tuple(shape)}; run the sweep again")
    return np.concatenate([weights[name].ravel() for name in order])
