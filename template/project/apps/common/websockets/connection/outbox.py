"""The messages that a connection sends, in order."""

import asyncio
import logging
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

logger = logging.getLogger(__name__)

OVERHEAD_BYTES = 256  # of a waiting message in memory, beside its text

Send = Callable[[Any], Awaitable[None]]


class Outbox:
    """Sends messages in order, at once where the server takes them, without a task.

    A server's `send` suspends only while its client is too slow. Then further messages wait here, and a task sends
    them as the client catches up: the writer, which may serve a thousand others, never waits. Stepping a coroutine
    costs about a tenth of making a task.

    on_overflow: called when more bytes wait than the limit, or when the server fails to send a waiting message.
    """

    __slots__ = ("_closed", "_limit_bytes", "_on_overflow", "_send", "_task", "_waiting", "_waiting_bytes")

    def __init__(self, send: Send, limit_bytes: int, on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._limit_bytes = limit_bytes
        self._on_overflow = on_overflow
        self._waiting: deque[dict[str, Any]] | None = None  # made for the few connections that need one
        self._waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def write(self, message: dict[str, Any]) -> None:
        """Send now, or after the waiting messages. After a close, nothing is sent."""
        if self._closed:
            return
        self._closed = message["type"] == "websocket.close"
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
        if self._task:
            self._task.cancel()

    def _begin(self, message: dict[str, Any]) -> None:
        sending = self._send(message)
        # Some servers return another awaitable. The first test is the quick one.
        if type(sending) is not types.CoroutineType and not isinstance(sending, Coroutine):
            self._task = asyncio.create_task(self._drain(sending))
            return
        try:
            pending = sending.send(None)
        except StopIteration:
            return
        except OSError:
            self._closed = True  # the peer has gone; a disconnect event follows
            return
        self._task = asyncio.create_task(self._drain(_resume(sending, pending)))

    def _enqueue(self, message: dict[str, Any]) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(message)
        self._waiting_bytes += _size(message)
        if self._waiting_bytes > self._limit_bytes:
            self._on_overflow()

    async def _drain(self, first: Awaitable[None]) -> None:
        try:
            await first
            while self._waiting:
                message = self._waiting.popleft()
                self._waiting_bytes -= _size(message)
                await self._send(message)
        except OSError:
            self._closed = True
        except Exception:
            logger.exception("The server failed to send")
            self._on_overflow()
        finally:
            self._task = None


def _size(message: dict[str, Any]) -> int:
    return len(message.get("text") or message.get("bytes") or "") + OVERHEAD_BYTES


@types.coroutine
def _resume(coroutine: Coroutine[Any, Any, None], pending: Any) -> Generator[Any, Any, None]:
    # Continues a coroutine that was stepped once and waits for `pending`.
    yield pending
    yield from coroutine.__await__()
