"""Checks a client's messages against the limits and the contract, and has the consumer handle them."""

import asyncio
import logging
from secrets import token_hex
from typing import Any

from django.db import Error as DatabaseError
from pydantic import ValidationError

from apps.common.websockets import protocol
from apps.common.websockets.connection.interfaces import Link
from apps.common.websockets.connection.rate_limit import TokenBucket
from apps.common.websockets.messages import MessageError
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.protocol import CloseCode, Envelope, Ref

logger = logging.getLogger(__name__)

CONNECT = Envelope("", None, None, {})  # stands in the inbox for the connection's opening


class Dispatcher:
    """Takes the messages of one connection. The connection survives every one of them."""

    __slots__ = ("_bucket", "_clock", "_connection", "_consumer", "_keeps_contract", "_max_bytes")

    def __init__(self, connection: Link, now: float) -> None:
        consumer = connection.consumer
        self._connection = connection
        self._consumer = consumer
        self._clock = asyncio.get_running_loop().time
        self._max_bytes = consumer.max_bytes
        self._keeps_contract = consumer.keeps_contract
        self._bucket = TokenBucket(consumer.rate_per_second, consumer.burst, now)

    def classify(self, event: Any) -> Envelope | None:
        """The message to handle in its turn; None if it was refused, or answered at once. Sees every event at once."""
        connection = self._connection
        if event["type"] == "websocket.connect":
            return CONNECT
        connection.last_message_at = now = self._clock()
        wait = self._bucket.take(now)
        try:
            envelope = protocol.parse(event.get("text"), self._max_bytes)
        except MessageError as error:
            self._refuse(error) if not wait else self._slow_down(wait)
            return None
        if wait:
            self._slow_down(wait, envelope.ref)
        elif envelope.type == "ping":
            connection.write(protocol.PONG)
        elif connection.inbox.is_full:
            self._refuse(MessageError("overloaded", "too many messages wait to be handled", 1), envelope.ref)
        else:
            return envelope
        return None

    async def handle(self, envelope: Envelope) -> None:
        """Open the connection, or handle a message; whatever the handler raises, the client gets an error."""
        if envelope is CONNECT:
            await self._connection.open()
            return
        if self._connection.is_closing:
            return  # a server may deliver messages of a client that was refused or signed out
        try:
            if self._keeps_contract:
                await self.call_handler(envelope)
            else:
                await self._consumer.handle_message(envelope.content)
        except MessageError as error:
            self._refuse(error, envelope.ref)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise  # the connection ends
            self._report(envelope, error)  # the handler awaited something that was cancelled
        except Exception as error:
            self._report(envelope, error)
            if isinstance(error, DatabaseError):
                await get_registry().close_old_connections()

    async def call_handler(self, envelope: Envelope) -> None:
        """Validate a message's data, call the handler of its type, and send the answer. Raises MessageError."""
        handlers = self._consumer.handlers
        handler = handlers.get(envelope.type)
        if handler is None:
            known = ", ".join(sorted(handlers)) or "none"
            raise MessageError("unknown_type", f"{envelope.type[:64]!r} is unknown here; known are: {known}")
        try:
            data = handler.validate(envelope.data)
        except ValidationError as error:
            raise MessageError("invalid_message", protocol.explain(error)) from error
        answer = await handler.function(self._consumer, data)
        if answer is not None:
            await self._consumer.send_text(answer.encode(envelope.ref))
        elif envelope.ref is not None:
            await self._consumer.send_text(protocol.acknowledgement(envelope.type, envelope.ref))

    def _slow_down(self, wait: float, ref: Ref = None) -> None:
        if self._bucket.is_flooded:
            self._connection.close_in_background(CloseCode.TOO_FAST)
        else:
            rate = self._consumer.rate_per_second
            self._refuse(MessageError("rate_limited", f"more than {rate} messages a second", wait), ref)

    def _refuse(self, error: MessageError, ref: Ref = None) -> None:
        count("refused_messages")
        self._connection.write(protocol.error_message(error, ref))

    def _report(self, envelope: Envelope, error: BaseException) -> None:
        incident = token_hex(4)
        name = type(self._consumer).__name__
        logger.error("%s failed to handle %r (incident %s)", name, envelope.type, incident, exc_info=error)
        self._refuse(MessageError("internal_error", f"something went wrong (incident {incident})"), envelope.ref)
