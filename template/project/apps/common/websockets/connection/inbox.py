"""The messages of a connection, handled in order, while pings and the end of the connection wait for no handler."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from apps.common.websockets.event_loop import of_running_loop

T = TypeVar("T")

DETECT_AFTER_SECONDS = 0.005


class Inbox(Generic[T]):
    """Reads a connection until it ends, and has its messages handled one after the other.

    `classify` sees each ASGI event at once and returns the item to handle, or None if nothing is left to do: pings are
    answered there. `handle` may suspend. Until it does, one task alternates between the two, which costs nothing. The
    first time it suspends, a second task takes over the reading until the end: so pings, the limits and the end of the
    connection never wait behind a slow handler, and the end cancels it.
    """

    __slots__ = (
        "_classify",
        "_detector",
        "_end",
        "_handle",
        "_has_cancelled",
        "_is_handling",
        "_is_over",
        "_items",
        "_limit",
        "_reader",
        "_receive",
        "_task",
        "_wake",
    )

    def __init__(
        self,
        receive: Callable[[], Awaitable[Any]],
        classify: Callable[[Any], T | None],
        handle: Callable[[T], Awaitable[None]],
        limit: int,
    ) -> None:
        self._receive = receive
        self._classify = classify
        self._handle = handle
        self._limit = limit
        self._items: deque[T] | None = None  # made when there is more than one
        self._end: Any = None
        self._is_over = False  # nothing more will be read
        self._is_handling = False
        self._has_cancelled = False
        self._task: asyncio.Task[Any] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._detector = of_running_loop(_SuspensionDetector)

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached; `classify` refuses further ones."""
        return self._items is not None and len(self._items) >= self._limit

    async def run(self) -> Any:
        """Read and handle until the end of the connection; returns its disconnect message."""
        self._task = asyncio.current_task()
        try:
            while not self._is_over:
                item = await self._read_next() if self._reader else self._take(await self._receive())
                if item is not None:
                    await self._handle_watched(item)
            if self._reader:
                await self._reader  # raises the error that ended it, if it was no disconnect
            return self._end
        finally:
            if self._reader:
                self._reader.cancel()

    async def _read_next(self) -> T | None:
        if self._items:
            return self._items.popleft()
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None
        return None

    async def _handle_watched(self, item: T) -> None:
        if self._reader is None:
            self._detector.begin(self)
        self._is_handling = True
        try:
            await self._handle(item)
        except asyncio.CancelledError:
            if not self._has_cancelled or self._cancels() > 1:
                raise  # the server cancels the task
        finally:
            self._is_handling = False
            self._detector.end(self)
        if self._has_cancelled and self._task:
            self._task.uncancel()  # also if the handler suppressed the cancellation

    def _cancels(self) -> int:
        return self._task.cancelling() if self._task else 0

    def start_reader(self) -> None:
        """Read in a task of its own from now on. Called by the detector."""
        self._items = deque()
        self._reader = asyncio.create_task(self._read(self._items))

    async def _read(self, items: deque[T]) -> None:
        """Read into the queue until the end of the connection: the second task."""
        try:
            while not self._is_over:
                if (item := self._take(await self._receive())) is not None:
                    items.append(item)
                    self._wake_up()
        finally:
            self._is_over = True
            self._wake_up()

    def _take(self, message: Any) -> T | None:
        if message["type"] == "websocket.disconnect":
            self._end, self._is_over = message, True
            return None
        return self._classify(message)

    def _wake_up(self) -> None:
        if self._wake and not self._wake.done():
            self._wake.set_result(None)
        elif self._is_over and self._is_handling and self._task:
            self._has_cancelled = True
            self._task.cancel()


class _SuspensionDetector:
    """Notices which handlers have suspended: those that are not done when the event loop runs the next callback.

    One timer serves all connections that handle something in the meantime; a callback for each message would cost the
    loop a turn, and a system call, for each. A ping may wait behind a slow handler for as long as the timer runs.
    """

    def __init__(self) -> None:
        self._handling: set[Inbox[Any]] = set()
        self._is_due = False

    def begin(self, inbox: "Inbox[Any]") -> None:
        self._handling.add(inbox)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(DETECT_AFTER_SECONDS, self._detect)

    def end(self, inbox: "Inbox[Any]") -> None:
        self._handling.discard(inbox)

    def _detect(self) -> None:
        self._is_due = False
        suspended, self._handling = self._handling, set()
        for inbox in suspended:
            inbox.start_reader()
