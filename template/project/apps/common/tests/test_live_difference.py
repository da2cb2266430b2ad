"""The steps between two lists of rows."""

import random

import pytest

from apps.common.live.difference import Deleted, difference


def apply(rows, steps, new):
    """The list of a page that takes the steps one after the other."""
    keys = list(rows)
    for step in steps:
        if step.key in keys:
            keys.remove(step.key)
        if not isinstance(step, Deleted):
            keys.insert(0 if step.after is None else keys.index(step.after) + 1, step.key)
            rows = rows | {step.key: new[step.key]}
    return {key: rows[key] for key in keys}


def lists(seed):
    chance = random.Random(seed)  # noqa: S311
    keys = range(chance.randrange(9))
    return ({key: chance.choice("ab") for key in chance.sample(keys, chance.randint(0, len(keys)))} for _ in range(2))


@pytest.mark.parametrize("seed", range(500))
def test_the_steps_lead_from_one_list_to_the_other(seed):
    old, new = lists(seed)
    found = apply(old, difference(old, new), new)
    assert list(found.items()) == list(new.items())


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        ("abc", "abc", 0),
        ("abc", "bc", 1),
        ("bc", "abc", 1),
        ("abcd", "bcda", 1),
        ("abcd", "dabc", 1),
        ("abcd", "dcba", 3),
        ("abcd", "", 4),
    ],
)
def test_no_more_rows_move_than_must(old, new, steps):
    assert len(list(difference(dict.fromkeys(old, ""), dict.fromkeys(new, "")))) == steps


def test_a_changed_row_is_a_step_where_it_is():
    assert list(difference({1: "a", 2: "b"}, {1: "a", 2: "c"})) == [(2, 1)]
