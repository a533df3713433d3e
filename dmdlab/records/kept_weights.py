"""The networks of finished runs, as arrays: no torch is needed to read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dmdlab.config import InputError
from dmdlab.records.kept_arrays import whole


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name. Raises `InputError` for a lost or damaged one."""
    from safetensors.numpy import load

    with whole(path):
        return dict(load(path.read_bytes()))


def in_order(weights: Mapping[str, np.ndarray], order: Mapping[str, Sequence[int]]) -> np.ndarray:
    """A network's parameters by name as one row (P,), in the order of these names and shapes. Raises `InputError` where
    one is missing or of another shape."""
    for name, shape in order.items():
        if name not in weights or list(weights[name].shape) != list(shape):
            raise InputError(f"the weights lack {name} of shape {tuple(shape)}; run the sweep again")
    return np.concatenate([weights[name].ravel() for name in order])
