"""Is the teacher good enough to judge a student by?

A copying claim compares a student with its teacher's outputs Phi_K(z). If those are not samples of the law, the claim
is about an accident. So every record carries two checks of its teacher, and figures mark the runs that fail one:

- `excess_risk`: how much worse the network denoises than the exact denoiser, relative to the risk nobody can avoid
  (0 for an exact teacher; NaN where the law has no exact denoiser);
- `transport_ratio`: e_ot(Phi_K outputs, fresh data) / e_ot(other fresh data, fresh data), 1 when the outputs are as
  good as data at this n. It sees the error of the flow, too: few steps K cost here even with an exact denoiser. In high
  dimension two samples of one law are far apart, so there it can only see gross errors, and excess_risk decides.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dmdlab.config import Experiment
from dmdlab.diffusion import Denoiser, karras_sigma
from dmdlab.laws import Law
from dmdlab.pairing import assignment
from dmdlab.randomness import generator
from dmdlab.training.teacher import excess_risk

MAX_EXCESS_RISK = 0.10
"""A teacher that adds a tenth to the unavoidable risk, or more, is flagged (ours)."""

MAX_TRANSPORT_RATIO = 1.5
"""A teacher whose outputs cost half as much again as fresh data, or more, is flagged (ours; as poor fidelity)."""


@torch.no_grad()
def excess_risks(
    experiment: Experiment, seeds: Sequence[int], denoiser: Denoiser, law: Law, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Each member's excess risk over levels uniform in the Karras index, (members,); NaN without an exact denoiser."""
    if not law.has_denoiser:
        return np.full(len(seeds), math.nan)
    n = experiment.measure.samples
    streams = [generator(s, "teacher check", device=device) for s in seeds]
    x = torch.stack([law.sample(n, g) for g in streams])  # (e, n, d)
    u = torch.stack([torch.rand(n, 1, generator=g, device=device) for g in streams])
    eps = torch.stack([torch.randn(n, law.dim, generator=g, device=device) for g in streams])
    return excess_risk(denoiser, law, x, karras_sigma(u, experiment.noise), eps).cpu().numpy()


def transport_ratio(outputs: np.ndarray, data: np.ndarray, floor: float) -> float:
    """e_ot(outputs, data) over `floor`, the cost between two samples of the law: 1 for outputs as good as data.

    A student is judged by it, too (`student_transport_ratio`): it learns the teacher's law by its score, and so can be
    nearer to the data than the flow Phi_K, to which `fidelity` compares it, is with few steps K.
    """
    return assignment(outputs, data).cost / floor if floor > 0 else math.nan


def check_teacher(teacher: np.ndarray, data: np.ndarray, fresh: np.ndarray, excess: float) -> dict[str, Any]:
    """The record's `teacher` section. Arrays (n, d): Phi_K outputs and two independent samples of the law.

    Returns excess_risk, transport (outputs to data), transport_fresh (data to data), transport_ratio, ok, and the
    reasons why not.
    """
    finite, reasons = bool(np.isfinite(teacher).all()), []
    floor = assignment(fresh, data).cost
    ratio = transport_ratio(teacher, data, floor) if finite else math.nan
    if excess > MAX_EXCESS_RISK:
        reasons.append(f"its excess risk is {excess:.3g}, above {MAX_EXCESS_RISK}")
    if ratio > MAX_TRANSPORT_RATIO:
        reasons.append(
            f"its outputs cost {ratio:.3g} times as much to match with data as data does, above {MAX_TRANSPORT_RATIO}"
        )
    if not finite:
        reasons.append("its outputs are not finite")
    return {
        "excess_risk": float(excess),
        "transport": ratio * floor,
        "transport_fresh": floor,
        "transport_ratio": ratio,
        "ok": not reasons,
        "reasons": reasons,
    }
