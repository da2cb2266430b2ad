"""Objects that exist once for each event loop: made when first used, closed when the loop ends."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")

logger = logging.getLogger(__name__)

ATTRIBUTE = "_apps_common_websockets"  # of the loop itself: a dictionary of loops would keep each of them alive

_scopes: WeakSet["_Scope"] = WeakSet()
_lock = threading.Lock()  # of _scopes: loops begin in any thread


def of_running_loop(factory: Callable[[], T]) -> T:
    """The object that the factory makes, once for the running event loop.

    If it has an `async close()`, that is awaited when the loop ends: by asyncio.run(), asgiref's async_to_sync, uvicorn
    and everything else that calls loop.shutdown_asyncgens().
    """
    loop = asyncio.get_running_loop()
    scope: _Scope | None = loop.__dict__.get(ATTRIBUTE)
    if scope is None:
        scope = _Scope(loop)
        loop.__dict__[ATTRIBUTE] = scope
        with _lock:
            _scopes.add(scope)
    made: T = scope.get(factory)
    return made


def of_all_loops(factory: Callable[[], T]) -> list[tuple[asyncio.AbstractEventLoop, T]]:
    """The factory's objects in this process, with the loop of each; loops that have ended are left out."""
    with _lock:
        scopes = list(_scopes)
    running = [scope for scope in scopes if not scope.loop.is_closed()]
    return [(scope.loop, scope.made[factory]) for scope in running if factory in scope.made]


class _Scope:
    """The objects of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.made: dict[Callable[[], Any], Any] = {}
        # The loop closes the asynchronous generators that were begun in it, and nothing else, before it ends.
        self._lifetime = self._run()
        with suppress(StopIteration):
            self._lifetime.__anext__().send(None)

    def get(self, factory: Callable[[], Any]) -> Any:
        if factory not in self.made:
            self.made[factory] = factory()
        return self.made[factory]

    async def _run(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close()

    async def _close(self) -> None:
        while self.made:
            made = self.made.pop(next(iter(self.made)))  # the first one first: later ones may serve it
            try:
                if close := getattr(made, "close", None):
                    await close()
            except Exception:
                logger.exception("Closing %r failed", made)
