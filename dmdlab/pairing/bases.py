"""Random rotations by a known angle: turn every vector by theta in floor(d/2) random planes.

In an orthonormal basis B the rotation turns each pair of consecutive coordinates by theta; the last one rests when d is
odd: `R_theta = B^T (turn by theta) B`, which is cos(theta) I + sin(theta) R with R^T = -R for even d. Up to d = 255
the basis is Haar distributed, a dense matrix. From there on a (d, d) matrix and its QR in O(d^3) would be the largest
things in a calibration, so the basis is a product that is never written out, O(d log d) to apply to a vector:
B = P H S, with S random signs, P a random permutation and H the discrete Hartley transform. Every axis of it is spread
over all coordinates, and the signs leave no direction of the data special (the "fast Johnson-Lindenstrauss" recipe:
Ailon and Chazelle, SIAM J. Comput. 39, 2009).
"""

from dataclasses import dataclass

import numpy as np

from dmdlab.config import InputError

STRUCTURED_FROM = 256
"""Dimension from which on a basis is a fast transform: below, a dense one costs nothing (ours)."""


@dataclass(frozen=True, eq=False)
class DenseBasis:
    """A Haar distributed basis; `axes` (d, d) has them as columns."""

    axes: np.ndarray

    @staticmethod
    def draw(d: int, generator: np.random.Generator) -> "DenseBasis":
        """QR of a Gaussian matrix with positive diagonal (Mezzadri, Notices of the AMS 54, 2007)."""
        q, r = np.linalg.qr(generator.standard_normal((d, d)))
        return DenseBasis(q * np.where(np.diag(r) < 0, -1.0, 1.0))

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """B z for each row of z (n, d)."""
        return z @ self.axes

    def vectors(self, w: np.ndarray) -> np.ndarray:
        """B^T w for each row of w (n, d)."""
        return w @ self.axes.T


@dataclass(frozen=True, eq=False)
class FastBasis:
    """B = P H S: random `signs` (d,), the Hartley transform, and a random `order` (d,) of its coefficients."""

    signs: np.ndarray
    order: np.ndarray

    @staticmethod
    def draw(d: int, generator: np.random.Generator) -> "FastBasis":
        """Signs and order from the generator: 2 d numbers."""
        return FastBasis(generator.choice([-1.0, 1.0], size=d), generator.permutation(d))

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """B z for each row of z (n, d)."""
        return hartley(z * self.signs)[:, self.order]

    def vectors(self, w: np.ndarray) -> np.ndarray:
        """B^T w for each row of w (n, d)."""
        unordered = np.empty_like(w)
        unordered[:, self.order] = w
        return hartley(unordered) * self.signs


def hartley(x: np.ndarray) -> np.ndarray:
    """The discrete Hartley transform of each row of x (n, d), in float64: (Re F x - Im F x) / sqrt(d), F Fourier's.

    Real, symmetric, orthogonal, and so its own inverse, for every d (Bracewell, JOSA 73, 1983).
    """
    d = x.shape[1]
    f = np.fft.rfft(np.asarray(x, np.float64))  # (n, d // 2 + 1), the other half is its mirrored conjugate
    return np.concatenate([f.real - f.imag, (f.real + f.imag)[:, d - f.shape[1] : 0 : -1]], axis=1) / np.sqrt(d)


def random_basis(d: int, generator: np.random.Generator) -> DenseBasis | FastBasis:
    """A random orthonormal basis of R^d: dense below `STRUCTURED_FROM`, fast from there on."""
    return (DenseBasis if d < STRUCTURED_FROM else FastBasis).draw(d, generator)


def turned(z: np.ndarray, basis: DenseBasis | FastBasis, theta_degrees: float) -> np.ndarray:
    """R_theta z for each row of z (n, d), in the dtype of z; the last axis of the basis rests when d is odd."""
    if theta_degrees == 0.0:  # the same numbers, not their rounding through the basis
        return z.copy()
    d = z.shape[1]
    w = basis.coordinates(z.astype(np.float64))
    first, second = w[:, 0 : d - 1 : 2].copy(), w[:, 1:d:2].copy()
    cos, sin = np.cos(np.radians(theta_degrees)), np.sin(np.radians(theta_degrees))
    w[:, 0 : d - 1 : 2], w[:, 1:d:2] = cos * first - sin * second, sin * first + cos * second
    return basis.vectors(w).astype(z.dtype)


def planted_rotation(d: int, theta_degrees: float, generator: np.random.Generator) -> np.ndarray:
    """An orthogonal matrix (d, d) that turns by `theta_degrees` in floor(d/2) planes of a random basis.

    Its trace is 2 floor(d/2) cos(theta) + (d mod 2): the last axis rests when d is odd, and d = 1 has no plane.

    Raises:
        InputError: d < 1.
    """
    if d < 1:
        raise InputError(f"a rotation needs d >= 1, got {d}.")
    return turned(np.eye(d), random_basis(d, generator), theta_degrees).T
