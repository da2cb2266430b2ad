"""The life of one connection: it opens, is re-checked, and ends exactly once."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from channels.exceptions import DenyConnection, StopConsumer
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from apps.common.websockets import protocol
from apps.common.websockets.connection.dispatcher import Dispatcher
from apps.common.websockets.connection.inbox import Inbox
from apps.common.websockets.connection.interfaces import Consumer
from apps.common.websockets.connection.outbox import Outbox, Send
from apps.common.websockets.connection.subscriptions import Subscriptions
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.protocol import UNKNOWN_POSITION, CloseCode, Envelope
from apps.common.websockets.streams.base import StreamsUnavailable

logger = logging.getLogger(__name__)

NO_CODE = 1005  # RFC 6455, 7.1.5: the close frame had no code


class Connection:
    """Runs the hooks of a consumer, whose class attributes are the limits."""

    __slots__ = (
        "_dispatcher",
        "_is_accepted",
        "_is_finishing",
        "_of_user",
        "_send",
        "check_at",
        "consumer",
        "inbox",
        "is_closing",
        "last_message_at",
        "outbox",
        "scope",
        "subscriptions",
    )

    def __init__(self, consumer: Consumer, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        now = asyncio.get_running_loop().time()
        self.consumer = consumer
        self.scope = consumer.scope
        self._send = send
        self._is_accepted = False
        self._is_finishing = False
        self.is_closing = False  # no further message is handled
        self._of_user = 0
        self.last_message_at = now
        self.check_at = now + random.uniform(0, consumer.recheck_seconds)  # noqa: S311 - spreads the checks
        self.outbox = Outbox(send, consumer.outbox_bytes, self.on_overflow)
        self.subscriptions = Subscriptions(self)
        self._dispatcher = dispatcher = Dispatcher(self, now)
        self.inbox: Inbox[Envelope] = Inbox(receive, dispatcher.classify, dispatcher.handle, consumer.inbox_limit)

    @property
    def silent_seconds(self) -> float:
        return self.consumer.silent_seconds

    @property
    def recheck_seconds(self) -> float:
        return self.consumer.recheck_seconds

    # -----------------------------------------------------------------------------------------------------------------
    # From the first event to the last
    # -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it ends."""
        code: int = CloseCode.FAILED
        try:
            end = await self.inbox.run()
            code = end.get("code") or NO_CODE
        finally:
            await self._finish(code)

    async def open(self) -> None:
        """Register the connection and call the consumer's connect()."""
        try:
            # Registered before the access check, so that a logout in between closes it.
            self._of_user = await get_registry().add(self)
            await self.consumer.connect()
        except (DenyConnection, StopConsumer):
            await self.close()
        except StreamsUnavailable as error:
            logger.error("%s: %s", type(self.consumer).__name__, error)
            await self._fail(CloseCode.TRY_LATER)
        except Exception:
            logger.exception("%s.connect() failed", type(self.consumer).__name__)
            await self._fail(CloseCode.FAILED)

    async def admit(self) -> None:
        """Check access, accept, follow the consumer's group, and send the welcome with the missed broadcasts."""
        refused = await self._refusal()
        await self.accept()  # also to refuse: a page cannot read why a handshake failed
        if refused:
            await self.close(refused)
            return
        position, recovered = UNKNOWN_POSITION, None
        if self.consumer.group_name:
            query = self.scope["query_string"]
            position, recovered = await self.subscriptions.follow(self.consumer.group_name, query)
        self.write(protocol.welcome(position, recovered, self.consumer.heartbeat_seconds, self.consumer.max_bytes))
        self.subscriptions.release()

    async def _fail(self, code: CloseCode) -> None:
        await self.subscriptions.leave_all()
        if not self._is_accepted:
            await self.accept()
        await self.close(code)

    async def _finish(self, code: int) -> None:
        try:
            await get_registry().remove(self)
            await self.subscriptions.close()
        finally:
            await self._disconnect(code)

    async def _disconnect(self, code: int) -> None:
        try:
            await self.consumer.disconnect(code)
        except StopConsumer:
            pass
        except Exception:
            logger.exception("%s.disconnect() failed", type(self.consumer).__name__)
        finally:
            self.outbox.discard()

    # -----------------------------------------------------------------------------------------------------------------
    # Access
    # -----------------------------------------------------------------------------------------------------------------

    async def _refusal(self) -> CloseCode | None:
        if not await self.consumer.is_allowed():
            return CloseCode.NOT_ALLOWED if self.scope["user"].is_authenticated else CloseCode.NOT_SIGNED_IN
        return CloseCode.TOO_FAST if self._of_user > self.consumer.max_connections else None

    async def recheck(self, user: AbstractBaseUser | AnonymousUser) -> None:
        """Check access again, for the user as of now. Called by the registry."""
        if self.scope["user"].is_authenticated and not user.is_authenticated:
            # Also for a public consumer: messages for the user must not reach the next visitor. The client reconnects;
            # after a password change it has a new session, of which this connection knows nothing.
            await self.close(CloseCode.SIGNED_OUT)
            return
        self.scope["user"] = user
        try:
            is_allowed = await self.consumer.is_allowed()
        except Exception:
            logger.exception("%s.is_allowed() failed", type(self.consumer).__name__)
            await self.close(CloseCode.FAILED)  # the client reconnects, and access is checked again
            return
        if not is_allowed:
            await self.close(CloseCode.NOT_ALLOWED if user.is_authenticated else CloseCode.NOT_SIGNED_IN)

    async def call_handler(self, envelope: Envelope) -> None:
        """Validate a message and call the consumer's handler of its type. Raises MessageError."""
        await self._dispatcher.call_handler(envelope)

    # -----------------------------------------------------------------------------------------------------------------
    # To the client
    # -----------------------------------------------------------------------------------------------------------------

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Accept the connection."""
        event: dict[str, Any] = {"type": "websocket.accept", "subprotocol": subprotocol}
        await self.send(event if headers is None else {**event, "headers": list(headers)})
        self._is_accepted = True

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the connection after the messages that were sent before; a client that does not read is dropped."""
        self.is_closing = True
        # Daphne accepts no subclass of int.
        event = {"type": "websocket.close", **({} if code is None else {"code": int(code)})}
        try:
            async with asyncio.timeout(self.consumer.close_seconds):
                await self.send({**event, "reason": reason} if reason else event)
        except TimeoutError:
            self.abort()

    async def send(self, event: dict[str, Any]) -> None:
        """Send an ASGI event. Waits while the client is too slow."""
        self.outbox.write(event)
        if self.outbox.is_busy:
            await self.outbox.flushed()

    def write(self, text: str) -> None:
        """Send an encoded message as soon as the client takes it; never waits. Ignored before accept()."""
        if self._is_accepted:
            self.outbox.write({"type": "websocket.send", "text": text})

    async def send_text(self, text: str) -> None:
        """Send an encoded message. Waits while the client is too slow. Ignored before accept()."""
        if self._is_accepted:
            await self.send({"type": "websocket.send", "text": text})

    def on_overflow(self) -> None:
        """Close a client that is too slow: queued messages are dropped, and replayed after it reconnects."""
        self.outbox.discard()
        self._in_background(self._close_slow_client())

    def close_in_background(self, code: CloseCode) -> None:
        """Close the connection without waiting, once."""
        self._in_background(self.close(code))

    def _in_background(self, ending: Coroutine[Any, Any, None]) -> None:
        if self._is_finishing:
            ending.close()
            return
        self._is_finishing = True
        get_registry().spawn(ending)

    async def _close_slow_client(self) -> None:
        count("slow_closes")
        logger.warning("A client of %s is too slow and is closed", type(self.consumer).__name__)
        await self.subscriptions.leave_all()
        try:
            async with asyncio.timeout(self.consumer.close_seconds):
                await self._send({"type": "websocket.close", "code": int(CloseCode.TRY_LATER)})
        except (TimeoutError, OSError):
            self.abort()

    def abort(self) -> None:
        """Drop the connection. ASGI cannot; uvicorn's `send` belongs to an object that has its transport."""
        self.outbox.discard()
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport:
            transport.abort()
