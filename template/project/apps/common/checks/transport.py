"""Whether connections bypass ASGI: websockets/connection/frames.py.

`manage.py check` prints it. It runs no server: it looks at the protocol of ours, and calls each middleware with a
handshake, without an event loop; a middleware that waits for something, such as a database, stays unknown.
"""

import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from types import FunctionType
from typing import Any

from channels.auth import AuthMiddleware
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from channels.sessions import SessionMiddleware
from django.utils.module_loading import import_string

from apps.common.checks.application import INNER, middleware_chain, root_application

ASGI = "Connections use ASGI, which takes up to twice the CPU: {}. See 'Running in production' in docs/websockets.md."
DIRECT = "Connections of apps.common.server bypass ASGI (uvicorn {}, websockets {}); those of other servers use it."
HANDSHAKE = {"type": "websocket", "path": "/", "root_path": "", "query_string": b"", "headers": [], "subprotocols": []}


def transport() -> str:
    """The way that connections take, and the reason; empty without an ASGI application."""
    if (application := root_application()) is None:
        return ""
    middleware = {_name(layer): _wrapped_by(layer) for layer in _layers(application)}
    wrapping = [f"{name} wraps `{each}`" for name, wrapped in middleware.items() for each in wrapped or ()]
    if reasons := [*_server(), *wrapping]:
        return ASGI.format("; ".join(reasons))
    unknown = " or ".join(name for name, wrapped in middleware.items() if wrapped is None)
    text = DIRECT.format(version("uvicorn"), version("websockets"))
    return text + (f" Unknown is whether `send` or `receive` is wrapped by {unknown}." if unknown else "")


def _server() -> Iterator[str]:
    from apps.common.server import UVICORN_OPTIONS  # imports uvicorn, which most commands do not need

    try:
        from apps.common.uvicorn_protocol import BoundedProtocol
    except ImportError as error:
        yield f"apps.common.server cannot import its protocol ({error})"
        return
    # uvicorn calls these by name, and would not call one that it has renamed. What calls super() overrides.
    hooks = [name for name, value in vars(BoundedProtocol).items() if isinstance(value, FunctionType)]
    hooks = [name for name in hooks if "__class__" in vars(BoundedProtocol)[name].__code__.co_freevars]
    if lacking := [hook for hook in hooks if not hasattr(BoundedProtocol.__base__, hook)]:
        yield f"the protocol of uvicorn {version('uvicorn')} has no {', '.join(lacking)}"
    with suppress(ImportError, AttributeError):  # "auto", or a class
        if issubclass(import_string(UVICORN_OPTIONS["ws"].replace(":", ".")), BoundedProtocol):
            if UVICORN_OPTIONS["ws_per_message_deflate"]:
                yield "apps.common.server compresses (ws_per_message_deflate)"
            return
    yield f"the protocol of apps.common.server is {UVICORN_OPTIONS['ws']}"


def _layers(application: Any) -> Iterator[Any]:
    """The middleware around the routes, and around single ones."""
    for layer in middleware_chain(application):
        if isinstance(layer, URLRouter):
            for route in layer.routes:
                yield from _layers(route.callback)
        elif not hasattr(layer, "consumer_class"):
            yield layer


def _wrapped_by(layer: Any) -> list[str] | None:
    """Which of `send` and `receive` a middleware does not pass on as they are; None if that is unknown."""
    if isinstance(layer, SessionMiddleware) or type(layer) in (ProtocolTypeRouter, OriginValidator, AuthMiddleware):
        return ["send"] if isinstance(layer, SessionMiddleware) else []  # Channels' own want more than HANDSHAKE
    passed_on: list[dict[str, Any]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        passed_on.append({"send": send, "receive": receive})

    async def send(event: Any) -> None: ...

    async def receive() -> Any: ...

    with suppress(Exception), warnings.catch_warnings(action="ignore"):
        name, before = next((name, found) for name in INNER if (found := getattr(layer, name, None)))
        setattr(layer, name, inner)
        try:
            with closing(layer(dict(HANDSHAKE), receive, send)) as coroutine:
                coroutine.send(None)
        finally:
            setattr(layer, name, before)
    own = {"send": send, "receive": receive}
    return [name for name in own if passed_on[0][name] is not own[name]] if passed_on else None


def _name(layer: Any) -> str:
    named = layer if hasattr(layer, "__qualname__") else type(layer)
    return f"{named.__module__}.{named.__qualname__}"
