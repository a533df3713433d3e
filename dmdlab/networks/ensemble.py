"""Many networks as one: every parameter has a leading member axis, and one matrix product serves all members.

The parameters of an ensemble are views of one matrix `flat` (e, P), a row a member. So gradients fit one matrix too,
clipping is a row norm, an optimiser sees one tensor a member, and copying, reordering or selecting members is indexing
rows. Members never mix: what happens in one row, a NaN included, stays there.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dmdlab.config import InputError, Section
from dmdlab.device.precision import full_precision

ALIGNED = 8
"""Tensor cores want rows of so many numbers at least; a product of other sizes falls back to far slower kernels."""


class EnsembleLinear(nn.Module):
    """e affine (or, without bias, linear) maps side by side: x (e, n, in) -> (e, n, out)."""

    def __init__(self, members: int, inputs: int, outputs: int, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.std = gain / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.zeros(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda and (x.shape[-1] % ALIGNED or self.weight.shape[-1] % ALIGNED):
            return aligned_product(x, self.weight, self.bias)
        return product(x, self.weight, self.bias)  # (e, n, out)

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator]) -> None:
        """Member i's weights, N(0, gain^2 / inputs), and zero biases, from generators[i] alone."""
        if self.bias is not None:
            self.bias.zero_()
        for weight, g in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=g) * self.std)


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (e, n, in) times weight (e, in, out), plus bias (e, 1, out)."""
    if bias is None:
        return torch.bmm(x, weight)
    if x.is_cuda:  # where baddbmm would write the bias to all rows first; apart, it can join what follows
        return torch.bmm(x, weight).add_(bias)
    return torch.baddbmm(bias, x, weight)


def aligned_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`product` on copies padded with zeros to multiples of `ALIGNED`."""
    inner, outer = -x.shape[-1] % ALIGNED, -weight.shape[-1] % ALIGNED
    wide = None if bias is None else pad(bias, (0, outer))
    out = product(pad(x, (0, inner)) if inner else x, pad(weight, (0, outer, 0, inner)), wide)
    return out[..., : weight.shape[-1]] if outer else out


class ClassMap(EnsembleLinear):
    """e bias-free linear maps of the one-hot vector of a class, side by side. No label, and a label that is none of
    0 ... classes - 1, are the zero vector."""

    classes: Tensor

    def __init__(self, members: int, classes: int, outputs: int) -> None:
        # one column is taken at a time, so each is of unit size, as in EDM
        super().__init__(members, classes, outputs, gain=math.sqrt(classes), bias=False)
        self.register_buffer("classes", torch.arange(classes), persistent=False)

    def of(self, label: Tensor | None, like: Tensor) -> Tensor:
        """Labels (e, n), or None -> (e, n, out), in the dtype of `like` (e, n or 1, ...), and of its rows for None."""
        if label is None:  # a product with zeros and not left out, so that a loss has a gradient in all parameters
            one_hot = like.new_zeros(*like.shape[:2], len(self.classes))
        else:
            one_hot = (label.unsqueeze(2) == self.classes).to(like)  # (e, n, classes)
        return self(one_hot)


def class_map(members: int, classes: int, outputs: int) -> ClassMap | None:
    """The map of a network that is told one of so many classes; None for 0 of them."""
    return ClassMap(members, classes, outputs) if classes else None


def with_class(h: Tensor, told: ClassMap | None, label: Tensor | None) -> Tensor:
    """h (e, n or 1, width) plus what the class adds; h itself in a network that is told none.

    Raises `InputError` for a label given to such a network.
    """
    if told is not None:
        return h + told.of(label, h)
    if label is not None:
        raise InputError("this network is told no class label: set teacher.condition = true, or give no label")
    return h


def zero_rows(like: Tensor) -> Tensor:
    """Zeros of the shape (e, P) and on the device of `like`, every row starting at a multiple of `ALIGNED`: only from
    such places a GPU reads, and multiplies, several numbers at a time."""
    members, numbers = like.shape
    return torch.zeros(members, -(-numbers // ALIGNED) * ALIGNED, device=like.device)[:, :numbers]


class Ensemble(nn.Module):
    """A network with a leading member axis on every parameter; subclasses define the architecture.

    A subclass is made by (members, law, settings, classes), classes being the number of class labels that it can be
    told, 0 for none; it names the model of its settings `Settings`, calls `flatten_parameters()` at the end of its
    `__init__` and maps x (e, n, d), c_noise (e, n, 1), or (e, 1, 1) where all rows have one level, and class labels
    (e, n), or None, to (e, n, d). Its layers draw their own weights (`initialise`). One that is linear, or affine, in x
    says so, and one that does not train faster when it is compiled. One that has features for a head of its own maps
    the same inputs to them, (e, n, *feature_shape).
    """

    Settings: ClassVar[type[Section]]
    linear: ClassVar[bool] = False
    gains_by_compiling: ClassVar[bool] = True
    flat: Tensor
    feature_shape: tuple[int, ...]

    def flatten_parameters(self) -> None:
        """Move all parameters into one (e, P) matrix, of which they become views."""
        self._adopt(torch.cat([p.detach().flatten(1) for p in self.parameters()], dim=1))

    def _adopt(self, values: Tensor) -> None:
        flat = self.flat = zero_rows(values).copy_(values)
        start = 0
        for p in self.parameters():
            stop = start + p.shape[1:].numel()
            p.data = flat[:, start:stop].view(p.shape)
            start = stop

    @contextmanager
    def holding(self, rows: Tensor, trained: bool = False) -> Iterator[list[Tensor]]:
        """Within it the network computes with parameters `rows` (m, at least P), of any number of members.

        Yields its parameters, (m, ...) each and in the order of the row, as what a loss is differentiated by; `trained`
        says whether it will be.
        """
        places = [(m, name, p) for m in self.modules() for name, p in m._parameters.items() if p is not None]
        own = [p for *_, p in places]
        parts = rows.detach()[:, : self.flat.shape[1]].split([p.shape[1:].numel() for p in own], dim=1)
        held = [part.reshape(-1, *p.shape[1:]).requires_grad_(trained) for part, p in zip(parts, own, strict=True)]
        for (module, name, _), tensor in zip(places, held, strict=True):
            module._parameters[name] = tensor  # as torch.func.functional_call does, at a tenth of its time
        try:
            yield held
        finally:
            for module, name, p in places:
                module._parameters[name] = p

    @property
    def members(self) -> int:
        """e, the number of networks."""
        return self.flat.shape[0]

    def features(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        """What a head reads, (e, n, *feature_shape); inputs as of the network itself."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def ways(self) -> dict[str, str]:
        """How it computes where that is a choice, by name, for the record."""
        return {}

    def initialise(self, generators: Sequence[torch.Generator]) -> "Ensemble":
        """Let every layer that has a `draw` draw member i's weights from generators[i] alone (CPU), in their order."""
        for module in self.modules():
            if callable(draw := getattr(module, "draw", None)):
                draw(generators)
        return self

    @torch.no_grad()
    def load_rows(self, rows: Tensor) -> "Ensemble":
        """Set all parameters from a matrix (e, at least P), as `flat` of another ensemble of this shape gives it."""
        self.flat.copy_(rows[:, : self.flat.shape[1]])
        return self

    def to_device(self, device: torch.device | str) -> "Ensemble":
        """Move parameters and buffers; parameters stay views of `flat`. On a GPU see `full_precision`, too."""
        if torch.device(device).type == "cuda":
            full_precision()
        if self.flat.device == torch.device(device):
            return self
        flat = self.flat.to(device)
        self.to(device)
        self._adopt(flat)
        return self

    def member_state(self, index: int) -> dict[str, Tensor]:
        """One member's parameters by name, without the member axis, contiguous on the CPU."""
        return {name: p[index].detach().cpu().clone().contiguous() for name, p in self.named_parameters()}
