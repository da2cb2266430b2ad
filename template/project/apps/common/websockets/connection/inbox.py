"""The messages of a connection, handled in order, while pings and the end of the connection wait for no handler."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any

from apps.common.websockets.connection.frames import Events, events_of
from apps.common.websockets.connection.stepping import begin_as, go_on
from apps.common.websockets.process.registry import get_registry

OVERHEAD_BYTES = 64  # of a waiting message in memory, beside its text


class Inbox:
    """Takes each ASGI event when it comes: from our server, which hands it over, or else from a task that receives.

    `classify` sees it at once and returns the text to handle, or None if nothing is left to do: pings are answered
    there. While nothing else is handled, `handle` begins there and then, as if the connection's task had been woken for
    it, which would cost a turn of the event loop. One that suspends goes on in that task, and the next messages wait.

    What was received before the client left is handled to its end all the same: `on_left` is called when it leaves
    meanwhile, and after `linger_seconds()` more the handler is cancelled.
    """

    __slots__ = (
        "_begun",
        "_classify",
        "_context",
        "_end",
        "_error",
        "_handle",
        "_has_cancelled",
        "_is_handling",
        "_is_over",
        "_items",
        "_linger_seconds",
        "_on_left",
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
        handle: Callable[[str], Coroutine[Any, Any, None]],
        on_left: Callable[[], None],
        linger_seconds: Callable[[], float],
    ) -> None:
        self._receive = receive
        self._classify = classify
        self._handle = handle
        self._on_left = on_left
        self._linger_seconds = linger_seconds
        self._items: list[str] = []
        self.waiting_bytes = 0
        self._end: Any = None
        self._error: BaseException | None = None
        self._is_over = False  # nothing more is taken
        self._is_handling = False
        self._has_cancelled = False
        self._task: asyncio.Task[Any] | None = None
        self._context = Context()
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Future[None] | None = None  # while the task has nothing to do
        self._begun: tuple[Coroutine[Any, Any, None], Any] | None = None  # a handler, and what it waits for

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._items)

    async def run(self, context: Context) -> Any:
        """Handle until the end of the connection, in its context; returns its disconnect message."""
        self._task = asyncio.current_task()
        self._context = context
        events = self._take_over()
        reader = None if events else asyncio.get_running_loop().create_task(self._read(), context=context)
        try:
            while self._items or not self._is_over:
                await self._run_one()
            if self._error:
                raise self._error
            return self._end
        finally:
            self._is_over = True
            self.clear()
            if self._timer:
                self._timer.cancel()
            if events:
                events.deliver_to(None)
            if reader:
                reader.cancel()

    def clear(self) -> None:
        """Drop the waiting messages."""
        self._items.clear()
        self.waiting_bytes = 0

    def _take_over(self) -> Events | None:
        if events := events_of(self._receive):
            for event in events.deliver_to(self._on_event):
                self._take(event)
        return events

    async def _run_one(self) -> None:
        try:
            if self._items:
                self._is_handling = True
                item = self._items.pop(0)
                self.waiting_bytes -= _size(item)
                await self._handle(item)
            else:
                await self._idle()
        except asyncio.CancelledError:
            if not self._has_cancelled or self._cancels() > 1:
                raise  # the server cancels the task
        finally:
            self._is_handling = False
        if self._has_cancelled and self._task:
            self._task.uncancel()  # also if the handler suppressed the cancellation

    async def _idle(self) -> None:
        """Wait for a message; if its handling has begun meanwhile and suspended, go on with it."""
        self._wake = wake = asyncio.get_running_loop().create_future()
        cancelled = None
        try:
            await wake
        except asyncio.CancelledError as error:
            if self._cancels():  # else the handler has taken it back, in its first step
                if self._begun is None:
                    raise
                cancelled = error.args[:1]
        if self._begun:
            (handler, awaited), self._begun = self._begun, None
            await go_on(handler, awaited, cancelled)

    async def _read(self) -> None:
        try:
            while not self._is_over:
                self._take(await self._receive())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a cancellation too: nothing more is received
            if not self._is_over:
                self._finish(error)

    def _on_event(self, event: Any) -> None:
        if event["type"] == "websocket.receive":
            self._context.run(self._take, event)
        else:  # perhaps within the sending of a close
            asyncio.get_running_loop().call_soon(self._take, event, context=self._context)

    def _take(self, event: Any) -> None:
        if self._is_over:
            return
        try:
            if event["type"] == "websocket.disconnect":
                self._end = event
                self._finish()
            elif (text := self._classify(event)) is not None:
                if (wake := self._wake) and not wake.done():
                    self._begin(text, wake)
                else:
                    size = _size(text)
                    self._items.append(text)
                    self.waiting_bytes += size
                    get_registry().note_waiting(size)
        except Exception as error:
            self._finish(error)

    def _begin(self, text: str, wake: asyncio.Future[None]) -> None:
        self._wake = None
        self._is_handling = True
        handler = self._handle(text)
        try:
            self._begun = handler, begin_as(self._task, handler)
        except StopIteration:  # it is done
            self._is_handling = False
            if not (self._items or self._is_over or wake.done()):
                self._wake = wake
                return
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._is_handling = False
            self.clear()
            self._finish(error)
        if not wake.done():
            wake.set_result(None)

    def _finish(self, error: BaseException | None = None) -> None:
        self._is_over = True
        self._error = self._error or error
        if self._wake and not self._wake.done():
            self._wake.set_result(None)
        if self._is_handling or self._items:
            self._on_left()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._linger_seconds(), self._cancel_handler, context=Context())

    def _cancels(self) -> int:
        return self._task.cancelling() if self._task else 0

    def _cancel_handler(self) -> None:
        self.clear()
        if self._is_handling and self._task:
            self._has_cancelled = True
            self._task.cancel()


def _size(text: str) -> int:
    return sys.getsizeof(text) + OVERHEAD_BYTES
