"""Is a map from noise to data an optimal-transport map? Its Jacobian knows, without any sample size.

A smooth map T of R^d is optimal for the squared Euclidean cost exactly when it is the gradient of a convex function
(Brenier, 1991), so when its Jacobian J is symmetric positive semidefinite everywhere. How far J is from symmetric is

    |J - J^T|_F / (2 |J|_F):     0 for a symmetric J, 1 for an antisymmetric one (a quarter turn).

Neither norm needs J itself. With v ~ N(0, I), E|J v|^2 = |J|_F^2 and E|J v - J^T v|^2 = |J - J^T|_F^2 (Hutchinson's
estimator, 1989), and J v and J^T v are one forward and one reverse pass. Of a map of many steps, as a flow is, the
reverse pass keeps the states and the graph of one step at a time, not of all.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def antisymmetric_share(maps: Sequence[Map], z: Tensor, probes: Tensor) -> Tensor:
    """|J - J^T|_F / (2 |J|_F) of the composition of `maps` over the points z, along the directions `probes`.

    maps: the first is applied first; each takes (..., n, d) to (..., n, d), each row by itself. z: (..., n, d). probes:
    (p, ..., n, d), standard normal. Both norms are averaged over points and probes before the quotient is taken, so
    points where the map is steep count for more. Returns (...): one number for each leading index, NaN where the map is
    constant.
    """
    states = [z.contiguous()]  # forward mode writes into it
    for map_ in maps[:-1]:
        states.append(map_(states[-1]).contiguous())
    turned, total = z.new_zeros(z.shape[:-2]), z.new_zeros(z.shape[:-2])
    for v in probes:
        forward, back = v.contiguous(), v
        for map_, x in zip(maps, states, strict=True):
            forward = torch.func.jvp(map_, (x,), (forward,))[1].contiguous()
        for map_, x in zip(reversed(maps), reversed(states), strict=True):
            back = torch.func.vjp(map_, x)[1](back)[0]  # without a name for the pull-back, which holds the whole graph
        turned += (forward - back).square().sum(dim=(-2, -1))
        total += forward.square().sum(dim=(-2, -1))
    return (turned / total).sqrt() / 2
