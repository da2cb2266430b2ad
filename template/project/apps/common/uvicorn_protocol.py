"""uvicorn's WebSocket protocol, with bounds where it has none: frames that are no messages, and peers that do not read.

A consumer's limits count messages. What never becomes one, such as pings and fragments, is counted here.
"""

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

FRAMES_PER_SECOND = 1_000  # of one client, of any kind
FRAMES_AT_ONCE = 4_000  # then a client is closed, with TOO_FAST
MAX_FRAGMENTS = 1_000  # of one message
READ_BYTES = 16 * 1024  # that are taken apart at a time; an event loop may read 256 KiB at once
ABORT_SECONDS = 1.0  # after a close, for a peer that does not read
TOO_FAST, TOO_LARGE = 4429, 1009


class BoundedProtocol(WebSocketsSansIOProtocol):
    """One connection. What it does not override is uvicorn's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._frames = float(FRAMES_AT_ONCE)  # that may come
        self._counted_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), READ_BYTES):
            if start and self.transport.is_closing():
                return
            super().data_received(data[start : start + READ_BYTES])

    def handle_text(self, event: Any) -> None:
        if self._is_within_bounds():
            super().handle_text(event)

    def handle_bytes(self, event: Any) -> None:
        if self._is_within_bounds():
            super().handle_bytes(event)

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self._refuse(TOO_LARGE, "too many fragments")
        elif self._is_within_bounds():
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if not self._is_within_bounds():
            return
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the client does not read: the pong is dropped

    def handle_pong(self, event: Any) -> None:
        if self._is_within_bounds():
            super().handle_pong(event)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort_soon()

    def _is_within_bounds(self) -> bool:
        # A token bucket, as in connection/rate_limit.py; an object for each connection would cost memory.
        now = self.loop.time()
        self._frames = min(self._frames + (now - self._counted_at) * FRAMES_PER_SECOND, FRAMES_AT_ONCE) - 1
        self._counted_at = now
        if self._frames < 0:
            self._refuse(TOO_FAST, "too many frames")
        return self._frames >= 0

    def _refuse(self, code: int, reason: str) -> None:
        self.frames = []
        if self.close_sent or self.transport.is_closing():
            return
        from apps.common.websockets.process.metrics import count  # uvicorn imports this module before Django is set up

        count("refused_connections")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        # close() waits until the peer has read what was written to it.
        transport: asyncio.Transport = self.transport
        self.loop.call_later(ABORT_SECONDS, transport.abort)
