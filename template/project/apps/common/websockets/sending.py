"""The way out of a connection: all that it sends goes through one outbox, and so does its end."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from apps.common.websockets import protocol
from apps.common.websockets.messages import Message
from apps.common.websockets.metrics import count
from apps.common.websockets.outbox import Outbox, Send
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.registry import get_registry

logger = logging.getLogger(__name__)


class Sender(AsyncJsonWebsocketConsumer):
    """What sends and closes: Channels' methods, in order and without holding up whoever writes to a slow page."""

    close_seconds: float
    _send: Send
    _outbox: Outbox
    _is_accepted: bool
    _is_closing: bool  # nothing more is handled
    _is_ending: bool

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Accept the connection. super().connect() does."""
        await super().accept(subprotocol, headers)
        self._is_accepted = True

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """Close the connection. What was sent before arrives; a page that does not read is cut off."""
        self._is_closing = True
        try:
            async with asyncio.timeout(self.close_seconds):
                # Daphne takes no subclass of int for one.
                await super().close(None if code is None else int(code), reason)
        except TimeoutError:
            self._abort()

    async def base_send(self, message: dict[str, Any]) -> None:
        """Where Channels' own send(), accept() and close() lead. Waits while the page reads too slowly."""
        self._outbox.write(message)
        if self._outbox.is_busy:
            await self._outbox.flushed()

    async def send_message(self, message: Message) -> None:
        """Send a message to this page alone."""
        await self.send_text(message.encode())

    async def send_json(self, content: Any, close: bool = False) -> None:
        """Send a frame to this page."""
        await self.send_text(protocol.encode(content))
        if close:
            await self.close()

    async def send_text(self, text: str) -> None:
        """Send an encoded frame to this page. Waits while the page reads too slowly."""
        self.write(text)
        if self._outbox.is_busy:
            await self._outbox.flushed()

    def write(self, text: str) -> None:
        """Send an encoded frame, as soon as the page takes it; never waits. Before accept() there is no page yet."""
        if self._is_accepted:
            self._outbox.write({"type": "websocket.send", "text": text})

    def _let_go(self) -> None:
        # It cannot keep up. What waits for it is of no use: it comes back, and gets what it missed.
        self._outbox.discard()
        self._end_soon(self._cut_off())

    def _end_soon(self, how: Coroutine[Any, Any, None]) -> None:
        if self._is_ending:
            how.close()
            return
        self._is_ending = True
        get_registry().spawn(how)

    async def _cut_off(self) -> None:
        count("slow_closes")
        logger.warning("A page of %s reads too slowly and is closed", type(self).__name__)
        await self._leave_all()
        try:
            async with asyncio.timeout(self.close_seconds):
                await self._send({"type": "websocket.close", "code": int(CloseCode.TRY_LATER)})
        except (TimeoutError, OSError):
            self._abort()

    async def _leave_all(self) -> None:
        """Leave every group, so that nothing more is written."""

    def _abort(self) -> None:
        # ASGI has no way to; uvicorn's `send` belongs to an object that has its transport.
        self._outbox.discard()
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport:
            transport.abort()
