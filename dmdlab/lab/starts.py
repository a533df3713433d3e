"""Where students start, beyond the networks that are trained on a law: fits to pairs of noise and data.

    regressed    (z, Phi_K(z)), the run's own teacher's flow                the teacher's pairing
    transport    (z, x), an optimal transport of noise rows to data rows    a pairing that no flow made

Both fits begin at the run's own teacher's (or start network's) parameters. Where networks are told a class, noise is
matched with data of its class only.
"""

from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.device import stopping
from dmdlab.device.compiling import Way
from dmdlab.diffusion.applied import applied
from dmdlab.group import Group
from dmdlab.lab.evaluate import flow_map, noise_labels
from dmdlab.lab.once import made_once
from dmdlab.lab.store import Store
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser, networks_of, teacher_of
from dmdlab.randomness import generator, latents
from dmdlab.training.regression import FitPairs, fit
from dmdlab.training.supervised import Step
from dmdlab.transport import assignment


def fit_starts(
    group: Group, law: Law, rows: Tensor, store: Store, device: torch.device, way: Way | None = None
) -> Generator[Step | None, None, Tensor]:
    """The parameters (e, P), on the CPU, that every member's student starts at (a random one draws its own).

    rows: those of `group.networks`, (networks, P). Starts that are fitted come from the store where it has them, else
    they are made and kept; yields the progress of that, None while another sweep makes one of them.
    """
    begins = rows.cpu()[group.begins]
    first, fits = group.shared, {e.fit_id: e for e in group.fits}

    def make(ids: Sequence[str]) -> Iterator[Step]:
        missing, checkpoint = [fits[id] for id in ids], store.networks_checkpoint(ids, device)
        own = begins[[group.members.index(e) for e in missing]]
        fresh = networks_of(first, law, own, device)
        pairs, kept = fit_pairs(missing, law, fresh, device), checkpoint.load(before=first.student.regression)
        with stopping.until_kept(), checkpoint.going_on():
            for step in fit(first, [e.seed for e in missing], fresh, pairs, way=way, kept=kept):
                yield step
                if step.iteration < first.student.regression:
                    checkpoint.offer(step.state)
            for e, row in zip(missing, fresh.network.flat.detach().cpu(), strict=True):
                store.keep_fit(e, row.clone())
            checkpoint.clear()

    found = yield from made_once(store, "network", list(fits), lambda id: store.fit(fits[id]), make)
    for i, e in enumerate(group.members):
        if e.fit_id in found:
            begins[i] = found[e.fit_id]
    return begins


def fit_pairs(members: Sequence[Experiment], law: Law, own: EDMDenoiser, device: torch.device) -> FitPairs:
    """`student.pairs` pairs for each member, by its `student.init`, on `device`. own: their own networks."""
    first = members[0]
    n, sigma_max = first.student.pairs, first.noise.sigma_max
    z = torch.stack([latents(e.seed, n, law.dim, sigma_max, "regression latents") for e in members])
    label = noise_labels(first, law, [e.seed for e in members], n, "regression labels")
    x = torch.empty_like(z)
    flowing = [i for i, e in enumerate(members) if e.student.init == "regressed"]
    if flowing:
        teacher = teacher_of(first, law, own.network.flat[flowing], device)
        x[flowing] = applied(flow_map(first, teacher), z[flowing], device, None if label is None else label[flowing])
    for i, e in enumerate(members):
        if e.student.init == "transport":
            g = generator(e.seed, "regression data", device=device)
            if label is None:
                x[i] = _matched(z[i], law.sample(n, g).cpu())
            else:  # the classes that the data have: noise is the same whatever its class
                data, label[i] = (part.cpu() for part in law.sample_labelled(n, g))
                for k in label[i].unique():
                    of_class = label[i] == k
                    x[i, of_class] = _matched(z[i, of_class], data[of_class])
    return FitPairs(z.to(device), x.to(device), None if label is None else label.to(device))


def _matched(z: Tensor, data: Tensor) -> Tensor:
    """`data` (n, d) in the order of an optimal transport of z (n, d) to it, an exact assignment."""
    order = assignment(data.numpy(), z.numpy()).permutation
    assert order is not None
    return data[torch.from_numpy(np.ascontiguousarray(order))]
