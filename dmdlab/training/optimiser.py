"""AdamW and SGD for an ensemble, as functions: every member with its own learning rate and its own clipping."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.optim.adamw import adamw

from dmdlab.config import StudentConfig
from dmdlab.networks import Ensemble
from dmdlab.networks.ensemble import ALIGNED

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

BLOCK = 2**16
"""Steps whose sizes are made at once: those of ten million would take a gigabyte while they are made."""


class Trained(NamedTuple):
    """Networks in training: `parameters`, and AdamW's `mean` and `square` of their gradients, each (e, P) with zeros up
    to a multiple of `ALIGNED`, so that every row starts where a GPU can read several numbers at a time, the latter two
    (e, 0) where SGD does without them; `counts` (e,), each member's own steps so far."""

    parameters: Tensor
    mean: Tensor
    square: Tensor
    counts: Tensor

    def rows(self, name: str, size: int) -> dict[str, Tensor]:
        """What a checkpoint keeps, under names that begin with `name`: without what aligns rows of `size` numbers."""
        return {f"{name}.{key}": value if key == "counts" else value[:, :size] for key, value in self._asdict().items()}

    @staticmethod
    def of(name: str, rows: Mapping[str, Tensor]) -> "Trained":
        """From what `rows` gave."""
        parameters, mean, square = (aligned(rows[f"{name}.{key}"]) for key in ("parameters", "mean", "square"))
        return Trained(parameters, mean, square, rows[f"{name}.counts"])


def warmup_then(steps: np.ndarray, warmup: int, total: int, decay: str) -> np.ndarray:
    """Learning-rate factors at `steps` (from 0), float64: linear warm-up, then 'constant' or 'cosine' to 0 at `total`.

    The cosine is the C library's, number by number: torch's own differs from it in the last digit, numpy's may, and
    records would with them.
    """
    ramp = np.minimum(1.0, (steps + 1) / warmup) if warmup else np.ones(len(steps))
    if decay == "constant":
        return ramp
    angles = math.pi * np.minimum(1.0, np.maximum(0, steps - warmup) / max(1, total - warmup))
    cosines = np.fromiter(map(math.cos, angles.tolist()), np.float64, len(steps))
    return np.asarray(ramp * 0.5 * (1 + cosines))


class EnsembleOptimiser(ABC):
    """What steps of the members of `network` go by.

    learning_rates: one per member. clip: limit on each member's own gradient norm, 0 for none. total: steps of the
    schedule; later ones keep its last learning rate. weight_decay: decoupled from the gradient, so that a step keeps 1
    less rate times weight_decay of the parameters. It holds no state: `step` maps one `Trained` to the next, each
    member's row by itself.

    in_place: use up what a step is given.
    """

    in_place = False

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
        device, rates = network.flat.device, sorted(set(learning_rates))
        self.groups = [[i for i, own in enumerate(learning_rates) if own == rate] for rate in rates]
        self.group_of = torch.tensor([rates.index(own) for own in learning_rates], device=device)
        self._rates, self._schedule = torch.tensor(rates, dtype=torch.float64), (warmup, total, decay)
        self._first, self._block = 0, self._made(0, min(total, BLOCK)).to(device)  # sizes from that step on

    @abstractmethod
    def start(self) -> Trained:
        """The network as it is now, before its first step."""

    def sizes(self, step: int, steps: int) -> Tensor:
        """Of `steps` steps from `step` on (from 0), (e, steps, numbers): the learning rate; what is kept of the
        parameters (1 less weight decay); less the rate, for AdamW with its corrections for the moments' bias; and for
        AdamW epsilon, corrected as well."""
        if not self._first <= step <= step + steps <= self._first + self._block.shape[1]:
            self._first = step - step % BLOCK
            end = max(step + steps, min(self._schedule[1], self._first + BLOCK + steps))
            self._block = self._made(self._first, end).to(self._block)
        at = step - self._first
        return self._block[:, at : at + steps][self.group_of]

    def _made(self, first: int, end: int) -> Tensor:
        """The sizes of the steps from `first` to before `end`, (rates, steps, numbers), on the CPU."""
        warmup, total, decay = self._schedule
        steps = np.minimum(np.arange(first, end), total - 1)
        factors = torch.tensor(warmup_then(steps, warmup, total, decay))
        return self._sizes(self._rates[:, None] * factors, first)

    @abstractmethod
    def _sizes(self, rate: Tensor, step: int) -> Tensor:
        """From rates (rates, steps) of the steps from `step` on, (rates, steps, numbers)."""

    def step(self, at: Trained, g: Tensor, size: Tensor, norms: Tensor | None = None) -> tuple[Trained, Tensor]:
        """One step down the gradient g (e, P), and each member's norm of it before clipping, (e,).

        size: of this step, (e, numbers). norms: what is clipped, (e,), where g is a part of a larger gradient. With
        `in_place`, what came in as `at` has become what is returned.
        """
        norms = g.norm(dim=1) if norms is None else norms  # (e,)
        if self.clip:
            g = g * (self.clip / norms).clamp(max=1.0).unsqueeze(1)
        return self._stepped(at, g, size), norms

    @abstractmethod
    def _stepped(self, at: Trained, g: Tensor, size: Tensor) -> Trained:
        """The step down a gradient that is clipped already."""


class EnsembleAdamW(EnsembleOptimiser):
    """AdamW (Loshchilov and Hutter 2019; betas 0.9, 0.999 as in DMD2).

    In place, on a CPU and operator by operator, it is one pass over memory instead of ten (docs/log.md). Compiled, the
    formula is one pass, too.
    """

    def start(self) -> Trained:
        rows = aligned(self.network.flat.detach())
        return Trained(rows, torch.zeros_like(rows), torch.zeros_like(rows), rows.new_zeros(len(rows)))

    def _sizes(self, rate: Tensor, step: int) -> Tensor:
        counts = torch.arange(step + 1, step + 1 + rate.shape[1], dtype=torch.float64)
        unbias1, unbias2 = 1 - BETA1**counts, (1 - BETA2**counts).sqrt()
        eps = (EPS * unbias2).expand_as(rate)
        return torch.stack((rate, 1 - rate * self.weight_decay, -rate * unbias2 / unbias1, eps), dim=2).float()

    def _stepped(self, at: Trained, g: Tensor, size: Tensor) -> Trained:
        if self.in_place:
            self._by_kernel(at, g, size[:, 0])
            return at
        _, keep, rate, eps = size.split(1, dim=1)  # (e, 1)
        mean = torch.lerp(at.mean, g, 1 - BETA1)
        square = torch.addcmul(BETA2 * at.square, g, g, value=1 - BETA2)
        kept = keep * at.parameters if self.weight_decay else at.parameters
        after = torch.addcdiv(kept, rate * mean, square.sqrt().add_(eps))
        return Trained(after, mean, square, at.counts + 1)

    def _by_kernel(self, at: Trained, gradients: Tensor, rates: Tensor) -> None:
        """The same by torch's own kernel, all members with one learning rate at a time."""
        for own in self.groups:
            flat, g, mean, square, counts = ([rows[i] for i in own] for rows in (at[0], gradients, *at[1:]))
            adamw(
                *(flat, g, mean, square, [], counts),
                fused=True,
                amsgrad=False,
                beta1=BETA1,
                beta2=BETA2,
                lr=rates[own[0]],
                weight_decay=self.weight_decay,
                eps=EPS,
                maximize=False,
            )


class EnsembleSGD(EnsembleOptimiser):
    """Gradient descent without momentum: theta - rate g, of the decayed theta. Its steps shrink with the gradient,
    where AdamW's do not."""

    def start(self) -> Trained:
        rows = aligned(self.network.flat.detach())
        none = rows.new_zeros(len(rows), 0)
        return Trained(rows, none, none.clone(), rows.new_zeros(len(rows)))

    def _sizes(self, rate: Tensor, step: int) -> Tensor:
        return torch.stack((rate, 1 - rate * self.weight_decay, -rate), dim=2).float()

    def _stepped(self, at: Trained, g: Tensor, size: Tensor) -> Trained:
        _, keep, rate = size.split(1, dim=1)  # (e, 1)
        if self.in_place:
            if self.weight_decay:
                at.parameters.mul_(keep)
            at.parameters.addcmul_(rate, g)
            at.counts.add_(1)
            return at
        kept = keep * at.parameters if self.weight_decay else at.parameters
        return Trained(torch.addcmul(kept, rate, g), at.mean.clone(), at.square.clone(), at.counts + 1)


OPTIMISERS: dict[str, type[EnsembleOptimiser]] = {"adamw": EnsembleAdamW, "sgd": EnsembleSGD}
"""By the name that `student.optimiser` and `fake_score.optimiser` have for them."""


def optimiser_of(
    kind: str, network: Ensemble, rates: Sequence[float], config: StudentConfig, total: int, warmup: int
) -> EnsembleOptimiser:
    """That of a network in a distillation: all share the student's decay of the rate, its weight decay and its clip.

    kind: of `OPTIMISERS`. rates: each member's own. total, warmup: steps of this network.
    """
    return OPTIMISERS[kind](
        network,
        rates,
        total=total,
        warmup=warmup,
        decay=config.decay,
        weight_decay=config.weight_decay,
        clip=config.clip,
    )


def aligned(rows: Tensor) -> Tensor:
    """A copy of rows (e, P) with zeros behind them up to a multiple of `ALIGNED`."""
    return pad(rows, (0, -rows.shape[1] % ALIGNED)).clone(memory_format=torch.contiguous_format)


def gradient(loss: Tensor, leaves: Sequence[Tensor]) -> Tensor:
    """d loss / d `leaves`, which `Ensemble.holding` gave, a row a member as in `Trained`; `loss` (e,) is each member's
    own, and their sum is differentiated."""
    return _rows(torch.autograd.grad(loss.sum(), leaves))


def gradients(loss: Tensor, leaves: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    """The same for several networks at once, by name."""
    found = iter(torch.autograd.grad(loss.sum(), [leaf for own in leaves.values() for leaf in own]))
    return {name: _rows([next(found) for _ in own]) for name, own in leaves.items()}


def gradient_through(outputs: Sequence[tuple[Tensor, Tensor]], leaves: Sequence[Tensor]) -> Tensor:
    """The same of a loss whose gradients at some outputs are known already: pairs of an output and its gradient."""
    return _rows(torch.autograd.grad([x for x, _ in outputs], leaves, [g for _, g in outputs]))


def _rows(gradients: Sequence[Tensor]) -> Tensor:
    parts = [part.flatten(1) for part in gradients]
    unused = -sum(part.shape[1] for part in parts) % ALIGNED
    return torch.cat([*parts, parts[0].new_zeros(len(parts[0]), unused)] if unused else parts, dim=1)
