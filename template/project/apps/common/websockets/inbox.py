"""What a connection receives: handled in order, while nothing else waits for a handler."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Reads a connection until it ends, and hands on what is to be handled, one after the other.

    `sort` sees each message at once and returns what is to be handled, or None if there is nothing left to do: pings
    are answered there. `handle` may take its time. As long as it never suspends, one task reads and handles in turn,
    which costs nothing. The first time it does suspend, a second task takes over the reading for good: so pings, the
    limits and the end of the connection never wait behind a slow handler, and the end cancels it.
    """

    __slots__ = ("_end", "_handle", "_items", "_limit", "_reader", "_receive", "_sort", "_task", "_wake")

    def __init__(
        self,
        receive: Callable[[], Awaitable[Any]],
        sort: Callable[[Any], T | None],
        handle: Callable[[T], Awaitable[None]],
        limit: int,
    ) -> None:
        self._receive = receive
        self._sort = sort
        self._handle = handle
        self._limit = limit
        self._items: deque[T] | None = None  # made when there is more than one
        self._end: Any = None
        self._task: asyncio.Task[Any] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether as many wait as may; `sort` refuses what comes now."""
        return self._items is not None and len(self._items) >= self._limit

    async def run(self) -> Any:
        """Read and handle until the end of the connection; returns its disconnect message."""
        self._task = asyncio.current_task()
        try:
            while self._end is None:
                item = await self._next()
                if item is not None:
                    await self._handle_watched(item)
            return self._end
        finally:
            if self._reader:
                self._reader.cancel()

    async def _next(self) -> T | None:
        if self._items:
            return self._items.popleft()
        if self._reader is None:
            return self._take(await self._receive())
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake
        return None

    async def _handle_watched(self, item: T) -> None:
        # The callback runs only if the handler suspends: otherwise it is cancelled before the loop gets to it.
        watch = None if self._reader else asyncio.get_running_loop().call_soon(self._start_reader)
        try:
            await self._handle(item)
        except asyncio.CancelledError:
            if self._end is None:
                raise  # the server's doing
            if self._task:
                self._task.uncancel()
        finally:
            if watch:
                watch.cancel()

    def _start_reader(self) -> None:
        self._items = deque()
        self._reader = asyncio.create_task(self._read(self._items))

    async def _read(self, items: deque[T]) -> None:
        while self._end is None:
            if (item := self._take(await self._receive())) is not None:
                items.append(item)
            self._wake_up()

    def _take(self, message: Any) -> T | None:
        if message["type"] == "websocket.disconnect":
            self._end = message
            return None
        return self._sort(message)

    def _wake_up(self) -> None:
        if self._wake:
            if (self._items or self._end) and not self._wake.done():
                self._wake.set_result(None)
                self._wake = None
        elif self._end and self._task:
            self._task.cancel()
