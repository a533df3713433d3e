"""A group: members alike in all but their own keys, by seed and by shape."""

import pytest
from small import experiment

from dmdlab.config import Experiment, member_keys
from dmdlab.group import Group, group_by_shape


def members() -> tuple[Experiment, ...]:
    return (
        experiment(seed=5),
        experiment(seed=2, student__init="rotated"),
        experiment(seed=5, student__learning_rate=1e-4),
        experiment(seed=9, fake_score__learning_rate=1e-4),
    )


def test_members_differ_in_keys_of_their_own() -> None:
    group = Group(members())
    assert len(group) == 4
    assert group.shared is group.members[0]
    assert group.ids == [e.id for e in members()]
    assert len(set(group.ids)) == 4
    rates = {"student.learning_rate", "fake_score.learning_rate"}
    own = rates | {"seed", "student.init", "student.turn_degrees", "teacher.snapshot"}
    assert member_keys() == own


@pytest.mark.parametrize(
    "other",
    [
        {"law__dim": 5},
        {"law__components": 5},
        {"network__width": 17},
        {"network__precision": "float32"},
        {"student__iterations": 251},
        {"teacher__steps": 31},
        {"terms__any__weight": 1.0},
    ],
    ids=str,
)
def test_a_member_that_differs_in_another_key_is_refused(other: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="alike in all keys but the members' own"):
        Group((experiment(), experiment(**other)))


def test_a_group_has_members() -> None:
    with pytest.raises(ValueError, match="one run or more"):
        Group(())


def test_every_seed_has_a_place_and_a_member() -> None:
    group = Group(members())
    assert group.seeds == [2, 5, 9]
    assert group.place == [1, 0, 1, 2]
    assert [e.seed for e in group.origins] == group.seeds


def test_teachers_of_different_ages_of_one_seed_have_places_of_their_own() -> None:
    aged = [
        experiment(seed=s, teacher__iterations=40, teacher__snapshot=at) for s, at in ((1, 9), (0, 0), (1, 0), (1, 9))
    ]
    group = Group(tuple(aged))
    assert [(e.seed, e.teacher.age) for e in group.origins] == [(0, 40), (1, 9), (1, 40)]
    assert group.place == [1, 0, 2, 1]
    assert group.seeds == [0, 1, 1]
    assert group.teaching == 80  # one training a seed, to the last age


def test_networks_are_those_of_the_seeds_and_one_more_where_another_teachers_is_wanted() -> None:
    """Consecutive seeds share theirs. A fit counts once, whoever starts there."""
    short = {"teacher__iterations": 40, "student__regression": 7}
    wanted = [(s, init) for s in (0, 1) for init in ("teacher", "other", "regressed")]
    es = [experiment(seed=s, student__init=init, **short) for s, init in wanted]
    again = experiment(seed=1, student__init="regressed", student__learning_rate=1e-4, **short)
    group = Group((*es, again))
    assert group.seeds == [0, 1]
    assert [e.seed for e in group.networks] == [0, 1, 2]
    assert group.begins == [0, 1, 0, 1, 2, 1, 1]
    assert group.place == [0, 0, 0, 1, 1, 1, 1]
    assert [(e.seed, e.student.init) for e in group.fits] == [(0, "regressed"), (1, "regressed")]
    assert group.teaching == 3 * 40 + 2 * 7
    other = Group((experiment(seed=3, student__init="transport", **short),)).fits[0]
    assert len({other.fit_id, other.teacher_id, *(e.fit_id for e in group.fits)}) == 4


def test_groups_of_equal_shape_could_be_one() -> None:
    first, *others = members()
    assert {Group((e,)).shape for e in others} == {Group((first,)).shape}
    assert Group((experiment(law__dim=5),)).shape != Group((first,)).shape
    assert Group(members()) == Group(members())
    words = {"law__components": 3, "law__std": 0.3}
    assert len(Group((experiment(**words), experiment(**dict(reversed(words.items())))))) == 2


def test_experiments_are_grouped_by_shape_in_order_of_first_appearance() -> None:
    small, large = members(), tuple(experiment(law__dim=8, seed=s) for s in (1, 0))
    found = group_by_shape([small[0], large[0], *small[1:], large[1]])
    assert found == [Group(small), Group(large)]
    assert group_by_shape([]) == []


def test_a_setting_is_told_from_another_of_its_value() -> None:
    """A number and its text, or true and 1, are not the same shape."""
    one, true, text = (experiment(terms__any__choice=value) for value in (1, True, "1"))
    assert len(group_by_shape([one, true, text])) == 3
