"""Distribution Matching Distillation of students, an ensemble at a time: a cycle (`dmdlab.training.cycle`)
repeated, with its random numbers, its reports and a state that can be kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.device import stopping
from dmdlab.device.compiling import Way, changes_in_place, way_on
from dmdlab.device.precision import precision_on
from dmdlab.device.repeated import Repeated
from dmdlab.diffusion.denoiser import Denoiser
from dmdlab.group import Group
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser, networks_of, teacher_of
from dmdlab.training.cycle import Cycle, Numbers, State, numbers_of
from dmdlab.training.draws import Draw, Draws, Source, block_steps, going_on, streams
from dmdlab.training.exact_score import score_of
from dmdlab.training.levels import trained_step
from dmdlab.training.optimiser import Trained, aligned, optimiser_of
from dmdlab.training.student import Student, starting_student
from dmdlab.training.terms import Around, make_terms


@dataclass(frozen=True)
class Report:
    """State of the ensemble after `iteration` fake-score updates.

    numbers: by name, each (e,), averaged over the cycles since the last report: `numbers_of` the terms. failed_at:
    (e,), the iteration of a member's first non-finite or runaway value, -1 while there is none.
    """

    iteration: int
    numbers: dict[str, Tensor]
    failed_at: Tensor


class Distillation:
    """An ensemble of students in training.

    group: the members. law: theirs, for the further terms. teacher: any denoiser on (e, n, d). student, fake: ensembles
    of e networks, already at their start. way: how cycles are repeated (`dmdlab.device.compiling`); None for the rule.
    Raises `InputError` for a `network.precision` that the networks' device lacks, or a `way` that it cannot go.
    """

    def __init__(
        self,
        group: Group,
        law: Law,
        teacher: Denoiser,
        student: Student,
        fake: EDMDenoiser,
        way: Way | None = None,
    ) -> None:
        first, k = group.shared, group.shared.fake_score.updates
        self.config, self.score, self.noise = first.student, first.fake_score, first.noise
        self.device = student.network.flat.device
        self.precision = precision_on(self.device, first.network.precision)
        self.cycles = cycles(group)
        self._conditional = int(first.teacher.condition)  # tensors of labels that a cycle draws
        fixed = trained_step(first)
        self._stepping = int(fixed is None)  # of steps that batches train
        self._later = min(student.noises, len(student.levels) if fixed is None else fixed)  # of noises before them
        student_rates = [own.student.learning_rate for own in group.members]
        score_rates = [own.fake_score.learning_rate for own in group.members]
        config, score = self.config, self.score
        self.optimisers = {
            "student": optimiser_of(
                config.optimiser, student.network, student_rates, config, self.cycles, -(-config.warmup // k)
            ),
            "fake": optimiser_of(score.optimiser, fake.network, score_rates, config, self.cycles * k, config.warmup),
        }
        own_score = score_of(first, student, fake)
        self.terms = make_terms(Around(group, law, teacher, student, fake, own_score, self.cycles * k, {}))
        self.optimisers |= {f"{t}.{key}": o for t, term in self.terms.items() for key, o in term.optimisers.items()}
        self.numbers = numbers_of(self.terms)
        self.draws = self._draws(group, law)
        self.done = self.reported = 0  # cycles
        self.teacher, self._student, self._fake = teacher, student, fake
        cycle = Cycle(first, student, fake, teacher, self.optimisers, self.terms)
        rows = teacher.network.flat if isinstance(teacher, EDMDenoiser) else torch.empty(len(group), 0)
        start = State(
            {name: optimiser.start() for name, optimiser in self.optimisers.items()},
            torch.zeros(len(group), len(self.numbers), device=self.device),
            torch.full((len(group),), -1, device=self.device),
        )
        check_way(first, way)
        gains = student.network.gains_by_compiling
        way = "eager" if _decomposes(first) else way_on(self.device, updates(group), way, gains)
        for optimiser in self.optimisers.values():
            optimiser.in_place = changes_in_place(way, self.device)
        self.repeated = Repeated(cycle, start, aligned(rows.to(self.device)), way, self.precision)

    @property
    def way(self) -> Way:
        """How cycles are repeated."""
        return self.repeated.way

    @property
    def trained(self) -> dict[str, Trained]:
        """The networks in training, as they stand."""
        return self.repeated.state.trained

    @property
    def failed_at(self) -> Tensor:
        """As in `Report`."""
        return self.repeated.state.failed_at

    @property
    def student(self) -> Student:
        """The students as they stand."""
        self._student.network.load_rows(self.trained["student"].parameters)
        return self._student

    @property
    def fake(self) -> EDMDenoiser:
        """The fake scores as they stand."""
        self._fake.network.load_rows(self.trained["fake"].parameters)
        return self._fake

    def run(self, stops: Sequence[int]) -> Iterator[int]:
        """Train to the end. Yields the iteration at the first cycle that reaches each of `stops`, at the end, and
        wherever somebody wishes to stop (`dmdlab.device.stopping`). Once nothing finite is left, cycles are counted and
        no longer run: they would take as long as others, and report the same."""
        k = self.score.updates
        due = sorted({min(self.cycles, max(1, -(-stop // k))) for stop in stops} | {self.cycles})
        lost: Tensor | None = None
        for stop in due:
            if stop > self.done:
                if lost is not None:
                    self.done = stop
                    self.repeated.state.sums.copy_(lost)
                while self.done < stop:
                    self.cycle()
                    if stopping.asked() and self.done < stop:
                        yield self.done * k
                lost = self._lost()
                yield self.done * k

    def _lost(self) -> Tensor | None:
        """What cycles add to `sums` from now on, NaN or 0, where every member has failed and no network that is trained
        has a finite parameter left; otherwise None."""
        now = self.repeated.state
        if (now.failed_at < 0).any() or not (now.sums.isnan() | (now.sums == 0)).all():
            return None
        sizes = {name: own.network.flat.shape[1] for name, own in self.optimisers.items()}
        if any(own.parameters[:, : sizes[name]].isfinite().any() for name, own in now.trained.items()):
            return None
        return now.sums.clone()

    def cycle(self) -> None:
        """One student update, and `updates` of the fake score and of the terms' own networks."""
        z, u, eps, *rest = next(self.draws)
        labels, rest = rest[: self._conditional], rest[self._conditional :]
        later, rest = rest[: self._later], rest[self._later :]
        step, rest = rest[: self._stepping], rest[self._stepping :]
        drawn: dict[str, Sequence[Tensor]] = {}
        for name, term in self.terms.items():
            count = sum(source.kinds for source in term.sources)
            drawn[name], rest = rest[:count], rest[count:]
        z = self._student.turned(z.flatten(1, 2)).view_as(z)
        k = self.score.updates
        sizes = {name: own.sizes(self.done * k, k) for name, own in self.optimisers.items()}
        sizes["student"] = self.optimisers["student"].sizes(self.done, 1)
        self.repeated(Numbers(z, tuple(labels), tuple(later), tuple(step), u, eps, drawn, sizes))
        self.done += 1

    def report(self) -> Report:
        """The numbers of the cycles since the last report; on a GPU this waits for them."""
        sums = self.repeated.state.sums
        means = sums / max(1, self.done - self.reported)
        sums.zero_()
        self.reported = self.done
        numbers = dict(zip(self.numbers, means.unbind(1), strict=True))
        return Report(self.done * self.score.updates, numbers, self.failed_at.clone())

    def state(self) -> dict[str, Tensor]:
        """All that a later run needs to go on to the same end, each tensor with the members first. The next cycle may
        change them: copy what is to last."""
        states, given_out = self.draws.state()
        place = torch.tensor([self.done, self.reported, given_out]).expand(len(states), 3)
        now = self.repeated.state
        found = {"sums": now.sums, "failed_at": now.failed_at, "streams": states, "place": place}
        for name, trained in now.trained.items():
            found |= trained.rows(name, self.optimisers[name].network.flat.shape[1])
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state` was taken; its rows are these members. Raises `Foreign` for another training's."""
        with going_on():
            trained = {name: Trained.of(name, state) for name in self.optimisers}
            self.repeated.put(State(trained, state["sums"], state["failed_at"]))
            done, reported, given_out = map(int, state["place"][0].tolist())
            if not 0 <= reported <= done <= self.cycles:
                raise ValueError(f"{done} of {self.cycles} cycles done")
            self.draws.restore(state["streams"], given_out)
        self.done, self.reported = done, reported

    def _draws(self, group: Group, law: Law) -> Draws:
        """Endless z (e, b, n, d), u (e, 1 + k, n, 1), eps (e, 1 + k, n, d), for conditional members the class labels
        of z (e, b, n), the later steps' noises (e, b, n, d) and the step (e, b) that each batch trains, where they are
        drawn, and what the terms want: one cycle's numbers. Index 0 of u and eps is the student's; b = k
        batches of noise, k + 1 when the student has its own."""
        k, n, device, sigma_max = self.score.updates, self.config.batch, self.device, self.noise.sigma_max
        d = law.dim
        batches = k + (self.score.batches == "separate")

        def z(g: torch.Generator, steps: int) -> Tensor:
            return torch.randn((steps, batches, n, d), generator=g, device=device) * sigma_max

        def u(g: torch.Generator, steps: int) -> Tensor:
            return torch.rand((steps, 1 + k, n, 1), generator=g, device=device)

        def eps(g: torch.Generator, steps: int) -> Tensor:
            return torch.randn((steps, 1 + k, n, d), generator=g, device=device)

        def labels(g: torch.Generator, steps: int) -> Tensor:
            return law.draw_labels(steps * batches * n, g).view(steps, batches, n)

        def later(g: torch.Generator, steps: int) -> tuple[Tensor, ...]:
            return torch.randn((self._later, steps, batches, n, d), generator=g, device=device).unbind(0)

        def step(g: torch.Generator, steps: int) -> Tensor:
            return torch.randint(self.config.steps, (steps, batches), generator=g, device=device)

        named: dict[str, tuple[Draw, int]] = {"latents": (z, 1), "level": (u, 1), "noise": (eps, 1)}
        asked: dict[str, tuple[Draw, int]] = {
            "labels": (labels, self._conditional),
            "later": (later, self._later),
            "step": (step, self._stepping),
        }
        named |= {name: own for name, own in asked.items() if own[1]}
        own = [Source(draw, streams(group, "distill", of, device=device), m) for of, (draw, m) in named.items()]
        terms = [source for term in self.terms.values() for source in term.sources]
        return Draws([*own, *terms], block_steps((1 + k + self._later * batches) * n * d))


def check_way(experiment: Experiment, way: Way | None) -> None:
    """Raises `InputError` where this experiment's distillation cannot be compiled though that is asked for."""
    if way == "compiled" and _decomposes(experiment):
        raise InputError(
            f"fake_score.kind = {experiment.fake_score.kind!r} takes an eigendecomposition in every cycle, which "
            "cannot be compiled; leave out --compile"
        )


def _decomposes(experiment: Experiment) -> bool:
    """Whether each cycle decomposes a matrix, which can be neither captured nor compiled."""
    return experiment.fake_score.closed


def cycles(group: Group) -> int:
    """Cycles of a distillation: its iterations count fake-score updates."""
    return -(-group.shared.student.iterations // group.shared.fake_score.updates)


def updates(group: Group) -> int:
    """Steps of students and fake scores in a member's distillation that compiling would save time of; beside an exact
    score, which is not compiled, none."""
    return 0 if _decomposes(group.shared) else cycles(group) * (1 + group.shared.fake_score.updates)


def distillation_from(
    group: Group,
    law: Law,
    rows: Tensor,
    device: torch.device | str = "cpu",
    way: Way | None = None,
    begins: Tensor | None = None,
) -> Distillation:
    """The distillation of a group whose teachers (or start networks) have the parameters `rows` (e, P); way: its own.
    begins: the parameters (e, P) that the students alone start at; `rows` when None."""
    teacher = teacher_of(group.shared, law, rows, device)
    student = starting_student(group, law, rows if begins is None else begins, device)
    return Distillation(group, law, teacher, student, networks_of(group.shared, law, rows, device), way)
