"""A queue whose items are handled one after the other, by a task that exists only while there are any."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

AT_ONCE = 64  # items, if none of them suspends, before other tasks run


class TaskQueue(Generic[T]):
    """Calls `handle` with each item, in order."""

    __slots__ = ("_handle", "_items", "_limit", "_task")

    def __init__(self, handle: Callable[[T], Awaitable[None]], limit: int) -> None:
        self._handle = handle
        self._limit = limit
        self._items: deque[T] | None = None  # made at the first item
        self._task: asyncio.Task[None] | None = None

    def put(self, item: T) -> bool:
        """Add an item; False if the queue is full."""
        if self._items is None:
            self._items = deque()
        elif len(self._items) >= self._limit:
            return False
        self._items.append(item)
        if self._task is None:
            self._task = asyncio.create_task(self._work(self._items))
        return True

    @property
    def is_idle(self) -> bool:
        """Whether no item waits or is being handled."""
        return self._task is None

    async def close(self) -> None:
        """Drop the waiting items, and cancel the one that is being handled."""
        if self._items:
            self._items.clear()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self, items: deque[T]) -> None:
        try:
            handled = 0
            while items:
                await self._handle(items.popleft())
                handled += 1
                if handled % AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            self._task = None
