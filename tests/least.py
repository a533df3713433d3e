"""The least that a configuration must say of each law of the catalogue, to build it small."""

from pathlib import Path

import numpy as np
import pytest

from dmdlab.laws import LAWS


def least(name: str, folder: Path, dim: int = 4) -> dict[str, object]:
    """`{"name": ..., ...}` of a law in R^dim, or of pictures of side 4; what it reads is written to `folder`. Skips the
    test where the law needs a package that is not installed."""
    if name == "digits":
        pytest.importorskip("sklearn", reason="the extra 'digits' is not installed")
    spec: dict[str, object] = {"name": name} | ({"dim": dim} if not sets_its_dim(name) else {"side": 4})
    points = np.random.default_rng(0).standard_normal((12, dim))
    if name == "empirical":
        np.save(folder / "points.npy", points)
        spec["path"] = str(folder / "points.npy")
    if name == "images":
        np.save(folder / "pictures.npy", np.random.default_rng(0).random((90, 4, 4)))
        spec["path"] = str(folder / "pictures.npy")
    return spec


def sets_its_dim(name: str) -> bool:
    """Whether it is a law of pictures, whose side and channels set its dimension."""
    return LAWS[name].min_dim == 16
