"""The score of a linear student's own law, in closed form: what a fake score would learn, without its error or its lag.

A student G(z) = W z + b of z ~ N(0, sigma_max^2 I) has the law N(b, S) with S = sigma_max^2 W W^T, whatever the data,
and that law noised to sigma the denoiser (the posterior mean of a Gaussian)

    D(x, sigma) = b + S (S + sigma^2 I)^-1 (x - b) = b + U diag(s / (s + sigma^2)) U^T (x - b),     S = U diag(s) U^T.

One eigendecomposition, in float64 and O(d^3), serves all levels of a batch.

With an *estimated* covariance, the mean square of m samples of the student's about b in place of S, the denoiser has
an error that is symmetric and new at each step (docs/theory.md, Eq. 9): what is left of a fake score's noise when its
curl is taken away.
"""

import math

import torch
from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.device.precision import arithmetic
from dmdlab.diffusion import Denoiser
from dmdlab.networks import EDMDenoiser, Ensemble
from dmdlab.training.student import Student


def check_linear(network: type[Ensemble]) -> None:
    """Raises `InputError` where students of these networks have no Gaussian law."""
    if not network.linear:
        raise InputError(
            "fake_score.kind = 'exact' or 'estimated' is the score of a linear student's Gaussian law, and this "
            "network is not linear; set network.kind = 'linear', or leave fake_score.kind at 'network'"
        )


def check_closed(experiment: Experiment, network: type[Ensemble]) -> None:
    """Raises `InputError` where `fake_score.kind` is a closed form that students of these networks do not have, or is
    estimated from batches that the student's update uses, or of classes."""
    score = experiment.fake_score
    if score.closed:
        check_linear(network)
    if score.kind == "estimated" and (score.batches == "shared" or experiment.teacher.condition):
        key = "fake_score.batches = 'separate'" if score.batches == "shared" else "teacher.condition = false"
        raise InputError(
            "fake_score.kind = 'estimated' takes one covariance from the fake score's own batches, which must be "
            f"neither the student's nor of several classes; set {key}"
        )


class LinearStudentScore:
    """D of each member's law, for the parameters that the student holds at the call.

    student: one-step. A turn of its noise changes nothing here: it keeps the law. Raises `InputError` for networks that
    are not linear in x.
    """

    def __init__(self, student: Student) -> None:
        check_linear(type(student.network))
        self.student = student

    def __call__(
        self, x_sigma: Tensor, sigma: Tensor | float, label: Tensor | None = None, samples: Tensor | None = None
    ) -> Tensor:
        """x_sigma (e, n, d), sigma a number or (e, n, 1), class labels (e, n) or None -> (e, n, d). NaN for a member
        whose map is not finite; the others do not notice. Differentiable in x_sigma alone. samples: the student's
        outputs (e, m, d) that the covariance is estimated from; None: it is exact."""
        b, values, u, sound = self.law_of(x_sigma, label, samples)
        found = b + ((x_sigma - b) @ u * (values / (values + sigma**2))) @ u.mT
        return torch.where(sound, found, torch.nan).to(x_sigma)

    @torch.no_grad()
    def log_density(self, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """log p_sigma(x_sigma) of each member's law, in nats: x_sigma (e, n, d), sigma (e, n, 1) -> (e, n), float64."""
        b, values, u, sound = self.law_of(x_sigma)
        variances = values + sigma.double() ** 2  # (e, n, d)
        y = (x_sigma - b) @ u
        found = -0.5 * (y.square() / variances + (2 * math.pi * variances).log()).sum(dim=2)
        return torch.where(sound[:, 0], found, torch.nan)

    @torch.no_grad()
    def law_of(
        self, like: Tensor, label: Tensor | None = None, samples: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Each member's N(b, U diag(s) U^T) in float64: b (e, n, d), s (e, 1, d), U (e, d, d), and whether it is
        finite, (e, 1, 1); like (e, n, d), class labels (e, n) or None, `samples` as in a call."""
        with arithmetic("float32", like.device):
            b = self.student.generate(torch.zeros_like(like), label=label).double()
            columns = self._columns(like).double() if samples is None else (samples.double() - b[:, :1])
        s = columns.mT @ columns / (1 if samples is None else samples.shape[1])  # (e, d, d)
        sound = s.isfinite().all(dim=2).all(dim=1)[:, None, None]
        values, u = torch.linalg.eigh(torch.where(sound, s, 0.0))
        return b, values.clamp(min=0).unsqueeze(1), u, sound

    def _columns(self, like: Tensor) -> Tensor:
        """sigma_max W^T of each member, (e, d, d)."""
        e, _, d = like.shape
        points = torch.cat([like.new_zeros(1, d), self.student.sigma_max * torch.eye(d).to(like)])  # (1 + d, d)
        at_zero, outputs = self.student.generate(points.expand(e, 1 + d, d)).split([1, d], dim=1)
        return outputs - at_zero


def score_of(shared: Experiment, student: Student, fake: EDMDenoiser) -> Denoiser:
    """The denoiser of the students' own law: the fake score, or the exact one where that is asked for
    (of an estimated one: what it estimates)."""
    return LinearStudentScore(student) if shared.fake_score.closed else fake
