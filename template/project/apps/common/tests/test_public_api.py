"""`__all__` of apps.common.websockets, the names it really has, and the table of docs/websockets.md are the same."""

import re
from types import ModuleType

import pytest

from apps.common import websockets
from apps.common.features import APPS_DIR

GUIDE = APPS_DIR.parent / "docs/websockets.md"


def names_of(module):
    """The names that a module offers, but for its submodules."""
    return {name for name, value in vars(module).items() if name[0] != "_" and not isinstance(value, ModuleType)}


def names_in(guide):
    """The first column of the table of names."""
    [rows] = re.findall(r"^\| Name \| What it does \|\n.*\n((?:\|.*\n)+)", guide, re.MULTILINE)
    return re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)


def differences(guide, module):
    """Names that one of the three has and another lacks, or that the guide has twice."""
    exported, offered, documented = set(module.__all__), names_of(module), names_in(guide)
    twice = {name for name in documented if documented.count(name) > 1}
    return (exported ^ offered) | (exported ^ set(documented)) | twice


def test_what_is_exported_is_offered_and_documented():
    assert differences(GUIDE.read_text(encoding="utf-8"), websockets) == set()


@pytest.mark.parametrize("name", websockets.__all__)
def test_every_name_has_a_docstring(name):
    value = getattr(websockets, name)
    assert value.__doc__
    assert value.__module__.startswith("apps.common.websockets.")


MODULE = ModuleType("example")
MODULE.__dict__.update(__all__=["first", "second"], first=1, second=2, submodule=MODULE, _private=3)
TABLE = "| Name | What it does |\n| --- | --- |\n| `first` | … |\n| `second` | … |\n"


def test_a_complete_table_has_no_differences():
    assert differences(TABLE, MODULE) == set()


@pytest.mark.parametrize(
    ("guide", "changes", "expected"),
    [
        (TABLE.replace("| `second` | … |\n", ""), {}, {"second"}),
        (TABLE + "| `third` | … |\n", {}, {"third"}),
        (TABLE + "| `first` | … |\n", {}, {"first"}),
        (TABLE, {"third": 3}, {"third"}),
        (TABLE, {"__all__": ["first"]}, {"second"}),
        (TABLE, {"__all__": ["first", "second", "third"]}, {"third"}),
    ],
    ids=["left out", "invented", "twice", "not exported", "removed from __all__", "not importable"],
)
def test_a_difference_is_found(guide, changes, expected):
    module = ModuleType("example")
    module.__dict__.update(vars(MODULE) | changes)
    assert differences(guide, module) == expected
