"""The student G: a denoiser called at falling noise levels, and where it starts."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from dmdlab.device.precision import arithmetic
from dmdlab.diffusion import conditioned
from dmdlab.diffusion.jacobian import Map
from dmdlab.group import Group
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser, Ensemble, fresh_networks, networks_of
from dmdlab.randomness import generator, latents
from dmdlab.training.levels import levels_of, scaled
from dmdlab.training.planes import PLANAR, PlanarTurn
from dmdlab.training.turn import Turn

LATER = "later noise"
"""The name of the streams that a student's later noises at its run's latents come from."""


class Student(nn.Module):
    """G(z): x = D(y, levels[0]) with y = (levels[0] / sigma_max) R z, then for each further level x = D(y, level), y
    being x noised to that level.

    The sampler 'sde' noises it afresh, y = x + level * noise; 'ode' by the noise that x and its own input y' at the
    level before imply, y = x + (level / level') (y' - x), which makes the chain the Euler steps of the flow.

    levels: falling noise levels, as many as the student has steps, one for a one-step student. turn: each member's
    fixed map R of the noise, which keeps its law, None for none. sigma_max: the standard deviation of z, levels[0] when
    None. With its later noises and its class labels held fixed, G is a function of z.
    """

    def __init__(
        self,
        denoiser: EDMDenoiser,
        levels: Sequence[float],
        turn: nn.Module | None = None,
        *,
        sigma_max: float | None = None,
        sampler: str = "sde",
    ) -> None:
        super().__init__()
        self.denoiser, self.levels, self.turn, self.sampler = denoiser, tuple(levels), turn, sampler
        self.sigma_max = self.levels[0] if sigma_max is None else sigma_max

    @property
    def network(self) -> Ensemble:
        """The trained parameters."""
        return self.denoiser.network

    @property
    def noises(self) -> int:
        """How many later noises G takes: one for each level after the first, none with the sampler 'ode'."""
        return len(self.levels) - 1 if self.sampler == "sde" else 0

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
        x = z
        for step in self._steps(later, label):
            x = step(x)
        return x

    def maps(self, later: Sequence[Tensor] = (), label: Tensor | None = None) -> list[Map]:
        """G as its steps in their order, which take z, then the input of each further level, to the next, and the last
        one to x: for who would hold the graph of one step at a time."""
        first, *others = self._steps(later, label)
        return [lambda z: first(self.turned(z)), *others]

    def first(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """x after the first step, (e, n, d), whatever comes later; z and label as of `forward`."""
        return self.rollout(self.turned(z), (), 0, label)

    def rollout(self, z: Tensor, later: Sequence[Tensor], step: Tensor | int, label: Tensor | None = None) -> Tensor:
        """x of the step of this number, from 0, in the chain that `generate` would go to its end: what is trained by
        backward simulation (DMD2, arXiv 2405.14867, Sec. 4.5). All steps before it are taken without gradient.

        z: (e, n, d), turned already. later: unit noises, at least as many as steps that are noised before. step: a
        number, or one for each row, (e, n, 1) int64: each row's input is then chosen among those of all steps, since
        neither a captured nor a compiled function can branch, and members of an ensemble draw steps of their own.
        """
        denoiser = conditioned(self.denoiser, label)
        with torch.no_grad():
            y = chosen = self._scaled(z)
            level: Tensor | float = z.new_full(step.shape, self.levels[0]) if isinstance(step, Tensor) else 0.0
            for i in range(1, len(self.levels) if isinstance(step, Tensor) else step + 1):
                y = self._noised(i, y, denoiser(y, self.levels[i - 1]), later)
                if isinstance(step, Tensor):
                    chosen = torch.where(step == i, y, chosen)
                    level = torch.where(step == i, z.new_full((), self.levels[i]), level)
        x: Tensor = denoiser(y, self.levels[step]) if isinstance(step, int) else denoiser(chosen, level)
        return x

    def _steps(self, later: Sequence[Tensor], label: Tensor | None) -> list[Map]:
        """Maps from z, turned already, to the input of the second level, and so on. Raises ValueError for another
        number of later noises than G takes."""
        if len(later) != self.noises:
            raise ValueError(f"later is {'shorter' if len(later) < self.noises else 'longer'} than {self.noises}")
        denoiser = conditioned(self.denoiser, label)

        def step(x: Tensor, i: int) -> Tensor:
            y = x if i else self._scaled(x)
            x0: Tensor = denoiser(y, self.levels[i])
            return x0 if i + 1 == len(self.levels) else self._noised(i + 1, y, x0, later)

        return [partial(step, i=i) for i in range(len(self.levels))]

    def _scaled(self, z: Tensor) -> Tensor:
        """The input at the first level."""
        return scaled(z, self.levels[0], self.sigma_max)

    def _noised(self, i: int, y: Tensor, x: Tensor, later: Sequence[Tensor]) -> Tensor:
        """The input at level i, x being what came of y at the level before."""
        if self.sampler == "ode":
            return x + self.levels[i] / self.levels[i - 1] * (y - x)
        return x + self.levels[i] * later[i - 1]


def later_noises(student: Student, seeds: Sequence[int], dim: int, n: int, name: str = LATER) -> list[Tensor]:
    """The unit noises that G takes beside the first n latents of each seed, (e, n, d) each, on the CPU: of streams of
    the seed, so that they are the same whenever a student is measured; row i does not depend on n."""
    return [torch.stack([latents(s, n, dim, 1.0, f"{name} {i}") for s in seeds]) for i in range(1, student.noises + 1)]


def starting_student(group: Group, law: Law, rows: Tensor, device: torch.device | str) -> Student:
    """The students at their starts: a network that is there, the same behind a turn or a twist of the noise, or a
    random one.

    rows: the parameters (e, P) that every member's student starts at: those of its own teacher (or start network), of
    another, or of a fit.
    """
    inits, fresh = [e.student.init for e in group.members], fresh_networks(group.shared, law, len(group))
    random = fresh.network.initialise([generator(e.seed, "student") for e in group.members]).flat
    is_random = torch.tensor([init == "random" for init in inits])[:, None]
    start = torch.where(is_random, random, rows.cpu())
    return student_of(group, networks_of(group.shared, law, start, device), law.dim)


def student_of(group: Group, denoiser: EDMDenoiser, dim: int) -> Student:
    """The members' students with these networks, of a law in `dim` dimensions."""
    shared, turn = group.shared, turn_of(group, dim)
    turn = None if turn is None else turn.to(denoiser.network.flat.device)
    return Student(denoiser, levels_of(shared), turn, sigma_max=shared.noise.sigma_max, sampler=shared.student.sampler)


def turn_of(group: Group, dim: int) -> nn.Module | None:
    """The members' turns and twists of the noise in `dim` dimensions; None where none of them has one."""
    inits, turns = [e.student.init for e in group.members], list[nn.Module]()
    if "rotated" in inits:
        turns.append(Turn([e.seed for e in group.members], [init == "rotated" for init in inits], dim))
    if set(inits) & set(PLANAR):
        turns.append(PlanarTurn(group.members, dim))
    return nn.Sequential(*turns) if turns else None  # each leaves the other's members alone
