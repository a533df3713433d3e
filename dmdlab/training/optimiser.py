"""AdamW for an ensemble: one fused call steps every member, with its own learning rate and its own clipping."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from dmdlab.device.fusing import fused, is_fusing
from dmdlab.networks import Ensemble

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def warmup_then(step: int, warmup: int, total: int, decay: str) -> float:
    """Learning-rate factor at `step` (from 0): linear warm-up, then 'constant' or 'cosine' to 0 at `total`."""
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if decay == "constant":
        return ramp
    done = min(1.0, max(0, step - warmup) / max(1, total - warmup))
    return ramp * 0.5 * (1 + math.cos(math.pi * done))


class EnsembleAdamW:
    """AdamW (Loshchilov and Hutter 2019; betas 0.9, 0.999 as in DMD2) on the rows of `network.flat`.

    learning_rates: one per member. clip: limit on each member's own gradient norm, 0 for none. total: steps of the
    schedule; later ones keep its last learning rate. The update is elementwise, so a member's step does not depend on
    the others. All that changes from step to step is on the device, learning rates included: a captured step
    (`dmdlab.device.capture`) must not bake one in.
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
        self.network, self.clip, self.weight_decay = network, clip, weight_decay
        device = network.flat.device
        self.capturable = device.type == "cuda"
        self.gradient, self.mean, self.square = (network.zeros() for _ in range(3))  # (e, P)
        self.counts = torch.zeros(network.members, device=device)  # each row's own step count, AdamW's
        self.rates = sorted(set(learning_rates))
        self.groups = [[i for i, own in enumerate(learning_rates) if own == rate] for rate in self.rates]
        self.group_of = torch.tensor([self.rates.index(own) for own in learning_rates], device=device)
        factors = torch.tensor([warmup_then(i, warmup, total, decay) for i in range(total)], dtype=torch.float64)
        table = torch.tensor(self.rates, dtype=torch.float64)[:, None] * factors
        self.schedule = table.to(device, torch.float32 if self.capturable else torch.float64)  # (groups, total)
        self.now = torch.zeros_like(self.schedule[:, :1])  # (groups, 1), what torch's kernels take on each device
        self.at = torch.zeros(1, dtype=torch.int64, device=device)

    def step(self, loss: Tensor) -> Tensor:
        """One step down `loss` (e,), each member's own; returns each member's gradient norm before clipping, (e,)."""
        norms = self.network.gradient(loss, out=self.gradient).norm(dim=1)  # (e,)
        scale = (self.clip / norms).clamp(max=1.0).unsqueeze(1) if self.clip else None  # (e, 1)
        torch.index_select(self.schedule, 1, self.at.clamp(max=self.schedule.shape[1] - 1), out=self.now)
        if is_fusing():
            self.counts += 1
            rates = self.now[self.group_of]  # (e, 1)
            states = (self.network.flat, self.gradient, self.mean, self.square)
            _fused_step(*states, scale, rates, 1 - rates * self.weight_decay, self.counts.unsqueeze(1))
        else:
            if scale is not None:
                self.gradient.mul_(scale)
            self._step_rows()
        self.at += 1
        return norms

    def _step_rows(self) -> None:
        """torch's own fused step, on each group of rows that share a learning rate."""
        rows = [t.unbind() for t in (self.network.flat, self.gradient, self.mean, self.square, self.counts)]
        for group, rate in zip(self.groups, self.now, strict=True):
            flat, gradient, mean, square, counts = ([all_[i] for i in group] for all_ in rows)
            adamw(
                *(flat, gradient, mean, square, [], counts),
                fused=True,
                capturable=self.capturable,
                amsgrad=False,
                beta1=BETA1,
                beta2=BETA2,
                lr=rate,
                weight_decay=self.weight_decay,
                eps=EPS,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """What a later run needs to go on, members first: the parameters and AdamW's own; `counts` tells the schedule's
        place, too."""
        flat = self.network.flat.detach()
        return {"parameters": flat, "mean": self.mean, "square": self.square, "counts": self.counts}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state` was taken."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.at.fill_(int(state["counts"][0]))


@fused
def _fused_step(
    flat: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    scale: Tensor | None,
    rates: Tensor,
    keep: Tensor,
    counts: Tensor,
) -> None:
    """AdamW on matrices (e, P) in place, clipping included: one pass over them. scale, rates, keep, counts: (e, 1)."""
    if scale is not None:
        gradient = gradient * scale
    mean.copy_(torch.lerp(mean, gradient, 1 - BETA1))
    square.copy_(BETA2 * square + (1 - BETA2) * gradient.square())
    root = (square / (1 - BETA2**counts)).sqrt() + EPS
    flat.copy_(keep * flat - rates / (1 - BETA1**counts) * mean / root)
