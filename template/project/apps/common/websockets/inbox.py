"""The application frames of one connection: bounded, and handled one after the other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Hands each item to `handle`, in order, in a task of its own, which lives only while there is something to do.

    So what reads the socket never waits for a handler, and an idle connection costs no task.
    """

    def __init__(self, handle: Callable[[T], Awaitable[None]], limit: int) -> None:
        self._handle = handle
        self._limit = limit
        self._items: deque[T] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, item: T) -> bool:
        """Take an item; False if the inbox is full."""
        if len(self._items) >= self._limit:
            return False
        self._items.append(item)
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return True

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being handled."""
        return self._task is None

    async def close(self) -> None:
        """Drop what waits, and cancel what is being handled. Called from within a handler, it lets that one end."""
        self._items.clear()
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._items:
                await self._handle(self._items.popleft())
        finally:
            self._task = None
