"""The calls of snapshot(), which clients that wait for the same state share.

A client joins the next call, which begins after all of its clients have joined: so what it returns is never older than
the position that any of them has read. After an outage a thousand clients cost a few calls.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextvars import Context

from django.db import Error as DatabaseError

from apps.common.websockets import protocol
from apps.common.websockets.event_loop import of_running_loop
from apps.common.websockets.messages import Message
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.protocol import Position
from apps.common.websockets.service import is_cancelled

logger = logging.getLogger(__name__)

CALL_SECONDS = 30  # that a call may take
PAUSE_SECONDS = 0.01  # after a call, for each client that shared it: the next call gathers those of meanwhile
MAX_PAUSE_SECONDS = 1.0
ENCODE_AT_ONCE = 256  # messages, before other tasks run

Snapshot = Callable[[], Awaitable[Sequence[Message]]]


class SnapshotFailed(Exception):
    """snapshot() raised, which is logged once for all clients that shared the call."""


class State:
    """What one call returned, encoded once."""

    def __init__(self, parts: list[str]) -> None:
        """parts: JSON arrays of messages."""
        self._parts = parts
        self._texts: dict[Position, list[str]] = {}

    def texts(self, position: Position) -> list[str]:
        """The messages to send to a client with this position. Clients with the same one share them."""
        if position not in self._texts:
            self._texts[position] = protocol.state(position, self._parts)
        return self._texts[position]


class Snapshots:
    """The calls of this event loop, by what their clients have in common."""

    def __init__(self) -> None:
        self._next: dict[Hashable, _Call] = {}
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    async def take(self, key: Hashable, snapshot: Snapshot, context: Context) -> State:
        """The result of a call that begins after this one has joined it. Raises SnapshotFailed.

        context: in which `snapshot` runs, if this is the last client to join.
        """
        call = self._next.get(key)
        if call is None:
            call = self._next[key] = _Call()
        call.join(snapshot, context)
        if key not in self._tasks:
            # Serves all clients, and so inherits nothing from the one that came first.
            self._tasks[key] = asyncio.get_running_loop().create_task(self._work(key), context=Context())
        state = await asyncio.shield(call.result)
        if state is None:
            raise SnapshotFailed
        return state

    async def close(self) -> None:
        """End the calls: the event loop is about to end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _work(self, key: Hashable) -> None:
        try:
            while call := self._next.pop(key, None):
                await call.run()
                await asyncio.sleep(min(call.clients * PAUSE_SECONDS, MAX_PAUSE_SECONDS))
        finally:
            self._tasks.pop(key, None)


class _Call:
    """One call, and the clients that wait for its result."""

    def __init__(self) -> None:
        self.clients = 0
        self.result: asyncio.Future[State | None] = asyncio.get_running_loop().create_future()  # None: it failed

    def join(self, snapshot: Snapshot, context: Context) -> None:
        self.clients += 1
        self._snapshot, self._context = snapshot, context  # of the last client, which is probably still connected

    async def run(self) -> None:
        state = None
        try:
            count("snapshots")
            # The method of a consumer, and so in the context of its connection.
            state = await asyncio.get_running_loop().create_task(self._read(), context=self._context)
        finally:
            self.result.set_result(state)

    async def _read(self) -> State | None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return State(protocol.join_messages([text async for text in _encode(await self._snapshot())]))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            logger.exception("%s() failed", getattr(self._snapshot, "__qualname__", "snapshot"))
            if isinstance(error, DatabaseError):
                await get_registry().close_old_connections()
            return None


async def _encode(messages: Sequence[Message]) -> AsyncIterator[str]:
    for number, message in enumerate(messages, 1):
        yield message.encode()
        if number % ENCODE_AT_ONCE == 0:
            await asyncio.sleep(0)


def get_snapshots() -> Snapshots:
    """The calls of the running event loop."""
    return of_running_loop(Snapshots)
