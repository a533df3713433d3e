"""What a law is: a distribution on R^d that can be sampled and, once noised, denoised exactly.

Noising is variance-exploding: x_sigma = x0 + sigma eps with eps ~ N(0, I_d) (Karras et al. 2022, Sec. 2). Of
the noised law p_sigma a law knows two things, tied by Tweedie's formula (Efron 2011, Eq. 1.4):

    log_density(x_sigma, sigma) = log p_sigma(x_sigma)                                             (1)
    denoise(x_sigma, sigma)     = E[x0 | x_sigma] = x_sigma + sigma^2 grad log p_sigma(x_sigma)    (2)

**Scale, once for all laws.** A law that fills R^d (gaussian, mixture, cube, sphere) has mean 0 and average variance
scale^2 per coordinate: trace cov = d scale^2, at every d. A planar law (ring, chessboard, moons, spiral) has mean 0 and
its own coordinates in the plane times scale, whatever d is, so its `sigma_data` falls as 1 / sqrt(d). An empirical law
has the coordinates of its points times scale. Every other length that a constructor takes (std, radius, thickness) is a
multiple of scale. A `thickness` is noise *around* the law: it adds to these variances.

**Parts.** Data from a file is split once, by the law's seed, into three disjoint `PARTS`: to train on, to refer to and
to measure with. `sample` takes from the first unless told another; a law that never runs out draws all three alike.

**Precision.** The tensors of a law are float64 (the points of an empirical law float32) and are cast to what
a formula needs: `.to(device)` is all that a user calls. Samples are float32. `denoise` returns the dtype of
its input and is meant for sigma from 0.002 to 1000 at any d up to 4096. TF32 and autocast are off within it.
"""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.device.precision import arithmetic

Part = Literal["train", "reference", "measure"]
PARTS: tuple[Part, ...] = get_args(Part)


class Law(torch.nn.Module):
    """A distribution on R^d with its exact denoiser; a child implements `_draw`, `_denoise`, `_log_density`.

    The constructor of every law raises an InputError for parameters that are out of their range (`checks.checked`).

    Attributes:
        name: the law's name in the catalogue.
        summary: one line on what it is.
        min_dim: the smallest d for which it exists.
        dim: d, the ambient dimension.
        shape: of one point before it was flattened: (d,), or (channels, height, width) of a picture.
        intrinsic_dim: k, the dimension of the set that the law fills, not counting isotropic noise around it.
        sigma_data: sqrt(trace cov / d), the sigma_data of EDM preconditioning.
        has_denoiser: whether `denoise` has a closed form.
        has_class_denoiser: whether `denoise` has one given a label, too.
        has_density: whether `log_density` has one.
        classes: the number of class labels, 0 if the law has none.
        digest: ten hex digits of the files that it was read from; None for a law of no files.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    min_dim: ClassVar[int] = 1
    python_only: ClassVar[frozenset[str]] = frozenset()
    """Parameters of the constructor that a config file cannot hold, such as arrays."""

    intrinsic_dim: int
    sigma_data: float
    has_denoiser: bool = True
    has_class_denoiser: bool = False
    classes: int = 0
    digest: str | None = None

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < self.min_dim:
            raise InputError(
                f"law.dim is {dim}, but the law {self.name!r} needs at least {self.min_dim}: "
                f"set law.dim to {self.min_dim} or more"
            )
        self.dim = dim

    def _keep(self, **tensors: Tensor | None) -> None:
        """Buffers that move with the law; a law is made from its config, so it adds nothing to a checkpoint."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """(d,); a law of pictures says (channels, height, width), whose product is d."""
        return (self.dim,)

    def sample(self, n: int, generator: torch.Generator, part: Part = "train") -> Tensor:
        """Draw n points (n, d), float32, on the generator's device: independent ones, but for a law of few pictures in
        another part than "train", where no picture comes twice.

        Raises:
            InputError: there is no such part, or it holds fewer points than it is to give (`available`).
        """
        return self._draw_from(part, n, generator)[0]

    def sample_labelled(self, n: int, generator: torch.Generator, part: Part = "train") -> tuple[Tensor, Tensor]:
        """The points (n, d) that `sample` draws from the same generator, and their class labels (n,), int64.

        Raises:
            InputError: as for `sample`.
            NotImplementedError: the law has no natural classes (`classes` is 0).
        """
        x, labels = self._draw_from(part, n, generator)
        if labels is None:
            raise NotImplementedError(f"the law {self.name!r} has no class labels: draw from it with sample()")
        return x, labels

    def class_shares(self) -> Tensor:
        """How often each class comes among what is trained on, (classes,): a child says so where it is not equally."""
        return torch.full((self.classes,), 1 / max(1, self.classes), dtype=torch.float64)

    def draw_labels(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n class labels (n,), int64, as those of `sample_labelled` are distributed, on the generator's device.

        Raises:
            NotImplementedError: the law has no classes.
        """
        if not self.classes:
            raise NotImplementedError(f"the law {self.name!r} has no class labels")
        shares = self.class_shares().to(generator.device)
        return torch.multinomial(shares, n, replacement=True, generator=generator)

    def training_set(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """n points to train on, as `sample` draws them, and their labels, or None. Stored pictures (files, digits) are
        n different ones; of another law with finitely many points (`Empirical`) some may come twice.

        Raises:
            InputError: fewer pictures are stored.
        """
        return self._draw_from("train", n, generator)

    def available(self, part: Part) -> int | None:
        """How many different points a part holds; None where they never end."""
        return None

    @property
    def has_density(self) -> bool:
        return type(self)._log_density is not Law._log_density

    def denoise(self, x_sigma: Tensor, sigma: float | Tensor, label: Tensor | None = None) -> Tensor:
        """E[x0 | x_sigma], Eq. (2), of noised points (..., d); returns their shape, dtype and device.

        sigma > 0 is a number, or a tensor that broadcasts against x_sigma[..., :1]; label, int64 that broadcasts
        against x_sigma[..., 0], makes it E[x0 | x_sigma, label]. It computes in its own precision whatever surrounds it
        (`dmdlab.device.precision`).

        Raises:
            InputError: x_sigma is not (..., d) of floats; sigma is a number that is not positive, or a tensor that does
                not broadcast against x_sigma[..., :1]; a label where `has_class_denoiser` is false.
        """
        dtype = torch.promote_types(x_sigma.dtype, torch.float32)
        x, level = self._noised(x_sigma, sigma, dtype)
        with arithmetic("float32", x.device):
            found = self._denoise(x, level) if label is None else self._denoise_class(x, level, label)
            return found.to(x_sigma.dtype)

    def log_density(self, x_sigma: Tensor, sigma: float | Tensor) -> Tensor:
        """log p_sigma(x_sigma) in nats, Eq. (1), of noised points (..., d): (...), in their dtype.

        Computed in float64; differentiable in both arguments.

        Raises:
            InputError: as for `denoise`.
        """
        x, level = self._noised(x_sigma, sigma, torch.float64)
        with arithmetic("float32", x.device):
            return self._log_density(x, level).to(x_sigma.dtype)

    def _noised(self, x_sigma: Tensor, sigma: float | Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Both inputs as tensors of one dtype and device, their shapes checked."""
        if x_sigma.shape[-1:] != (self.dim,) or not x_sigma.is_floating_point():
            raise InputError(
                f"x_sigma is {x_sigma.dtype} of shape {tuple(x_sigma.shape)}, but {self.name!r} lives in "
                f"R^{self.dim}: give floats with a last axis of {self.dim}"
            )
        if not isinstance(sigma, Tensor) and not sigma > 0:
            raise InputError(f"sigma is {sigma}, expected a noise level above 0: at 0 there is nothing to denoise")
        x = x_sigma.to(dtype)
        # new_full fills on the device, where as_tensor would copy from the host (forbidden in a CUDA graph)
        level = sigma.to(x) if isinstance(sigma, Tensor) else x.new_full((), sigma)
        column = (*x.shape[:-1], 1)
        axes = zip(reversed(level.shape), reversed(column), strict=False)
        if level.dim() > x.dim() or any(a not in (1, b) for a, b in axes):
            raise InputError(
                f"sigma has shape {tuple(level.shape)}, which does not broadcast against x_sigma[..., :1] of "
                f"shape {column}: give a number, or one level per point with a last axis of 1"
            )
        return x, level

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Points (n, d) in float32 and labels (n,), or None, on the generator's device."""
        raise NotImplementedError

    def _draw_from(self, part: Part, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The same from one of `PARTS`."""
        if part not in PARTS:
            raise InputError(f"part is {part!r}, expected one of {', '.join(PARTS)}")
        return self._draw(n, generator)

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x_sigma = x]; x (..., d) in float32 or float64, sigma () or (..., 1) of the same dtype."""
        raise NotImplementedError(f"the law {self.name!r} has no closed-form denoiser: train a teacher on it")

    def _denoise_class(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """E[x0 | x_sigma = x, label], inputs as for `denoise` and `_denoise`."""
        raise InputError(f"the law {self.name!r} has no exact denoiser given a class: give no label")

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p_sigma(x), (...); inputs as for `_denoise`, in float64."""
        raise NotImplementedError(f"the law {self.name!r} has no closed-form density: train a teacher on it")

    def extra_repr(self) -> str:
        return f"dim={self.dim}, intrinsic_dim={self.intrinsic_dim}, sigma_data={self.sigma_data:.4g}"
