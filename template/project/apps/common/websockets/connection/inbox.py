"""The messages of a connection, handled in order, while pings and the end of the connection wait for no handler."""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from apps.common.websockets.event_loop import of_running_loop
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.service import is_cancelled

DETECT_AFTER_SECONDS = 0.005
OVERHEAD_BYTES = 64  # of a waiting message in memory, beside its text


class Inbox:
    """Reads a connection until it ends, and has its messages handled one after the other.

    `classify` sees each ASGI event at once and returns the text to handle, or None if nothing is left to do: pings are
    answered there. `handle` may suspend. Until it does, one task alternates between the two, which costs nothing. The
    first time it suspends, a second task takes over the reading until the end: so pings, the limits and the end of the
    connection never wait behind a slow handler.

    What was received before the client left is handled to its end all the same: `on_left` is called when it leaves
    meanwhile, and after `linger_seconds()` more the handler is cancelled.
    """

    __slots__ = (
        "_classify",
        "_context",
        "_detector",
        "_end",
        "_handle",
        "_has_cancelled",
        "_is_handling",
        "_is_over",
        "_items",
        "_linger_seconds",
        "_on_left",
        "_reader",
        "_receive",
        "_task",
        "_timer",
        "_wake",
        "waiting_bytes",
    )

    def __init__(
        self,
        receive: Callable[[], Awaitable[Any]],
        classify: Callable[[Any], str | None],
        handle: Callable[[str], Awaitable[None]],
        on_left: Callable[[], None],
        linger_seconds: Callable[[], float],
    ) -> None:
        self._receive = receive
        self._classify = classify
        self._handle = handle
        self._on_left = on_left
        self._linger_seconds = linger_seconds
        self._items: deque[str] | None = None  # made when there is more than one
        self.waiting_bytes = 0
        self._end: Any = None
        self._is_over = False  # nothing more will be read
        self._is_handling = False
        self._has_cancelled = False
        self._task: asyncio.Task[Any] | None = None
        self._context: Context | None = None
        self._reader: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Future[None] | None = None
        self._detector = of_running_loop(_SuspensionDetector)

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._items) if self._items else 0

    async def run(self, context: Context) -> Any:
        """Read and handle until the end of the connection, in its context; returns its disconnect message."""
        self._task = asyncio.current_task()
        self._context = context
        try:
            while not self._is_over or self._items:
                item = await self._read_next() if self._reader else self._take(await self._receive())
                if item is not None:
                    await self._handle_watched(item)
            if self._reader:
                await self._reader  # raises the error that ended it, if it was no disconnect
            return self._end
        finally:
            self.clear()
            if self._timer:
                self._timer.cancel()
            if self._reader:
                self._reader.cancel()

    def clear(self) -> None:
        """Drop the waiting messages."""
        if self._items:
            self._items.clear()
        self.waiting_bytes = 0

    async def _read_next(self) -> str | None:
        if self._items:
            item = self._items.popleft()
            self.waiting_bytes -= _size(item)
            return item
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None
        return None

    async def _handle_watched(self, item: str) -> None:
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
        self._reader = asyncio.get_running_loop().create_task(self._read(self._items), context=self._context)

    async def _read(self, items: deque[str]) -> None:
        """Read into the queue until the end of the connection: the second task."""
        try:
            while not self._is_over:
                if (item := self._take(await self._receive())) is not None:
                    size = _size(item)
                    items.append(item)
                    self.waiting_bytes += size
                    get_registry().note_waiting(size)
                    self._wake_up()
        finally:
            self._is_over = True
            self._wake_up()
            if self._is_handling and not is_cancelled():
                self._on_left()
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._linger_seconds(), self._cancel_handler, context=Context())

    def _take(self, message: Any) -> str | None:
        if message["type"] == "websocket.disconnect":
            self._end, self._is_over = message, True
            return None
        return self._classify(message)

    def _wake_up(self) -> None:
        if self._wake and not self._wake.done():
            self._wake.set_result(None)

    def _cancel_handler(self) -> None:
        self.clear()
        if self._is_handling and self._task:
            self._has_cancelled = True
            self._task.cancel()


def _size(text: str) -> int:
    return sys.getsizeof(text) + OVERHEAD_BYTES


class _SuspensionDetector:
    """Notices which handlers have suspended: those that are not done when the event loop runs the next callback.

    One timer serves all connections that handle something in the meantime; a callback for each message would cost the
    loop a turn, and a system call, for each. A ping may wait behind a slow handler for as long as the timer runs.
    """

    def __init__(self) -> None:
        self._handling: set[Inbox] = set()
        self._is_due = False

    def begin(self, inbox: "Inbox") -> None:
        self._handling.add(inbox)
        if not self._is_due:
            self._is_due = True
            loop = asyncio.get_running_loop()
            loop.call_later(DETECT_AFTER_SECONDS, self._detect, context=Context())

    def end(self, inbox: "Inbox") -> None:
        self._handling.discard(inbox)

    def _detect(self) -> None:
        self._is_due = False
        suspended, self._handling = self._handling, set()
        for inbox in suspended:
            inbox.start_reader()
