"""The messages that a connection sends, in order."""

import asyncio
import inspect
import logging
import sys
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any

from apps.common.websockets import protocol
from apps.common.websockets.connection.frames import Frames, Send, frames_of, transport_of
from apps.common.websockets.connection.stepping import begin, go_on
from apps.common.websockets.process.events import Event
from apps.common.websockets.process.registry import get_registry

logger = logging.getLogger(__name__)

OVERHEAD_BYTES = 256  # of a waiting message in memory, beside its text


class Outbox:
    """Sends messages in order, at once where the server takes them, without a task.

    A server's `send` suspends only while its client is too slow. Then further messages wait here, and a task sends
    them as the client catches up: the writer, which may serve a thousand others, never waits. Stepping a coroutine
    costs about a tenth of making a task. Frames need neither, where the server has them.

    Where a middleware has wrapped `send`, it runs in the connection's context, in whichever task.
    on_overflow: called when more bytes wait than the limit. on_failure: called when the server fails to send.
    """

    __slots__ = (
        "_closed",
        "_context",
        "_limit_bytes",
        "_on_failure",
        "_on_overflow",
        "_owner",
        "_send",
        "_task",
        "_waiting",
        "frames",
        "waiting_bytes",
    )

    def __init__(
        self, send: Send, limit_bytes: int, on_overflow: Callable[[], None], on_failure: Callable[[], None]
    ) -> None:
        self._send = send
        self.frames: Frames | None = frames_of(send)
        self._limit_bytes = limit_bytes
        self._on_overflow = on_overflow
        self._on_failure = on_failure
        self._context: Context | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._waiting: deque[dict[str, Any]] | None = None  # made for the few connections that need one
        self.waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, context: Context) -> None:
        """Send in this context, which is that of the running task."""
        if transport_of(self._send) is None:  # the server's own needs no context, which would cost each message
            self._context = context
            self._owner = asyncio.current_task()

    def write_text(self, text: str) -> None:
        """Send a text, now or after the waiting messages."""
        if self.takes_frames:
            self._write_frame(protocol.frame(text))
        else:
            self.write({"type": "websocket.send", "text": text})

    def write_event(self, event: Event) -> None:
        """Send a broadcast's text, now or after the waiting messages."""
        if self.takes_frames:
            self._write_frame(event.frame)
        else:
            self.write(event.message)

    @property
    def takes_frames(self) -> bool:
        """Whether what is sent now goes straight to the transport."""
        return not (self.frames is None or not self.frames.takes_frames or self._task or self._closed)

    def _write_frame(self, frame: bytes) -> None:
        try:
            self.frames.transport.write(frame)  # type: ignore[union-attr]
        except Exception:
            self.fail()
            raise

    def write(self, message: dict[str, Any]) -> None:
        """Send now, or after the waiting messages. After a close, nothing is sent."""
        if self._closed:
            return
        if message["type"] == "websocket.close":
            self._closed = True
            if self.frames and (on_stop := self.frames.on_stop):
                on_stop()
        if self._task:
            self._enqueue(message)
        else:
            self._begin(message)

    @property
    def is_busy(self) -> bool:
        """Whether the client is too slow at present."""
        return self._task is not None

    async def flushed(self) -> None:
        """Return when all messages written so far are sent or discarded."""
        if self._task:
            await asyncio.wait([self._task])

    def discard(self) -> None:
        """Drop the waiting messages, and send nothing from now on."""
        self._closed = True
        self._waiting = None
        self.waiting_bytes = 0
        if self._task:
            self._task.cancel()

    def _begin(self, message: dict[str, Any]) -> None:
        sending = self._send(message)
        # Some servers return another awaitable. The first test is the quick one.
        if type(sending) is not types.CoroutineType and not isinstance(sending, Coroutine):
            self._start_task(sending)
            return
        try:
            pending = begin(sending) if self._context is None else self._step(sending, self._context)
        except StopIteration:
            return
        except OSError:
            self._closed = True  # the peer has gone; a disconnect event follows
            return
        except Exception:
            self.fail()
            raise
        self._start_task(go_on(sending, pending))

    def _step(self, sending: Coroutine[Any, Any, None], context: Context) -> Any:
        if asyncio.current_task() is self._owner:
            return begin(sending)
        try:
            return context.run(begin, sending)
        except RuntimeError:
            if inspect.getcoroutinestate(sending) != inspect.CORO_CREATED:
                raise
            return begin(sending)  # another task of the connection, which is in its context already

    def _start_task(self, sending: Awaitable[None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._drain(sending), context=self._context)

    def _enqueue(self, message: dict[str, Any]) -> None:
        if self._waiting is None:
            self._waiting = deque()
        size = _size(message)
        self._waiting.append(message)
        self.waiting_bytes += size
        get_registry().note_waiting(size)
        if self.waiting_bytes > self._limit_bytes:
            self._on_overflow()

    async def _drain(self, first: Awaitable[None]) -> None:
        try:
            await first
            while self._waiting:
                message = self._waiting.popleft()
                self.waiting_bytes -= _size(message)
                await self._send(message)
        except OSError:
            self._closed = True
        except Exception:
            logger.exception("The server failed to send")
            self.fail()
        finally:
            self._task = None

    def fail(self) -> None:
        """The server cannot send: it may never do so again, nor say that the peer has gone."""
        self._closed = True
        self._on_failure()


def _size(message: dict[str, Any]) -> int:
    return sys.getsizeof(message.get("text") or message.get("bytes") or "") + OVERHEAD_BYTES
