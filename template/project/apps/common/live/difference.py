"""The difference between two lists of rows, as steps of which each says where a row belongs. Plain functions."""

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

Rows: TypeAlias = Mapping[Hashable, str]  # the JSON of each row by its key, in order


class Saved(NamedTuple):
    """A row that is new, changed or moved. after: the key of the row before it, None for the first."""

    key: Hashable
    after: Hashable


class Deleted(NamedTuple):
    """A row that is no longer in the list."""

    key: Hashable


def difference(old: Rows, new: Rows) -> Iterator[Saved | Deleted]:
    """The steps that make the new list of the old one, taken one after the other; as few moves as possible."""
    for key in old:
        if key not in new:
            yield Deleted(key)
    settled = _longest_in_order(old, new)
    after = None
    for key, text in new.items():
        if key not in settled or old[key] != text:
            yield Saved(key, after)
        after = key


def _longest_in_order(old: Rows, new: Rows) -> set[Hashable]:
    """As many keys of both as possible that are in the same order in both: the rows that need not move.

    Patience sorting: the longest increasing subsequence of the places in the old list.
    """
    places = {key: place for place, key in enumerate(old)}
    common = [key for key in new if key in places]
    ends: list[int] = []  # ends[n]: the least place with which a sequence of n + 1 keys ends
    last: list[int] = []  # the index in `common` of that key
    before: list[int] = []  # of each key in `common`: the index of the one before it in its sequence
    for index, key in enumerate(common):
        length = bisect_left(ends, places[key])
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [places[key]]
        last[length : length + 1] = [index]
    found = set()
    index = last[-1] if last else -1
    while index >= 0:
        found.add(common[index])
        index = before[index]
    return found
