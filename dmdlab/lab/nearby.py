"""What a teacher's flow is like near its noise, made once for all students of one teacher and seed.

    OUT/nearby/<as of pairs>.npz     asymmetry (), the antisymmetric share of its Jacobian; answers (p, n, d), its J v
                                     at the points and along the directions at which students are compared with it

Both go through the whole flow in forward mode and need no student, so another process may make them while one trains
(`dmdlab.lab.beside`). They can always be made again: nothing finished needs them.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion import Denoiser
from dmdlab.group import Group
from dmdlab.lab.calibrate import own_denoiser
from dmdlab.lab.evaluate import asymmetries, flow_map, flow_steps, noise_labels, probed
from dmdlab.lab.local import teacher_answers
from dmdlab.lab.once import made_once
from dmdlab.lab.store import Store
from dmdlab.laws import make_law
from dmdlab.randomness import latents


@dataclass(frozen=True)
class Nearby:
    """Of each of a group's origins. asymmetry: (s,); answers: (p, s, n, d), on the CPU."""

    asymmetry: np.ndarray
    answers: Tensor


def teachers_nearby(
    group: Group, teacher: Denoiser, noise: Tensor, label: Tensor | None, store: Store, device: torch.device
) -> Generator[None, None, Nearby]:
    """Those in the store; what it lacks is made and kept there, by one sweep at a time. Yields while another is at it.

    teacher: of the group's origins, takes (s, n, d). noise: (s, n, d), the noise of the pairs. label: its classes (s,
    n), or None. Raises `InputError` for a damaged file.
    """
    own = {store.pairs_id(e): e for e in group.origins}

    def make(ids: Sequence[str]) -> Iterator[None]:
        z, few = probed(noise, label, device)
        shares = asymmetries(group.seeds, flow_steps(group.shared, teacher, few), z)
        answers = teacher_answers(group.seeds, flow_map(group.shared, teacher), noise.to(device), label).cpu()
        for i, e in enumerate(group.origins):
            if store.pairs_id(e) in ids:
                store.keep_nearby(e, {"asymmetry": shares[i], "answers": answers[:, i].numpy()})
        yield from ()

    found = yield from made_once(store, "nearby", list(own), lambda id: store.nearby(own[id]), make)
    each = [found[store.pairs_id(e)] for e in group.origins]
    answers = torch.from_numpy(np.stack([arrays["answers"] for arrays in each], axis=1))
    return Nearby(np.array([arrays["asymmetry"] for arrays in each]), answers)


def keep_nearby(store: Store, experiment: Experiment, device: torch.device) -> None:
    """Make what the store lacks of it for this experiment's teacher and seed, from the trained teacher there."""
    e, group = experiment, Group((experiment,))
    law = make_law(e.law.model_dump()).to(device)
    teacher = own_denoiser(e, law, device, store.start(e) if e.teacher.kind == "network" else None)
    noise = latents(e.seed, e.measure.samples, law.dim, e.noise.sigma_max, "latents")[None]
    label = noise_labels(e, law, group.seeds, e.measure.samples, "labels")
    for _ in teachers_nearby(group, teacher, noise, label, store, device):
        pass
