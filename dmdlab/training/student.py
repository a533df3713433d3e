"""The student G: a denoiser called at falling noise levels, and where it starts."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmdlab.device.precision import arithmetic
from dmdlab.diffusion import told
from dmdlab.group import Group
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser, Ensemble, classes_told, denoiser_of, make_denoiser
from dmdlab.randomness import generator
from dmdlab.training.planes import PLANAR, PlanarTurn
from dmdlab.training.turn import Turn


class Student(nn.Module):
    """G(z): x = D(R z, levels[0]), then for each further level x = D(x + level * noise, level).

    levels: falling noise levels, sigma_max first: as many as the student has steps, one for a one-step student. turn:
    each member's fixed map R of the noise, which keeps its law, None for none. With its later noises and its class
    labels held fixed, G is a function of z.
    """

    def __init__(self, denoiser: EDMDenoiser, levels: Sequence[float], turn: nn.Module | None = None) -> None:
        super().__init__()
        self.denoiser, self.levels, self.turn = denoiser, tuple(levels), turn

    @property
    def network(self) -> Ensemble:
        """The trained parameters."""
        return self.denoiser.network

    def forward(self, z: Tensor, later: Sequence[Tensor] = (), label: Tensor | None = None) -> Tensor:
        """z (e, n, d), the later steps' unit noises, each (e, n, d), and class labels (e, n) or None -> G(z) (e, n,
        d)."""
        return self.generate(self.turned(z), later, label)

    def turned(self, z: Tensor) -> Tensor:
        """R z, (e, n, d), in full precision: z itself where there is no turn."""
        if self.turn is None:
            return z
        with arithmetic("float32", z.device):
            turned: Tensor = self.turn(z)
        return turned

    def generate(self, z: Tensor, later: Sequence[Tensor] = (), label: Tensor | None = None) -> Tensor:
        """G of noise that is turned already, (e, n, d) as above."""
        denoiser = told(self.denoiser, label)
        x: Tensor = denoiser(z, self.levels[0])
        for level, eps in zip(self.levels[1:], later, strict=True):
            x = denoiser(x + level * eps, level)
        return x


def starting_student(group: Group, law: Law, rows: Tensor, device: torch.device | str) -> Student:
    """The students at their starts: a network that is there, the same behind a turn or a twist of the noise, or a
    random one.

    rows: the parameters (e, P) that every member's student starts at: those of its own teacher (or start network), of
    another, or of a fit.
    """
    inits, spec = [e.student.init for e in group.members], group.shared.network
    classes = classes_told(group.shared, law)
    fresh = make_denoiser(len(group), law, spec, classes=classes)
    random = fresh.network.initialise([generator(e.seed, "student") for e in group.members]).flat
    is_random = torch.tensor([init == "random" for init in inits])[:, None]
    start = torch.where(is_random, random, rows.cpu())
    denoiser = denoiser_of(start, law, spec, device, classes)
    turns: list[nn.Module] = []
    if "rotated" in inits:
        turns.append(Turn([e.seed for e in group.members], [init == "rotated" for init in inits], law.dim))
    if set(inits) & set(PLANAR):
        turns.append(PlanarTurn(group.members, law.dim))
    turn = nn.Sequential(*turns).to(device) if turns else None  # each leaves the other's members alone
    return Student(denoiser, [group.shared.noise.sigma_max], turn)
