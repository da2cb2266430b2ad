"""The life of one connection: it opens, is re-checked, and ends exactly once."""

import asyncio
import inspect
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any

from channels.exceptions import DenyConnection, StopConsumer
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from apps.common.websockets import protocol
from apps.common.websockets.access.page_user import claim_page
from apps.common.websockets.connection.dispatcher import Dispatcher
from apps.common.websockets.connection.frames import Send, transport_of
from apps.common.websockets.connection.inbox import Inbox
from apps.common.websockets.connection.interfaces import Consumer
from apps.common.websockets.connection.outbox import Outbox
from apps.common.websockets.connection.subscriptions import Subscriptions
from apps.common.websockets.page_contracts import Registered
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.process.snapshots import SnapshotFailed, get_snapshots
from apps.common.websockets.protocol import UNKNOWN_POSITION, CloseCode, Envelope, Position
from apps.common.websockets.service import guard, is_cancelled
from apps.common.websockets.streams.base import StreamsUnavailable

logger = logging.getLogger(__name__)

NO_CODE = 1005  # RFC 6455, 7.1.5: the close frame had no code
END_SECONDS = 12  # after a close: a server waits up to 10 s for the client's answer


class Connection:
    """Runs the hooks of a consumer, whose class attributes are the limits.

    All of them run in one context, a copy of the one in which the server and its middleware called the consumer.
    """

    __slots__ = (
        "_dispatcher",
        "_is_accepted",
        "_is_finishing",
        "_is_own_page",
        "_peers",
        "_send",
        "_task",
        "check_at",
        "consumer",
        "context",
        "end_at",
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
        self.context = copy_context()
        self._send = send
        self._task: asyncio.Task[None] | None = None
        self._is_accepted = False
        self._is_finishing = False
        self._is_own_page = True
        self.is_closing = False  # no further message is handled, no group joined
        self._peers = 0  # connections of the same user, or of anonymous visitors at the same address
        self.last_message_at = now
        self.check_at = now + random.uniform(0, consumer.recheck_seconds)  # noqa: S311 - spreads the checks
        self.end_at = float("inf")  # when it is ended by force
        self.outbox = Outbox(send, consumer.outbox_bytes, self.on_overflow, self._on_failure)
        self.subscriptions = Subscriptions(self)
        self._dispatcher = dispatcher = Dispatcher(self, now)
        self.inbox = Inbox(receive, dispatcher.classify, dispatcher.handle, self._on_left, self._linger_seconds)

    @property
    def silent_seconds(self) -> float:
        return self.consumer.silent_seconds

    @property
    def recheck_seconds(self) -> float:
        return self.consumer.recheck_seconds

    @property
    def is_over(self) -> bool:
        """Whether nothing more is received or joined: it is closing, or the client has left."""
        return self.is_closing or self.subscriptions.is_over

    @property
    def uses_asgi(self) -> bool:
        """Whether its messages go through ASGI's `send`."""
        return self.outbox.frames is None

    @property
    def waiting_bytes(self) -> int:
        """The memory of what waits, in both directions."""
        return self.inbox.waiting_bytes + self.outbox.waiting_bytes + self.subscriptions.waiting_bytes

    # -----------------------------------------------------------------------------------------------------------------
    # From the first event to the last
    # -----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it ends."""
        # A task of its own, since only a task can be given a context in which other tasks of the connection run, too.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=self.context)
        await self._task

    async def _run(self) -> None:
        self.outbox.start(self.context)
        code: int = CloseCode.FAILED
        try:
            end = await self.inbox.run(self.context)
            code = end.get("code") or NO_CODE
        finally:
            await self._finish(code)

    async def open(self) -> None:
        """Register the connection and call the consumer's connect()."""
        async with self._closing_on_error("connect"):
            if "user" not in self.scope:
                raise RuntimeError("the scope has no user; in asgi.py, wrap the routes in SessionAuth")
            self._is_own_page = claim_page(self.scope)
            # Registered before the access check, so that a logout in between closes it.
            self._peers = await get_registry().add(self)
            await self.consumer.connect()
            if self.is_over:
                return
            if not self._is_accepted:
                raise RuntimeError("connect() ended without `await super().connect()`")
            if (group := self.consumer.group_name) and group not in self.subscriptions:
                raise RuntimeError("group_name was set too late; set it before `await super().connect()`")

    @asynccontextmanager
    async def _closing_on_error(self, hook: str) -> AsyncIterator[None]:
        """hook: the consumer's method that the block calls."""
        name = type(self.consumer).__name__
        try:
            yield
        except (DenyConnection, StopConsumer):
            await self.close()
        except SnapshotFailed:  # logged once for all clients
            await self._fail(CloseCode.FAILED)
        except StreamsUnavailable as error:
            logger.error("%s: %s", name, error)
            await self._fail(CloseCode.TRY_LATER)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            logger.exception("%s.%s() failed", name, hook)
            await self._fail(CloseCode.FAILED)

    async def admit(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Check access, accept, follow the consumer's group, and send the welcome with the missed broadcasts, or the
        state. The one way in: raises StopConsumer, so that nothing more of connect() runs, for whom it refuses."""
        if self._is_accepted:
            return
        refused = await self._refusal()
        if self.is_over:
            raise StopConsumer  # the client left meanwhile
        await self._accept(subprotocol, headers)  # also to refuse: a page cannot read why a handshake failed
        if refused:
            count("refused_connections")
            await self.close(refused)
            raise StopConsumer
        query = self.scope["query_string"]
        outdated = Registered.contracts.is_outdated(type(self.consumer).__module__, query)
        if outdated is None:
            await self.close(CloseCode.RESTARTING, "This page is newer than the server.")
            raise StopConsumer
        position, recovered = UNKNOWN_POSITION, None
        await self.subscriptions.open()
        if self.consumer.group_name:
            position, recovered = await self.subscriptions.follow(self.consumer.group_name, query)
        limits = (self.consumer.heartbeat_seconds, self.consumer.max_bytes)
        has_state = self.consumer.has_state and not recovered
        self.write(protocol.welcome(position, recovered, *limits, state=has_state, outdated=outdated))
        if has_state:
            await self.consumer.send_state(position)
        self.subscriptions.release()

    async def _fail(self, code: CloseCode) -> None:
        await self.subscriptions.leave_all()
        if not self._is_accepted:
            await self._accept()
        await self.close(code)

    def _linger_seconds(self) -> float:
        return self.consumer.linger_seconds

    def _on_left(self) -> None:
        """The client has left while a handler runs, which nothing ends but linger_seconds."""
        self.end_at = float("inf")
        self.subscriptions.stop()
        self.outbox.discard()
        get_registry().spawn(self._leave(), self.context)

    async def _leave(self) -> None:
        with guard("A connection's end"):
            await get_registry().remove(self)
        await self.subscriptions.leave_all()

    async def _finish(self, code: int) -> None:
        try:
            self.is_closing = True
            await self._leave()
            await self.subscriptions.close(self.consumer.linger_seconds)
        finally:
            await self._disconnect(code)

    async def _disconnect(self, code: int) -> None:
        try:
            with guard(f"{type(self.consumer).__name__}.disconnect()"), suppress(StopConsumer):
                await self.consumer.disconnect(code)
        finally:
            self.outbox.discard()

    # -----------------------------------------------------------------------------------------------------------------
    # Access
    # -----------------------------------------------------------------------------------------------------------------

    async def _refusal(self) -> CloseCode | None:
        is_signed_in = self.scope["user"].is_authenticated
        if is_signed_in and not self._is_own_page:
            return CloseCode.OTHER_USER
        if not await self.consumer.is_allowed():
            return CloseCode.NOT_ALLOWED if is_signed_in else CloseCode.NOT_SIGNED_IN
        if not self._is_own_page:  # its user has signed out; a public page must not stay open under that user's name
            return CloseCode.OTHER_USER
        limit = self.consumer.max_connections if is_signed_in else self.consumer.max_connections_per_address
        return CloseCode.TOO_FAST if self._peers > limit else None

    async def recheck(self, user: AbstractBaseUser | AnonymousUser) -> None:
        """Check access again, for the user as of now. Called by the registry, in the connection's context."""
        if self.scope["user"].is_authenticated and not user.is_authenticated:
            # Also for a public consumer: messages for the user must not reach the next visitor. The client reconnects;
            # after a password change it has a new session, of which this connection knows nothing.
            await self.close(CloseCode.SIGNED_OUT)
            return
        is_allowed, has_changed = None, False
        with guard(f"{type(self.consumer).__name__}.is_allowed()"):
            seen_by = await self._state_key()
            self.scope["user"] = user
            is_allowed, has_changed = await self.consumer.is_allowed(), await self._state_key() != seen_by
        if is_allowed is None:
            await self.close(CloseCode.FAILED)  # the client reconnects, and access is checked again
        elif not is_allowed:
            await self.close(CloseCode.NOT_ALLOWED if user.is_authenticated else CloseCode.NOT_SIGNED_IN)
        elif has_changed:
            self.subscriptions.send_state()

    async def call_handler(self, envelope: Envelope) -> None:
        """Validate a message and call the consumer's handler of its type. Raises MessageError."""
        await self._dispatcher.call_handler(envelope)

    # -----------------------------------------------------------------------------------------------------------------
    # The state of the page
    # -----------------------------------------------------------------------------------------------------------------

    async def send_state(self, position: Position) -> None:
        """Have the consumer send its state; a failure closes the connection. Called by the subscriptions, one call at
        a time."""
        async with self._closing_on_error("send_state"):
            await self.consumer.send_state(position)

    async def send_snapshot(self, position: Position) -> None:
        """Send the messages of the consumer's snapshot(). Raises SnapshotFailed."""
        state = await get_snapshots().take(await self._state_key(), self.consumer.snapshot, self.context)
        for text in state.texts(position):
            # However large the state is, a part waits here instead of in the outbox, where it may not fit.
            while self.outbox.is_busy:
                await self.outbox.flushed()
            await self.consumer.send_text(text)

    async def _state_key(self) -> Hashable:
        """The key of the clients with which this one shares a snapshot; None for a consumer without one."""
        consumer = self.consumer
        if not consumer.has_state:
            return None
        key = consumer.snapshot_key()
        if inspect.isawaitable(key):  # an `async def`, for a key that is in the database
            key = await key
        return type(consumer), consumer.group_name, self.scope["path"], key

    # -----------------------------------------------------------------------------------------------------------------
    # To the client
    # -----------------------------------------------------------------------------------------------------------------

    async def _accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        event: dict[str, Any] = {"type": "websocket.accept", "subprotocol": subprotocol}
        await self.send(event if headers is None else {**event, "headers": list(headers)})
        self._is_accepted = True

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the connection after the messages that were sent before; a client that does not read is dropped."""
        self._begin_closing()
        # Daphne accepts no subclass of int.
        event = {"type": "websocket.close", **({} if code is None else {"code": int(code)})}
        try:
            async with asyncio.timeout(self.consumer.close_seconds):
                await self.send({**event, "reason": reason} if reason else event)
        except TimeoutError:
            self.abort()

    def _begin_closing(self) -> None:
        """From here on nothing is received or joined; a client that ignores the close is dropped in the end."""
        if self.is_closing:
            return
        self.is_closing = True
        self.subscriptions.stop()
        self.inbox.clear()
        loop = asyncio.get_running_loop()
        self.end_at = loop.time() + END_SECONDS
        loop.call_later(END_SECONDS, _abort, self._send, context=self.context)

    async def send(self, event: dict[str, Any]) -> None:
        """Send an ASGI event. Waits while the client is too slow."""
        self.outbox.write(event)
        if self.outbox.is_busy:
            await self.outbox.flushed()

    def write(self, text: str) -> None:
        """Send an encoded message as soon as the client takes it; never waits. Ignored before accept()."""
        if self._is_accepted:
            self.outbox.write_text(text)

    async def send_text(self, text: str) -> None:
        """Send an encoded message. Waits while the client is too slow. Ignored before accept()."""
        if self._is_accepted:
            self.outbox.write_text(text)
            if self.outbox.is_busy:
                await self.outbox.flushed()

    def on_overflow(self) -> None:
        """Close a client that is too slow: queued messages are dropped, and replayed after it reconnects."""
        self.outbox.discard()
        self._begin_closing()
        self._in_background(self._close_slow_client())

    def close_in_background(self, code: CloseCode) -> None:
        """Close the connection without waiting, once."""
        self._in_background(self.close(code))

    def _on_failure(self) -> None:
        """The server cannot send to the client, and may never report its end: it must not stay a member."""
        self._begin_closing()
        self.abort()
        get_registry().spawn(self._leave(), self.context)

    def _in_background(self, ending: Coroutine[Any, Any, None]) -> None:
        if self._is_finishing:
            ending.close()
            return
        self._is_finishing = True
        get_registry().spawn(ending, self.context)

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
        """Drop the connection."""
        self.outbox.discard()
        _abort(self._send)

    def end(self) -> None:
        """Cancel a connection that a close did not end. Called by the registry."""
        self.abort()
        if self._task:
            self._task.cancel()


def _abort(send: Send) -> None:
    if transport := transport_of(send):  # ASGI cannot do it
        transport.abort()
