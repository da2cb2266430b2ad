"""The changes between two contracts that break.

An action may accept more, an event or an answer may say less: whatever an open page sends is accepted, and whatever it
receives is what it knows. A new field of an action has a default, since open pages leave it out, and so has one of an
event, since stored broadcasts lack it. role: "action", "event" or "answer".
"""

from collections.abc import Callable, Iterator
from operator import eq, ge, le
from typing import Any

from apps.common.contract.normal_form import Form

BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("min", "above"), ge),
    **dict.fromkeys(("max", "below", "digits", "places"), le),
    **dict.fromkeys(("step", "pattern"), eq),
}


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Each change from the old contract's messages to the new one's for which an open page or a stored broadcast is no
    longer right: "place_order.note: removed"."""
    for type_, before in old.items():
        after = new.get(type_)
        if after is None or after["is"] != before["is"]:
            yield f"{type_}: removed"
            continue
        if before.get("answer") and before["answer"] != after.get("answer"):
            yield f"{type_}: no longer answered with {before['answer']}"
        yield from _fields(type_, before["fields"], after["fields"], before["is"])


def _fields(path: str, old: Form, new: Form, role: str) -> Iterator[str]:
    for name, before in old.items():
        if name not in new:
            yield f"{path}.{name}: removed"
        else:
            yield from _field(f"{path}.{name}", before, new[name], role)
    for name in new.keys() - old.keys():
        if role != "answer" and not new[name].get("optional"):
            yield f"{path}.{name}: new, and without a default"


def _field(path: str, old: Form, new: Form, role: str) -> Iterator[str]:
    narrow, wide = (old, new) if role == "action" else (new, old)
    if role == "action" and old.get("optional") and not new.get("optional"):
        yield f"{path}: required"
    if old["kind"] == new["kind"] == "object" and (wide.get("null") or not narrow.get("null")):
        yield from _fields(path, old["of"], new["of"], role)
    elif not _fits(narrow, wide, role):
        yield f"{path}: {_text(old)} became {_text(new)}"


def _fits(narrow: Form, wide: Form, role: str) -> bool:
    """Whether each value of the one is a value of the other."""
    if narrow.get("null") and not wide.get("null") and wide["kind"] != "json":
        return False
    if wide["kind"] == "json":
        return True
    if narrow["kind"] != wide["kind"] or not _is_within(narrow, wide):
        return False
    inner: Any = narrow.get("of")
    outer: Any = wide.get("of")
    match narrow["kind"]:
        case "enum":
            return all(value in outer for value in inner)
        case "list" | "map":
            return _fits(inner, outer, role)
        case "union":
            return all(any(_fits(each, other, role) for other in outer) for each in inner)
        case "object":
            old, new = (inner, outer) if role == "action" else (outer, inner)
            return not any(_fields("", old, new, role))
    return bool(inner == outer)


def _is_within(narrow: Form, wide: Form) -> bool:
    """Whether the bounds of the one are within the other's."""
    bounded = [name for name in BOUNDS if name in wide]
    if not all(name in narrow and BOUNDS[name](narrow[name], wide[name]) for name in bounded):
        return False
    # Of a decimal, also the digits before its point: a place more takes one of them.
    whole = [form["digits"] - form.get("places", 0) for form in (narrow, wide) if "digits" in wide]
    return whole == sorted(whole)


def _text(form: Form) -> str:
    return " ".join(f"{key}={value}" if key != "kind" else value for key, value in form.items())
