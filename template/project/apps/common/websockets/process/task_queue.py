"""A queue whose items are handled one after the other, by a task that exists only while there are any."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

from apps.common.websockets.service import guard

T = TypeVar("T")

AT_ONCE = 64  # items, if none of them suspends, before other tasks run


class TaskQueue(Generic[T]):
    """Calls `handle` with each item, in order, in this context. What it raises is logged, and the next one follows.

    limit, limit_bytes: of the items that wait, and of their sizes. handle_now: handles an item that needs no waiting,
    in a callback, which costs less than a task; returns False for another one.
    """

    __slots__ = ("_context", "_handle", "_handle_now", "_items", "_limit", "_limit_bytes", "_task", "waiting_bytes")

    def __init__(
        self,
        handle: Callable[[T], Awaitable[None]],
        limit: int,
        limit_bytes: int,
        context: Context,
        handle_now: Callable[[T], bool] | None = None,
    ) -> None:
        self._handle = handle
        self._handle_now = handle_now
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._context = context
        self._items: deque[tuple[T, int]] | None = None  # while there are any
        self._task: asyncio.Task[None] | None = None
        self.waiting_bytes = 0

    def put(self, item: T, size: int = 0) -> bool:
        """Add an item of a size in bytes; False if the queue is full."""
        if self._items is None:
            self._items = deque()
            loop = asyncio.get_running_loop()
            if self._handle_now is None:
                self._task = loop.create_task(self._work(self._items), context=self._context)
            else:
                loop.call_soon(self._work_now, self._items, self._handle_now, context=self._context)
        elif len(self._items) >= self._limit or self.waiting_bytes + size > self._limit_bytes:
            return False
        self._items.append((item, size))
        self.waiting_bytes += size
        return True

    @property
    def is_idle(self) -> bool:
        """Whether no item waits or is being handled."""
        return self._items is None

    async def close(self, grace_seconds: float = 0) -> None:
        """Drop the waiting items, and cancel the one that is being handled, unless it ends within these seconds."""
        if self._items:
            self._items.clear()
        if self._task and grace_seconds:
            await asyncio.wait([self._task], timeout=grace_seconds)
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _work_now(self, items: deque[tuple[T, int]], handle_now: Callable[[T], bool]) -> None:
        try:
            for _ in range(min(len(items), AT_ONCE)):
                if not handle_now(items[0][0]):
                    break
                self.waiting_bytes -= items.popleft()[1]
        finally:
            if items:
                self._task = asyncio.get_running_loop().create_task(self._work(items), context=self._context)
            else:
                self._items = None  # an empty deque has 600 bytes

    async def _work(self, items: deque[tuple[T, int]]) -> None:
        try:
            handled = 0
            while items:
                item, size = items.popleft()
                self.waiting_bytes -= size
                with guard("A task queue"):
                    await self._handle(item)
                handled += 1
                if handled % AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            self._task = self._items = None
