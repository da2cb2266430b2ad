"""The base of every feature's consumer: a connection's life, with hooks for subclasses."""

import asyncio
import logging
import random
from collections.abc import Coroutine
from secrets import token_hex
from typing import Any, ClassVar

from channels.exceptions import DenyConnection, StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import Error as DatabaseError
from pydantic import ValidationError

from apps.common.websockets import protocol
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.handlers import Handler, find_handlers
from apps.common.websockets.hub import Event, NumberedEvent, Resync, get_hub
from apps.common.websockets.inbox import Inbox
from apps.common.websockets.limits import TokenBucket
from apps.common.websockets.messages import Message, MessageError
from apps.common.websockets.metrics import count
from apps.common.websockets.outbox import Outbox, Send
from apps.common.websockets.protocol import CloseCode, Frame
from apps.common.websockets.registry import get_registry
from apps.common.websockets.serial import Serial
from apps.common.websockets.streams import Position, StreamsUnavailable, get_streams

logger = logging.getLogger(__name__)

CONNECT = Frame("", None, None, {})  # stands in the inbox for the connection's beginning


class BaseWebSocketConsumer(AsyncJsonWebsocketConsumer):
    """One page's connection.

    A feature sets `group_name` in connect(), says who may come in is_allowed(), and has a method
    `async def handle_<type>(self, data: SomeMessage)` for each message that pages may send. What a handler returns is
    sent back as the answer; MessageError refuses. A connection survives whatever it is sent.
    """

    max_bytes = 64 * 1024  # of one frame from a page; the server's own limit is in server.py
    rate_per_second = 50  # frames from a page, pings included
    burst = 200  # frames that may come at once; a page that goes on after as many refusals is closed, 4429
    inbox_limit = 200  # frames that wait for a handler
    outbox_bytes = 256 * 1024  # that wait for a slow reader, beyond what the server and the network hold
    heartbeat_seconds = 25  # how often the page pings, to find a dead connection
    silent_seconds = 150  # without a frame until the page counts as gone; a hidden tab's timers run once a minute
    recheck_seconds = 60  # how often is_allowed() is asked again
    close_seconds = 2  # that closing a page that does not read may take before it is cut off
    max_connections = 100  # of one user, in one process
    replay = True  # whether a page that comes back gets the broadcasts of group_name that it missed

    group_name: str | None = None
    handlers: ClassVar[dict[str, Handler]] = {}
    _keeps_contract = True
    _filters_broadcasts = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = find_handlers(cls)
        cls._keeps_contract = cls.handle_message is BaseWebSocketConsumer.handle_message
        cls._filters_broadcasts = cls.broadcast_message is not BaseWebSocketConsumer.broadcast_message

    # -----------------------------------------------------------------------------------------------------------------
    # For subclasses
    # -----------------------------------------------------------------------------------------------------------------

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        """Who opened the page."""
        user: AbstractBaseUser | AnonymousUser = self.scope["user"]
        return user

    @property
    def channel_layer(self) -> Any:
        """For group_send(); broadcast() is the shorter way."""
        return get_channel_layer()

    async def is_allowed(self) -> bool:
        """Override to say who may connect. Asked before any group is joined, and every minute; by default: who is
        signed in."""
        return self.user.is_authenticated

    async def connect(self) -> None:
        """Override to set `group_name`, then call super().connect(), which asks is_allowed() and joins the group."""
        refused = await self._refusal()
        await self.accept()  # also to refuse: a page cannot read why a handshake failed
        if refused:
            await self.close(refused)
            return
        if self.group_name:
            await self._follow(self.group_name)
        else:
            await self._greet(Position("", 0), None)

    async def disconnect(self, code: int) -> None:
        """Override to clean up. Called once for each connection; its groups are left without your doing."""

    async def handle_message(self, data: dict[str, Any]) -> None:
        """Override to take every frame as it came, without a contract. By default: the handler of its type."""
        await self._handle(Frame(data["type"], data.get("data", {}), data.get("ref"), data))

    async def broadcast_message(self, event: dict[str, Any]) -> None:
        """Send a group's broadcast to this page. Override to leave some out; the event is shared, do not change it."""
        await self.send_json(event["data"])

    async def broadcast(self, message: Message) -> None:
        """Send a message to every page of this consumer's group, this one included."""
        if not self.group_name:
            raise RuntimeError(f"{type(self).__name__} has no group_name; set it in connect() before super().connect()")
        await abroadcast(self.group_name, message)

    async def send_message(self, message: Message) -> None:
        """Send a message to this page alone."""
        await self.send_text(message.encode())

    async def join(self, group: str) -> None:
        """Receive another group's broadcasts too, until leave() or the end of the connection."""
        self._groups.add(group)
        await get_hub().join(group, self)

    async def leave(self, group: str) -> None:
        """Undo join()."""
        self._groups.discard(group)
        await get_hub().leave(group, self)

    # -----------------------------------------------------------------------------------------------------------------
    # A connection's life
    # -----------------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        self._begin(scope, receive, send)
        code: int = CloseCode.FAILED
        try:
            end = await self._inbox.run()
            code = end.get("code") or 1005  # no code was given
        finally:
            await self._end(code)

    def _begin(self, scope: Any, receive: Any, send: Send) -> None:
        self.scope = scope
        self._clock = asyncio.get_running_loop().time
        self._send = send
        self._is_accepted = False
        self._is_ending = False
        self._groups: set[str] = set()
        self._position = Position("", 0)  # of the last numbered broadcast that this page was given
        self._held: list[tuple[str, Event]] | None = None  # what waits for the replay
        self._outbox = Outbox(send, self.outbox_bytes, self._let_go)
        self._inbox: Inbox[Frame] = Inbox(receive, self._sort, self._handle_safely, self.inbox_limit)
        self._events: Serial[Event] = Serial(self._handle_event, self.inbox_limit)
        self.heard_at = self._clock()
        self.check_at = self.heard_at + random.uniform(0, self.recheck_seconds)  # noqa: S311 - spreads the checks
        self._bucket = TokenBucket(self.rate_per_second, self.burst, self.heard_at)

    async def _connect(self) -> None:
        try:
            await self.connect()
        except (DenyConnection, StopConsumer):
            await self.close()
        except StreamsUnavailable as error:
            logger.error("%s: %s", type(self).__name__, error)
            await self._give_up(CloseCode.TRY_LATER)
        except Exception:
            logger.exception("%s.connect() failed", type(self).__name__)
            await self._give_up(CloseCode.FAILED)

    async def _give_up(self, code: CloseCode) -> None:
        if not self._is_accepted:
            await self.accept()
        await self.close(code)

    async def _refusal(self) -> CloseCode | None:
        registry = get_registry()
        others = len(registry.of_user(str(self.user.pk))) if self.user.is_authenticated else 0
        await registry.add(self)  # before asking: who is signed out meanwhile is closed
        if not await self.is_allowed():
            return CloseCode.NOT_ALLOWED if self.user.is_authenticated else CloseCode.NOT_SIGNED_IN
        return CloseCode.TOO_FAST if others >= self.max_connections else None

    async def _follow(self, group: str) -> None:
        # Live broadcasts are held back until the page has what it missed.
        self._held = []
        self._groups.add(group)
        position = await get_hub().join(group, self)
        left_off = protocol.parse_position(self.scope["query_string"]) if self.replay else None
        missed = await get_streams().since(group, left_off) if left_off else None
        if left_off and missed is not None:
            position = left_off
        elif left_off:
            position = await get_streams().atop(group)  # the page loads its state after this
        self._position = position
        count("replayed", len(missed or ()))
        count("replays_refused", 1 if left_off and missed is None else 0)
        top = Position(position.epoch, position.seq + len(missed or ()))
        await self._greet(top, None if left_off is None else missed is not None)
        held, self._held = self._held, None
        for broadcast in missed or ():
            self.deliver(group, NumberedEvent(broadcast))
        for held_group, event in held:
            self.deliver(held_group, event)

    async def _greet(self, position: Position, recovered: bool | None) -> None:
        await self.send_json(protocol.welcome(*position, recovered, self.heartbeat_seconds, self.max_bytes))

    async def recheck(self, user: AbstractBaseUser | AnonymousUser) -> None:
        """Ask is_allowed() again, about the user as of now. Called by the registry."""
        self.check_at = self._clock() + self.recheck_seconds
        was_signed_in = self.user.is_authenticated
        self.scope["user"] = user
        try:
            refused = None if await self.is_allowed() else CloseCode.NOT_ALLOWED
        except Exception:
            logger.exception("%s.is_allowed() failed", type(self).__name__)
            refused = CloseCode.FAILED  # it comes back, and is asked again
        if refused is CloseCode.NOT_ALLOWED and not user.is_authenticated:
            # Who changed the password has a new session by now, which this connection cannot know of.
            refused = CloseCode.SIGNED_OUT if was_signed_in else CloseCode.NOT_SIGNED_IN
        if refused:
            await self.close(refused)

    async def _end(self, code: int) -> None:
        try:
            await get_registry().remove(self)
            await self._events.close()
            await self._leave_all()
        finally:
            await self._disconnect(code)

    async def _leave_all(self) -> None:
        for group in list(self._groups):
            try:
                await self.leave(group)
            except Exception:
                logger.exception("%s failed to leave %s", type(self).__name__, group)

    async def _disconnect(self, code: int) -> None:
        try:
            await self.disconnect(code)
        except StopConsumer:
            pass
        except Exception:
            logger.exception("%s.disconnect() failed", type(self).__name__)
        finally:
            self._outbox.discard()

    # -----------------------------------------------------------------------------------------------------------------
    # In: frames of the page
    # -----------------------------------------------------------------------------------------------------------------

    def _sort(self, message: Any) -> Frame | None:
        # Sees every message at once; what it returns is handled in its turn.
        if message["type"] == "websocket.connect":
            return CONNECT
        self.heard_at = self._clock()
        if wait := self._bucket.take(self.heard_at):
            self._slow_down(wait)
            return None
        try:
            frame = protocol.parse(message.get("text"), self.max_bytes)
        except MessageError as error:
            self._refuse(error)
            return None
        return self._admit(frame)

    def _admit(self, frame: Frame) -> Frame | None:
        if frame.type == "ping":
            self.write(protocol.PONG)
        elif self._inbox.is_full:
            self._refuse(MessageError("overloaded", "too many messages wait to be handled", 1), frame.ref)
        else:
            return frame
        return None

    def _slow_down(self, wait: float) -> None:
        if self._bucket.is_flooded:
            self._end_soon(self.close(CloseCode.TOO_FAST))
        else:
            self._refuse(MessageError("rate_limited", f"more than {self.rate_per_second} messages a second", wait))

    async def _handle_safely(self, frame: Frame) -> None:
        if frame is CONNECT:
            await self._connect()
            return
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

    def _report(self, frame: Frame, error: BaseException) -> None:
        incident = token_hex(4)
        logger.error("%s failed to handle %r (incident %s)", type(self).__name__, frame.type, incident, exc_info=error)
        self._refuse(MessageError("internal_error", f"something went wrong (incident {incident})"), frame.ref)

    async def _handle(self, frame: Frame) -> None:
        handler = self.handlers.get(frame.type)
        if handler is None:
            known = ", ".join(sorted(self.handlers)) or "none"
            raise MessageError("unknown_type", f"{frame.type[:64]!r} is not known here; known are: {known}")
        try:
            data = handler.message.model_validate(frame.data)
        except ValidationError as error:
            raise MessageError("invalid_message", protocol.explain(error)) from error
        answer = await handler.function(self, data)
        if answer is not None:
            await self.send_text(answer.encode(frame.ref))
        elif frame.ref is not None:
            await self.send_json({"type": f"{frame.type}_result", "ref": frame.ref, "data": {}})

    # -----------------------------------------------------------------------------------------------------------------
    # Out: everything goes through the outbox
    # -----------------------------------------------------------------------------------------------------------------

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Accept the connection. super().connect() does."""
        await super().accept(subprotocol, headers)
        self._is_accepted = True

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """Close the connection. What was sent before arrives; a page that does not read is cut off."""
        try:
            async with asyncio.timeout(self.close_seconds):
                await super().close(code, reason)
        except TimeoutError:
            self._abort()

    async def base_send(self, message: dict[str, Any]) -> None:
        """Where Channels' own send(), accept() and close() lead. Waits while the page reads too slowly."""
        self._outbox.write(message)
        if self._outbox.is_busy:
            await self._outbox.flushed()

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

    def deliver(self, group: str, event: Event) -> None:
        """Take an event of a group, without waiting. Called by the hub."""
        if self._held is not None:
            self._held.append((group, event))
        elif event.position and group == self.group_name and self.replay:
            self._deliver_numbered(event, event.position)
        elif not isinstance(event, Resync):
            self._deliver(event.unnumbered)

    def _deliver_numbered(self, event: Event, position: Position) -> None:
        # What this page was given already came with the replay, or is part of the state that it loads.
        is_next = position.epoch == self._position.epoch and position.seq > self._position.seq
        if is_next or (isinstance(event, Resync) and position != self._position):
            self._position = position
            self._deliver(event)

    def _deliver(self, event: Event) -> None:
        as_it_is = (event.is_broadcast and not self._filters_broadcasts) or isinstance(event, Resync)
        if as_it_is and self._events.is_idle:
            self._outbox.write(event.message)
        elif not self._events.put(event):
            self._let_go()

    async def _handle_event(self, event: Event) -> None:
        if isinstance(event, Resync):
            await self.send_text(event.text)
            return
        handler = getattr(self, event.kind, None)
        try:
            if handler is None:
                raise ValueError(f"{type(self).__name__} has no method {event.kind} for an event of that type")
            await handler(event.content)
        except Exception:
            logger.exception("%s failed to handle the event %r", type(self).__name__, event.kind)

    def _refuse(self, error: MessageError, ref: protocol.Ref = None) -> None:
        count("refused_frames")
        self.write(protocol.encode(protocol.answer(protocol.refusal(error), ref)))

    def write(self, text: str) -> None:
        """Send an encoded frame, as soon as the page takes it; never waits."""
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
                await self._send({"type": "websocket.close", "code": CloseCode.TRY_LATER})
        except (TimeoutError, OSError):
            self._abort()

    def _abort(self) -> None:
        # ASGI has no way to; uvicorn's `send` belongs to an object that has its transport.
        self._outbox.discard()
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport:
            transport.abort()
