"""Is a map from noise to data an optimal-transport map? Its Jacobian knows, without any sample size.

A smooth map T of R^d is optimal for the squared Euclidean cost exactly when it is the gradient of a convex function
(Brenier, 1991), so when its Jacobian J is symmetric positive semidefinite everywhere. How far J is from symmetric is

    |J - J^T|_F / (2 |J|_F):     0 for a symmetric J, 1 for an antisymmetric one (a quarter turn).

Neither norm needs J itself. With v ~ N(0, I), E|J v|^2 = |J|_F^2 and E|J v - J^T v|^2 = |J - J^T|_F^2 (Hutchinson's
estimator, 1989), and J v and J^T v are one forward and one reverse pass.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def antisymmetric_share(map_: Map, z: Tensor, probes: Tensor) -> Tensor:
    """|J - J^T|_F / (2 |J|_F) of `map_` over the points z, along the directions `probes`.

    map_: takes (..., n, d) to (..., n, d), each row by itself. z: (..., n, d). probes: (p, ..., n, d), standard normal.
    Both norms are averaged over points and probes before the quotient is taken, so points where the map is steep count
    for more. Returns (...): one number for each leading index, NaN where the map is constant.
    """
    z = z.contiguous()  # forward mode writes into it
    turned, total = z.new_zeros(z.shape[:-2]), z.new_zeros(z.shape[:-2])
    for v in probes:
        forward = torch.func.jvp(map_, (z,), (v.contiguous(),))[1]
        back = torch.func.vjp(map_, z)[1](v)[0]  # without a name for the pull-back, which holds the whole graph
        turned += (forward - back).square().sum(dim=(-2, -1))
        total += forward.square().sum(dim=(-2, -1))
    return (turned / total).sqrt() / 2
