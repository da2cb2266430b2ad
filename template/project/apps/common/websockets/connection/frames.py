"""Frames that are written straight to a client's transport, and events that come straight from its server, past ASGI.

A server's frames are not masked (RFC 6455, 5.1): a broadcast has the same bytes for every client. It is framed once and
written to each, which costs less than ASGI's `send`; and what is handed over wakes no task, as ASGI's `receive` does.
Other servers than ours, and a middleware that wraps `send` or `receive`, do not have this; their connections use ASGI.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Protocol

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Frames(Protocol):
    """The server's end of an accepted connection: BoundedProtocol, in uvicorn_protocol.py."""

    transport: Any  # an asyncio.Transport
    takes_frames: bool  # now: it is open, the client reads, and nothing compresses what it is sent
    on_stop: Callable[[], None] | None  # called once, when it takes none for now or for ever


class Events(Protocol):
    """The same server's other end: BoundedProtocol too."""

    def deliver_to(self, sink: Callable[[Any], object] | None) -> list[Any]:
        """Call sink(event) for each ASGI event from now on; None drops them. Returns those that wait."""


def events_of(receive: Receive) -> Events | None:
    """The events behind a server's own `receive`. None for another server's, or a wrapped one."""
    owner = getattr(receive, "__self__", None)
    return owner if hasattr(owner, "deliver_to") else None


def frames_of(send: Send) -> Frames | None:
    """The frames behind a server's own `send`. None for another server's, or a wrapped one."""
    owner = getattr(send, "__self__", None)
    if hasattr(owner, "takes_frames"):
        return owner
    _note(getattr(send, "__qualname__", type(send).__qualname__), getattr(send, "__module__", "") or "")
    return None


@lru_cache(maxsize=16)  # says it once for each
def _note(name: str, module: str) -> None:
    logger.info("Connections use ASGI, which costs more: `send` is %s of %s, not of apps.common.server", name, module)


def transport_of(send: Send) -> Any:
    """The transport behind a server's own `send`: uvicorn's belongs to an object that has it. None for another one."""
    return getattr(getattr(send, "__self__", None), "transport", None)
