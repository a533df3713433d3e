"""A small network that reads another's features and says one number: the head of a GAN."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, silu

from dmdlab.networks.ensemble import Ensemble, EnsembleLinear
from dmdlab.networks.unet_blocks import Convolution, GroupNorm, by_member


class Head(Ensemble):
    """e heads side by side: features (e, n, *shape) -> a logit (e, n).

    Of vectors (width,): linear, norm, SiLU, linear. Of pictures (c, h, w): 3 x 3 convolution, group norm, SiLU, and a
    linear map of all places, in which DMD2 (arXiv 2405.14867) has two strided convolutions that end at one place.
    """

    def __init__(self, members: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.of_pictures, numbers = len(shape) == 3, torch.Size(shape).numel()
        self.enter = (
            Convolution(members, shape[0], shape[0]) if self.of_pictures else EnsembleLinear(members, numbers, numbers)
        )
        self.norm = GroupNorm(members, shape[0]) if self.of_pictures else None
        self.out = EnsembleLinear(members, numbers, 1)
        self.flatten_parameters()

    def forward(self, features: Tensor) -> Tensor:
        if self.norm is None:
            h = self.enter(features)
            h = layer_norm(h, h.shape[-1:])
        else:
            h = self.norm(self.enter(features.transpose(0, 1).flatten(1, 2)))
            h = by_member(h, len(features)).transpose(0, 1)
        return self.out(silu(h).flatten(2)).squeeze(2)
