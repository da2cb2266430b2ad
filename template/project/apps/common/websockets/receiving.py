"""The way in of a connection: what a page sends is checked, handled in order, and answered."""

import asyncio
import logging
from collections.abc import Callable
from secrets import token_hex
from typing import Any, ClassVar

from django.db import Error as DatabaseError
from pydantic import ValidationError

from apps.common.websockets import protocol
from apps.common.websockets.handlers import Handler
from apps.common.websockets.inbox import Inbox
from apps.common.websockets.limits import TokenBucket
from apps.common.websockets.messages import MessageError
from apps.common.websockets.metrics import count
from apps.common.websockets.protocol import CloseCode, Frame
from apps.common.websockets.registry import get_registry
from apps.common.websockets.sending import Sender

logger = logging.getLogger(__name__)

CONNECT = Frame("", None, None, {})  # stands in the inbox for the connection's beginning


class Receiver(Sender):
    """What takes a page's frames: one at a time, within its limits. Whatever comes, the connection survives it."""

    max_bytes: int
    rate_per_second: float
    handlers: ClassVar[dict[str, Handler]]
    heard_at: float
    _keeps_contract: ClassVar[bool]
    _clock: Callable[[], float]
    _bucket: TokenBucket
    _inbox: Inbox[Frame]

    async def handle_message(self, data: dict[str, Any]) -> None:
        raise NotImplementedError

    async def _connect(self) -> None:
        raise NotImplementedError

    def _sort(self, message: Any) -> Frame | None:
        # Sees every message at once; what it returns is handled in its turn.
        if message["type"] == "websocket.connect":
            return CONNECT
        self.heard_at = now = self._clock()
        wait = self._bucket.take(now)
        try:
            frame = protocol.parse(message.get("text"), self.max_bytes)
        except MessageError as error:
            self._refuse(error) if not wait else self._slow_down(wait)
            return None
        if wait:
            self._slow_down(wait, frame.ref)
        elif frame.type == "ping":
            self.write(protocol.PONG)
        elif self._inbox.is_full:
            self._refuse(MessageError("overloaded", "too many messages wait to be handled", 1), frame.ref)
        else:
            return frame
        return None

    def _slow_down(self, wait: float, ref: protocol.Ref = None) -> None:
        if self._bucket.is_flooded:
            self._end_soon(self.close(CloseCode.TOO_FAST))
        else:
            self._refuse(MessageError("rate_limited", f"more than {self.rate_per_second} messages a second", wait), ref)

    async def _handle_safely(self, frame: Frame) -> None:
        if frame is CONNECT:
            await self._connect()
            return
        if self._is_closing:
            return  # a server may hand on what comes from a page that was refused or signed out
        try:
            await (self._handle(frame) if self._keeps_contract else self.handle_message(frame.content))
        except MessageError as error:
            self._refuse(error, frame.ref)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise  # the connection ends
            self._report(frame, error)  # something that the handler waited for was cancelled
        except Exception as error:
            self._report(frame, error)
            if isinstance(error, DatabaseError):
                await get_registry().close_old_connections()

    async def _handle(self, frame: Frame) -> None:
        handler = self.handlers.get(frame.type)
        if handler is None:
            known = ", ".join(sorted(self.handlers)) or "none"
            raise MessageError("unknown_type", f"{frame.type[:64]!r} is not known here; known are: {known}")
        try:
            data = handler.validate(frame.data)
        except ValidationError as error:
            raise MessageError("invalid_message", protocol.explain(error)) from error
        answer = await handler.function(self, data)
        if answer is not None:
            await self.send_text(answer.encode(frame.ref))
        elif frame.ref is not None:
            await self.send_json({"type": f"{frame.type}_result", "ref": frame.ref, "data": {}})

    def _refuse(self, error: MessageError, ref: protocol.Ref = None) -> None:
        count("refused_frames")
        self.write(protocol.encode(protocol.answer(protocol.refusal(error), ref)))

    def _report(self, frame: Frame, error: BaseException) -> None:
        incident = token_hex(4)
        logger.error("%s failed to handle %r (incident %s)", type(self).__name__, frame.type, incident, exc_info=error)
        self._refuse(MessageError("internal_error", f"something went wrong (incident {incident})"), frame.ref)
