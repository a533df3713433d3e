"""Two principal components: pairing panels for laws that no plane holds.

The outputs are seen in the plane of the two leading principal components of the teacher's outputs. The noise, from
which every point has its colour, is seen in the plane of those two of its directions that predict these best: for noise
z and components c of unit spread that is C = E[c z^T], a row each (z is isotropic), made orthonormal. C is fitted on
half of the rows and the other half is shown, or else a figure in many dimensions would show its own fit.
"""

import numpy as np

FIT, SHOWN = slice(0, None, 2), slice(1, None, 2)
"""Rows that the noise's directions are fitted on, and rows that are shown."""

IN_WORDS = (
    "Beyond two dimensions, outputs are seen in the plane of the two leading principal components of the teacher's "
    "outputs, and noise z in the plane of the two orthonormal directions that best predict these components c, each at "
    "unit spread (the polar factor of E[c z^T], fitted on every second row; the other rows are shown; r: the "
    "correlation of each component with its direction over the rows shown). Colours mean little where r is small. "
)


def principal_frame(teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two leading principal components of the outputs (n, d), as columns (d, 2), and their centre (d,)."""
    teacher = teacher.astype(np.float64)
    centre = teacher.mean(axis=0)
    _, _, directions = np.linalg.svd(teacher - centre, full_matrices=False)
    return directions[:2].T, centre


def noise_directions(noise: np.ndarray, components: np.ndarray) -> np.ndarray:
    """The two directions of the noise (n, d) that best predict two components (n, 2), as orthonormal columns (d, 2)."""
    spread = components.std(axis=0)
    moment = noise.astype(np.float64).T @ (components / np.where(spread > 0, spread, 1.0))  # (d, 2), n C^T
    left, _, right = np.linalg.svd(moment, full_matrices=False)
    return left @ right


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The correlation of each column of a (n, k) with that of b (n, k), (k,); 0 where one does not vary."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return (a * b).sum(axis=0) / np.where(size > 0, size, 1.0)
