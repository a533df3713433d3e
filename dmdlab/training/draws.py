"""Random numbers of a training, each member's from its own generators, many steps at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from dmdlab.group import Group
from dmdlab.randomness import generator

Draw = Callable[[torch.Generator, int], Tensor | tuple[Tensor, ...]]
"""One member's numbers for so many steps, (steps, ...), or several such that are drawn together."""


class Foreign(ValueError):
    """A state to go on from is not of this training."""


@contextmanager
def going_on() -> Iterator[None]:
    """Turn whatever taking up a state that does not fit raises into `Foreign`."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise Foreign(" ".join(str(error).split())[:200]) from None


class Source(NamedTuple):
    """One kind of number, or several drawn together: how a member's are drawn, every member's generator, and how many
    kinds there are."""

    draw: Draw
    generators: Sequence[torch.Generator]
    kinds: int = 1


class Draws:
    """Endless draws for an ensemble, `steps` steps at a time.

    Each step is a tuple of tensors (e, ...), those of each source in their order. A member's draws depend only on its
    own generators and on `steps`, never on its neighbours.
    """

    def __init__(self, sources: Sequence[Source], steps: int) -> None:
        self.sources, self.steps = sources, steps
        self.block: list[Tensor] = []
        self.block_start: Tensor  # the generators' states before the block was drawn
        self.given_out = steps  # of the block; all of them before there is one

    def __iter__(self) -> "Draws":
        return self

    def __next__(self) -> tuple[Tensor, ...]:
        if self.given_out == self.steps:
            self._draw()
            self.given_out = 0
        self.given_out += 1
        return tuple(numbers[self.given_out - 1] for numbers in self.block)

    def state(self) -> tuple[Tensor, int]:
        """Where the streams stand: their generators' states (e, sources, bytes) at the start of the block at work, and
        how many of its steps have been given out."""
        return (self._states(), 0) if self.given_out == self.steps else (self.block_start, self.given_out)

    def restore(self, states: Tensor, given_out: int) -> None:
        """Go on from where `state` was taken."""
        if not 0 <= given_out <= self.steps or states.shape[1] != len(self.sources):
            raise ValueError(f"{given_out} of {self.steps} steps of {states.shape[1]} streams")
        for i, source in enumerate(self.sources):
            for own, state in zip(source.generators, states[:, i], strict=True):
                own.set_state(state.clone())  # torch reads a view from the start of its storage
        self._draw()
        self.given_out = given_out

    def kept(self, done: int) -> dict[str, Tensor]:
        """`state` with the number of steps that a training has done, each tensor with the members first."""
        states, given_out = self.state()
        return {"streams": states, "place": torch.tensor([done, given_out]).expand(len(states), 2)}

    def put(self, kept: Mapping[str, Tensor], before: int) -> int:
        """Go on from what `kept` gave; returns the steps done, which are less than `before`."""
        done, given_out = map(int, kept["place"][0].tolist())
        if not 0 <= done < before:
            raise ValueError(f"{done} of {before} steps done")
        self.restore(kept["streams"], given_out)
        return done

    def _states(self) -> Tensor:
        return torch.stack([torch.stack([g.get_state() for g in s.generators]) for s in self.sources], dim=1)

    def _draw(self) -> None:
        self.block_start = self._states()
        self.block = []  # frees the memory for the next one
        self.block = [block for source in self.sources for block in _drawn(source, self.steps)]


def _drawn(source: Source, steps: int) -> list[Tensor]:
    """(steps, e, ...) each: every member's draws, one member's at a time in memory beside them."""
    blocks: list[Tensor] = []
    for i, own in enumerate(source.generators):
        drawn = source.draw(own, steps)
        parts = drawn if isinstance(drawn, tuple) else (drawn,)
        blocks = blocks or [part.new_empty(steps, len(source.generators), *part.shape[1:]) for part in parts]
        for block, part in zip(blocks, parts, strict=True):
            block[:, i] = part
        del drawn, parts, part
    return blocks


def picked(own: Sequence[Sequence[Tensor]], shape: Sequence[int], generators: Sequence[torch.Generator]) -> Source:
    """Rows of each member's own tensors (N, ...), the same of all of them and any of them again, so many a step as
    `shape` has."""

    def rows(g: torch.Generator, steps: int) -> tuple[Tensor, ...]:
        held = own[next(i for i, other in enumerate(generators) if other is g)]
        pick = torch.randint(len(held[0]), (steps, *shape), generator=g, device=g.device)
        return tuple(part[pick] for part in held)

    return Source(rows, generators, len(own[0]))


def streams(group: Group, *names: str, device: torch.device | str) -> list[torch.Generator]:
    """Every member's generator of this name."""
    return [generator(e.seed, *names, device=device) for e in group.members]


def block_steps(numbers_per_step: int, budget: int = 1 << 20) -> int:
    """How many steps to draw ahead so that one member's block holds about `budget` numbers (1 to 64 steps)."""
    return max(1, min(64, budget // max(1, numbers_per_step)))
