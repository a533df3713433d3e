"""The networks of finished runs, as arrays: no torch is needed to read them."""

from pathlib import Path

import numpy as np

from dmdlab.records.kept_arrays import whole


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name. Raises `InputError` for a lost or damaged one."""
    from safetensors.numpy import load

    with whole(path):
        return dict(load(path.read_bytes()))
