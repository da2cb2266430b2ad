"""Names the lines of a feature that differ from its messages.py: the contract file, scripts and templates."""

import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from apps.common.checks.scripts import local_scripts
from apps.common.contract.contract_file import camel_case
from apps.common.contract.features import Feature, read
from apps.common.contract.service_checks import check_service_messages

INPUTS = ("input", "select", "textarea")
COMMENT = re.compile(r"\s*(//|/?\*)")


def problems(feature: Feature) -> list[str]:
    """Each as "apps/orders/…/orders_app.js:31: …". A feature without a contract file is not compared with one."""
    unnamed = [f"{error.obj}: {error.msg}" for error in check_service_messages([feature.config])]
    return [*_stale(feature), *unnamed, *_inputs(feature)]


def place(path: Path, line: int = 0) -> str:
    return f"{os.path.relpath(path)}:{line}" if line else os.path.relpath(path)


def _stale(feature: Feature) -> Iterator[str]:
    fix = f"run `manage.py contract {feature.name}`"
    try:
        file = read(feature.path)
    except ValueError as error:
        yield f"{place(feature.path, 1)}: {error}; {fix}"
        return
    messages = feature.messages
    if file is None or file.is_current(messages):
        return
    yield f"{place(feature.path, 1)}: differs from messages.py; {fix}"
    removed: dict[str, list[str]] = {}
    for type_, old in file.current.messages.items():
        if type_ not in messages:
            removed.setdefault(type_, []).append(feature.name)
        for name in old["fields"].keys() - messages.get(type_, old)["fields"].keys():
            removed.setdefault(name, []).append(type_)
    for name, places in removed.items():
        yield from _uses(feature, name, f"{name!r} is no longer in {' and '.join(places)}")


def _uses(feature: Feature, name: str, problem: str) -> Iterator[str]:
    """The lines of the feature's scripts that have the name."""
    word = re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])")
    for script in local_scripts([feature.config]):
        for number, line in enumerate(script.source.splitlines(), 1):
            if word.search(line) and not COMMENT.match(line):
                yield f"{script.place(number)}: {problem}"


def _inputs(feature: Feature) -> Iterator[str]:
    for path in sorted(Path(feature.config.path, "templates").rglob("*.html")):
        reader = _Template(feature)
        reader.feed(path.read_text(encoding="utf-8", errors="replace"))
        yield from (f"{place(path, line)}: {problem}" for line, problem in reader.problems)


class _Template(HTMLParser):
    """Reads the inputs of each `<form data-action>` and the places of each `<template data-event>`."""

    def __init__(self, feature: Feature) -> None:
        super().__init__()
        self.problems: list[tuple[int, str]] = []  # with their lines
        self._types = {type_.replace("_", "-"): type_ for type_ in feature.messages}
        self._types |= {camel_case(type_): type_ for type_ in feature.messages}
        self._messages = feature.messages
        self._open: dict[str, str | None] = {}  # the message's type, by the tag of what is open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("form", "template"):
            self._open[tag] = self._types.get(values.get("data-action") or values.get("data-event") or "")
        outer, attribute = ("form", "name") if tag in INPUTS else ("template", "data-field")
        type_, name = self._open.get(outer), values.get(attribute)
        if type_ and name and "{" not in name and name not in self._messages[type_]["fields"]:
            self.problems.append((self.getpos()[0], f"{type_} has no field {name!r}"))

    def handle_endtag(self, tag: str) -> None:
        self._open.pop(tag, None)
