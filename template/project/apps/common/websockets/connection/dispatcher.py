"""Checks a client's messages against the limits and the contract, and has the consumer handle them."""

import asyncio
import logging
from collections.abc import Awaitable
from secrets import token_hex
from typing import Any

from django.db import Error as DatabaseError
from pydantic import ValidationError

from apps.common.websockets import protocol
from apps.common.websockets.connection.interfaces import Link
from apps.common.websockets.connection.rate_limit import TokenBucket
from apps.common.websockets.messages import MessageError
from apps.common.websockets.problems import explain
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.protocol import MAX_PING_LENGTH, CloseCode, Envelope, Ref
from apps.common.websockets.service import is_cancelled

logger = logging.getLogger(__name__)

CONNECT = "websocket.connect"  # this very object stands in the inbox for the connection's opening


class Dispatcher:
    """Takes the messages of one connection. The connection survives every one of them."""

    __slots__ = ("_bucket", "_clock", "_connection", "_consumer", "_keeps_contract")

    def __init__(self, connection: Link, now: float) -> None:
        consumer = connection.consumer
        self._connection = connection
        self._consumer = consumer
        self._clock = asyncio.get_running_loop().time
        self._keeps_contract = consumer.keeps_contract
        self._bucket = TokenBucket(consumer.rate_per_second, consumer.burst, now)

    def classify(self, event: Any) -> str | None:
        """The message to handle in its turn; None if it was refused, or answered at once. Sees every event at once."""
        connection = self._connection
        if event["type"] == "websocket.connect":
            return CONNECT
        connection.last_message_at = now = self._clock()
        wait = self._bucket.take(now)
        try:
            text = protocol.check_size(event.get("text"), self._consumer.max_bytes)
            if wait:
                self._slow_down(wait, protocol.ref_of(text))
            elif len(text) <= MAX_PING_LENGTH and protocol.is_ping(text):
                connection.write(protocol.PONG)
            elif connection.inbox.waiting_bytes and self._is_full(text):
                error = MessageError("overloaded", "too many messages wait to be handled", 1)
                self._refuse(error, protocol.ref_of(text))
            else:
                return text
        except MessageError as error:
            self._refuse(error) if not wait else self._slow_down(wait)
        return None

    def _is_full(self, text: str) -> bool:
        inbox, consumer = self._connection.inbox, self._consumer
        return inbox.waiting >= consumer.inbox_limit or inbox.waiting_bytes + len(text) > consumer.inbox_bytes

    async def handle(self, text: str) -> None:
        """Open the connection, or handle a message; whatever the handler raises, the client gets an error."""
        if text is CONNECT:
            await self._connection.open()
            return
        if self._connection.is_closing:
            return  # a server may deliver messages of a client that was refused or signed out
        try:
            envelope = protocol.parse(text)
        except MessageError as error:
            self._refuse(error)
            return
        type_, ref = envelope.type, envelope.ref
        try:
            protocol.check_texts(text)
            if self._keeps_contract:
                handling: Awaitable[None] = self.call_handler(envelope)
            else:
                handling = self._consumer.handle_message(envelope.content)
            del text, envelope  # a handler may take long: only what it is given stays in memory
            await handling
        except MessageError as error:
            self._refuse(error, ref)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit too: no message ends the process
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise  # the connection ends
            self._report(type_, ref, error)
            if isinstance(error, DatabaseError):
                await get_registry().close_old_connections()

    async def call_handler(self, envelope: Envelope) -> None:
        """Validate a message's data, call the handler of its type, and send the answer. Raises MessageError."""
        type_, raw, ref, _ = envelope
        del envelope
        handlers = self._consumer.handlers
        handler = handlers.get(type_)
        if handler is None:
            known = ", ".join(sorted(handlers)) or "none"
            raise MessageError("unknown_type", f"{type_[:64]!r} is unknown here; known are: {known}")
        try:
            data = handler.validate(raw)
        except ValidationError as error:
            summary, fields = explain(error)
            raise MessageError("invalid_message", summary, fields=fields) from error
        del raw, _
        answer = await handler.function(self._consumer, data)
        if answer is not None:
            await self._consumer.send_text(answer.encode(ref))
        elif ref is not None:
            await self._consumer.send_text(protocol.acknowledgement(type_, ref))

    def _slow_down(self, wait: float, ref: Ref = None) -> None:
        if self._bucket.is_flooded:
            self._connection.close_in_background(CloseCode.TOO_FAST)
        else:
            rate = self._consumer.rate_per_second
            self._refuse(MessageError("rate_limited", f"more than {rate} messages a second", wait), ref)

    def _refuse(self, error: MessageError, ref: Ref = None) -> None:
        count("refused_messages")
        self._connection.write(protocol.error_message(error, ref))

    def _report(self, type_: str, ref: Ref, error: BaseException) -> None:
        incident = token_hex(4)
        name = type(self._consumer).__name__
        logger.error("%s failed to handle %.64r (incident %s)", name, type_, incident, exc_info=error)
        self._refuse(MessageError("internal_error", f"something went wrong (incident {incident})"), ref)
