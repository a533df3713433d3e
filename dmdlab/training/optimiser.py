"""AdamW for an ensemble: one fused call steps every member, with its own learning rate and its own clipping."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmdlab.networks import Ensemble


def warmup_then(step: int, warmup: int, total: int, decay: str) -> float:
    """Learning-rate factor at `step` (from 0): linear warm-up, then 'constant' or 'cosine' to 0 at `total`."""
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if decay == "constant":
        return ramp
    done = min(1.0, max(0, step - warmup) / max(1, total - warmup))
    return ramp * 0.5 * (1 + math.cos(math.pi * done))


class EnsembleAdamW:
    """AdamW (Loshchilov and Hutter 2019; betas 0.9, 0.999 as in DMD2) on the rows of `network.flat`.

    learning_rates: one per member. clip: limit on each member's own gradient norm, 0 for none. The update is
    elementwise, so a member's step does not depend on the others; members of equal rate share a parameter group.
    """

    def __init__(
        self,
        network: Ensemble,
        learning_rates: Sequence[float],
        *,
        total: int,
        weight_decay: float = 0.0,
        clip: float = 0.0,
        warmup: int = 0,
        decay: str = "constant",
    ) -> None:
        self.network, self.clip, self.warmup, self.total, self.decay = network, clip, warmup, total, decay
        self.gradient = torch.zeros_like(network.flat)  # (e, P)
        rows = [nn.Parameter(row) for row in network.flat]
        for row, gradient in zip(rows, self.gradient, strict=True):
            row.grad = gradient
        self.rates = sorted(set(learning_rates))
        groups = [
            {
                "params": [row for row, own in zip(rows, learning_rates, strict=True) if own == rate],
                "lr": rate,
            }
            for rate in self.rates
        ]
        self.adamw = torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)
        self.steps = 0

    def step(self, loss: Tensor) -> Tensor:
        """One step down `loss` (e,), each member's own; returns each member's gradient norm before clipping, (e,)."""
        norms = self.network.gradient(loss, out=self.gradient).norm(dim=1)  # (e,)
        if self.clip:
            self.gradient.mul_((self.clip / norms).clamp(max=1.0).unsqueeze(1))
        factor = warmup_then(self.steps, self.warmup, self.total, self.decay)
        for group, rate in zip(self.adamw.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.adamw.step()
        self.steps += 1
        return norms
