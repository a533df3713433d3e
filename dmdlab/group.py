"""Runs that train as one ensemble: what they share, and what is each member's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dmdlab.config import Experiment, flatten, member_keys, without_places


@dataclass(frozen=True)
class Group:
    """Members of one ensemble. They differ in keys that are a member's own (`config.MEMBER_OWN`) and in no other.

    Raises ValueError when there is no member, or when two differ in another key.
    """

    members: tuple[Experiment, ...]

    def __post_init__(self) -> None:
        if len({shape(e) for e in self.members}) != 1:
            raise ValueError("a group holds one run or more, alike in all keys but the members' own")

    @property
    def shared(self) -> Experiment:
        """What all members share, read off the first of them."""
        return self.members[0]

    @cached_property
    def seeds(self) -> list[int]:
        """The members' different seeds, ascending: each has a teacher, or a start network, of its own."""
        return sorted({e.seed for e in self.members})

    @cached_property
    def place(self) -> list[int]:
        """For each member the place of its seed among `seeds`."""
        return [self.seeds.index(e.seed) for e in self.members]

    @property
    def shape(self) -> tuple[tuple[str, Any], ...]:
        """What all members share: groups of equal shape could be one."""
        return shape(self.shared)

    @property
    def ids(self) -> list[str]:
        """The members' ids."""
        return [e.id for e in self.members]

    def __len__(self) -> int:
        return len(self.members)

    def of_seed(self, seed: int) -> Experiment:
        """A member with this seed."""
        return next(e for e in self.members if e.seed == seed)

    def only(self, seeds: Sequence[int]) -> "Group":
        """The members with these seeds."""
        return Group(tuple(e for e in self.members if e.seed in seeds))


def shape(experiment: Experiment) -> tuple[tuple[str, Any], ...]:
    """Every key but the members' own and where files of known content lie, whatever their order: runs of equal shape
    can train as one."""
    own, flat = member_keys(), without_places(flatten(experiment))
    return tuple((k, repr(v)) for k, v in sorted(flat.items()) if k not in own)


def group_by_shape(experiments: Sequence[Experiment]) -> list[Group]:
    """Experiments as groups of equal shape, in order of first appearance."""
    found: dict[tuple[tuple[str, Any], ...], list[Experiment]] = {}
    for experiment in experiments:
        found.setdefault(shape(experiment), []).append(experiment)
    return [Group(tuple(members)) for members in found.values()]
