"""Somebody's own teacher as a law: a denoiser that is there in this process, and data that it stands for.

A callable cannot be written into a configuration. So it is registered (`register`) and named by a digest of what it
answers to fixed questions; a law of that digest can be made as often as wanted in the same process, and in no other.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.laws.checks import checked
from dmdlab.laws.law import Law, Part

Answer = Callable[[Tensor, Tensor], Tensor]
"""x_sigma (n, *shape) and sigma (n, 1, ...), of as many axes -> D(x_sigma, sigma), (n, *shape)."""

SHARES = {"train": (0.0, 0.5), "reference": (0.5, 0.75), "measure": (0.75, 1.0)}
"""The parts of the data, disjoint, as shares of its rows."""

ASKED = (0.1, 1.0, 10.0)
"""Levels at which a denoiser is tried, in units of sigma_data."""

ROWS = 8
"""Points at each of them."""

ALIKE = 1e-4
"""How far an answer may move with the rows beside it, in units of sigma_data: larger products round otherwise."""


@dataclass(frozen=True)
class Held:
    """A registered denoiser, its points' shape and scale, and data (m, d)."""

    answer: Answer
    shape: tuple[int, ...]
    sigma_data: float
    data: Tensor


_HELD: dict[str, Held] = {}


class Registered(Law):
    """The law of a registered denoiser: `denoise` is that one, samples are rows of its data.

    Args:
        dim: d, the product of its points' shape.
        digest: of the denoiser, as `register` returned it.

    Raises:
        InputError: no denoiser of this digest is registered in this process, or `dim` is not its d.
    """

    name = "registered"
    summary = "a denoiser of one's own, registered in this process (`dmdlab.lab.distil`)"

    data: Tensor

    @checked
    def __init__(self, *, dim: int, digest: str = "") -> None:
        super().__init__(dim)
        if digest not in _HELD:
            raise InputError(
                f"law.digest is {digest!r}, but no denoiser of that digest is registered in this process: a callable "
                "cannot be kept in a file, so call dmdlab.lab.distil.distil with it again"
            )
        self.held, self.digest = _HELD[digest], digest
        own = self.held.data.shape[1]
        if dim != own:
            raise InputError(f"law.dim is {dim}, but the points of this denoiser have {own} numbers")
        self.intrinsic_dim, self.sigma_data = dim, self.held.sigma_data
        self._keep(data=self.held.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one point, as the denoiser takes it."""
        return self.held.shape

    def available(self, part: Part) -> int:
        start, stop = _rows(part, len(self.data))
        return stop - start

    def _draw_from(self, part: Part, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        start, stop = _rows(part, len(self.data))
        if part == "train":
            rows = torch.randint(start, stop, (n,), generator=generator, device=generator.device)
        elif n > stop - start:
            raise InputError(f"law.registered: {n} points wanted of the part {part!r}, which holds {stop - start}")
        else:
            rows = start + torch.randperm(stop - start, generator=generator, device=generator.device)[:n]
        return self.data[rows.to(self.data.device)].to(generator.device), None

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        points = x.reshape(-1, *self.shape).float()
        levels = sigma.expand(*x.shape[:-1], 1).reshape(-1, *(1 for _ in self.shape)).float()
        return self.held.answer(points, levels).reshape(x.shape).to(x)


def register(answer: Answer, shape: tuple[int, ...], sigma_data: float, data: Tensor) -> str:
    """Check a denoiser and keep it for as long as the process lives; returns its digest.

    Args:
        answer: D(x_sigma, sigma) on the data's device, float32; must give each row the same whatever stands beside it.
        shape: of one point.
        sigma_data: root-mean-square deviation of the data from its mean, over all numbers.
        data: (m, *shape) or (m, d), what the denoiser was trained on or drawn from it; m >= 8.

    Raises:
        InputError: data of another shape, or not finite; a sigma_data that is not above 0; an answer that is of another
            shape or kind, not finite, different when asked again (dropout?) or for a row alone (batch norm?), or that
            cannot be differentiated.
    """
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))  # files come sorted by class
    flat = data.reshape(len(data), -1).float()[order.to(data.device)]
    d = flat.shape[1]
    if len(data) < ROWS or tuple(data.shape[1:]) not in (shape, (d,)) or d != torch.Size(shape).numel():
        raise InputError(f"data has shape {tuple(data.shape)}; expected {ROWS} or more points of shape {shape}")
    if not flat.isfinite().all():
        raise InputError("data holds NaN or infinity; expected finite numbers")
    if not 0 < sigma_data < float("inf"):
        raise InputError(f"sigma_data is {sigma_data}; expected the data's spread, a number above 0")
    g, found = torch.Generator().manual_seed(0), []
    for level in ASKED:
        eps = torch.randn(ROWS, *shape, generator=g).to(flat.device)
        x = flat[:ROWS].reshape(ROWS, *shape) + level * sigma_data * eps
        sigma = torch.full((ROWS, *(1 for _ in shape)), level * sigma_data, device=flat.device)
        found.append(_asked(answer, x, sigma, sigma_data))
    _differentiated(answer, x, sigma)
    known = hashlib.sha256(repr((shape, float(sigma_data))).encode())
    for part in (flat, *found):
        known.update(part.cpu().numpy().tobytes())
    digest = known.hexdigest()[:10]
    _HELD[digest] = Held(answer, shape, float(sigma_data), flat)
    return digest


@torch.no_grad()
def _asked(answer: Answer, x: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    """The answer, after its checks."""
    first, again = answer(x, sigma), answer(x, sigma)
    if not isinstance(first, Tensor) or first.shape != x.shape or not first.is_floating_point():
        got = f"{tuple(first.shape)} of {first.dtype}" if isinstance(first, Tensor) else type(first).__name__
        raise InputError(
            f"the denoiser answered {got} to points {tuple(x.shape)} and levels {tuple(sigma.shape)}; expected "
            "D(x_sigma, sigma), floats of the points' shape"
        )
    if not first.isfinite().all():
        raise InputError(f"the denoiser answers NaN or infinity at sigma = {sigma.flatten()[0]:g}")
    if not torch.equal(first, again):
        raise InputError(
            "the denoiser answers differently when asked again, so its flow defines no pairing; switch off what draws "
            "random numbers in it (dropout: call eval())"
        )
    alone = torch.cat([answer(x[i : i + 1], sigma[i : i + 1]) for i in range(len(x))])
    if (alone - first).abs().max() > ALIKE * sigma_data * max(1.0, float(first.abs().max()) / sigma_data):
        raise InputError(
            "the denoiser's answer to a point depends on the points beside it (batch norm: call eval()); a pairing is "
            "a map of single points"
        )
    return first


def _differentiated(answer: Answer, x: Tensor, sigma: Tensor) -> None:
    """Raise InputError where the answer has no derivatives: local measures take both, J v and v J."""
    at = x.clone().requires_grad_()
    try:
        forward = answer(at, sigma)
        (backward,) = torch.autograd.grad(forward.sum(), at)
        along = torch.func.jvp(lambda part: answer(part, sigma), (x,), (torch.ones_like(x),))[1]
        sound = bool(backward.isfinite().all() and along.isfinite().all())
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(
            "the denoiser cannot be differentiated in its points, forward and backward, as the local measures do: take "
            f"no_grad, detach and numpy out of it ({str(error).strip().splitlines()[0]})"
        ) from None
    if not sound:
        raise InputError("the denoiser's derivatives are not finite; expected a smooth function of its points")


def _rows(part: Part, m: int) -> tuple[int, int]:
    """From which row to which a part has its data."""
    if part not in SHARES:
        raise InputError(f"part is {part!r}, expected one of {', '.join(SHARES)}")
    start, stop = SHARES[part]
    return round(start * m), round(stop * m)
