"""Runs that train as one ensemble: what they share, and what is each member's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dmdlab.config import FITTED, Experiment, flatten, member_keys, without_places


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
    def origins(self) -> list[Experiment]:
        """A member for each teacher, or start network, that the members have as their own: one a seed, or several of
        different ages, by seed and age."""
        first = {_network(e): e for e in reversed(self.members)}
        return [first[key] for key in sorted(first)]

    @cached_property
    def networks(self) -> list[Experiment]:
        """One experiment for each network that is trained on the law: `origins`, and behind them those beyond, which
        students with `student.init = "other"` start at."""
        own = {_network(e) for e in self.origins}
        beyond = {_network(e): e for e in map(start_owner, self.members) if _network(e) not in own}
        return [*self.origins, *(beyond[key] for key in sorted(beyond))]

    @cached_property
    def begins(self) -> list[int]:
        """For each member the place among `networks` of the one that its student starts at, or is fitted from."""
        places = {_network(e): i for i, e in enumerate(self.networks)}
        return [places[_network(start_owner(e))] for e in self.members]

    @cached_property
    def fits(self) -> list[Experiment]:
        """A member for each start that is fitted to pairs, in order of first appearance."""
        return list({e.fit_id: e for e in self.members if e.student.init in FITTED}.values())

    @property
    def seeds(self) -> list[int]:
        """The seed of each of `origins`."""
        return [e.seed for e in self.origins]

    @property
    def teaching(self) -> int:
        """Iterations of all trainings of start networks together, one training a seed, and of all fits of starts."""
        ages = [(e.seed, e.teacher.age) for e in self.networks]
        oldest = {seed: max(age for own, age in ages if own == seed) for seed, _ in ages}
        return sum(oldest.values()) + len(self.fits) * self.shared.student.regression

    @cached_property
    def place(self) -> list[int]:
        """For each member the place of its own among `origins`."""
        places = {_network(e): i for i, e in enumerate(self.origins)}
        return [places[_network(e)] for e in self.members]

    @property
    def shape(self) -> tuple[tuple[str, Any], ...]:
        """What all members share: groups of equal shape could be one."""
        return shape(self.shared)

    @cached_property
    def ids(self) -> list[str]:
        """The members' ids."""
        return [e.id for e in self.members]

    def __len__(self) -> int:
        return len(self.members)


def _network(e: Experiment) -> tuple[int, int]:
    """What tells the networks of a group apart."""
    return e.seed, e.teacher.age


def start_owner(e: Experiment) -> Experiment:
    """Whose network this member's student starts at: its own, or that of the next seed."""
    return e.model_copy(update={"seed": e.seed + 1}) if e.student.init == "other" else e


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
