"""Every endpoint in the JavaScript of a local app is served by a WebSocket route."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern
from django.utils.regex_helper import normalize

from apps.common.checks import javascript
from apps.common.checks.application import root_application, router
from apps.common.checks.javascript import PLACEHOLDER
from apps.common.checks.scripts import AppConfigs, local_scripts


@register(Tags.urls)
def check_endpoints(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    found = router(root_application())
    if found is None:  # it is behind something that does not show what is inside
        return []
    return [
        _error(literal.text, script.place(literal.line), found.routes)
        for script in local_scripts(app_configs)
        for literal in javascript.endpoints(script.source)
        if literal.text.startswith("/") and not is_served(literal.text.partition("?")[0], found.routes)
    ]


def is_served(path: str, routes: list[URLPattern]) -> bool:
    """Whether a path with PLACEHOLDERs for what varies, such as /ws/orders/\\0/, may lead to one of the routes."""
    if any(_fits(path, shape) for shape in _shapes(routes)):
        return True
    # Django cannot compute the shape of every regular expression. One that matches "" catches all, and serves nothing.
    example = path.removeprefix("/").replace(PLACEHOLDER, "1")
    leaves = [route.pattern for route in routes if not router(route.callback)]
    return any(pattern.match(example) and not pattern.match("") for pattern in leaves)


def _shapes(routes: list[URLPattern], prefix: str = "/") -> Iterator[str]:
    for route in routes:
        inner = router(route.callback)
        for form, _names in normalize(route.pattern.regex.pattern):
            shape = prefix + re.sub(r"%\(\w+\)s", PLACEHOLDER, form)
            yield from _shapes(inner.routes, shape) if inner else [shape]


def _fits(path: str, shape: str) -> bool:
    """Part by part: what varies in one may be anything in the other."""
    parts, others = path.split("/"), shape.split("/")
    return len(parts) == len(others) and all(a == b or PLACEHOLDER in a + b for a, b in zip(parts, others, strict=True))


def _error(path: str, place: str, routes: list[URLPattern]) -> Error:
    nearest = get_close_matches(path, set(_shapes(routes)) - {"/"}, n=1)
    return Error(
        f"No route serves the endpoint {readable(path)!r}.",
        hint=f"Did you mean {readable(nearest[0])!r}?" if nearest else "Routes are in routing.py of an app.",
        obj=place,
        id="common.E003",
    )


def readable(path: str) -> str:
    return path.replace(PLACEHOLDER, "…")
