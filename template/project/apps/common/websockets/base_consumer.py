"""The base of every feature's consumer: a connection's life, with hooks for subclasses."""

import logging
from secrets import token_hex
from typing import Any, ClassVar

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from pydantic import ValidationError

from apps.common.websockets import protocol
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.handlers import Handler, find_handlers
from apps.common.websockets.hub import Event, get_hub
from apps.common.websockets.inbox import Inbox
from apps.common.websockets.messages import Message, MessageError
from apps.common.websockets.outbox import Outbox, Send
from apps.common.websockets.protocol import CloseCode, Frame

logger = logging.getLogger(__name__)


class BaseWebSocketConsumer(AsyncJsonWebsocketConsumer):
    """One page's connection.

    A feature sets `group_name` in connect(), says who may come in is_allowed(), and has a method
    `async def handle_<type>(self, data: SomeMessage)` for each message that pages may send. What a handler returns is
    sent back as the answer; MessageError refuses. A connection survives whatever it is sent.
    """

    heartbeat_seconds = 25  # how often the page pings, to find a dead connection
    max_bytes = 64 * 1024  # of one frame from a page
    inbox_limit = 100  # frames that wait for a handler
    outbox_bytes = 256 * 1024  # that wait for a slow reader before it is let go

    group_name: str | None = None
    handlers: ClassVar[dict[str, Handler]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = find_handlers(cls)

    # -----------------------------------------------------------------------------------------------------------------
    # For subclasses
    # -----------------------------------------------------------------------------------------------------------------

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        """Who opened the page."""
        user: AbstractBaseUser | AnonymousUser = self.scope["user"]
        return user

    async def is_allowed(self) -> bool:
        """Override to say who may connect; asked before any group is joined. By default: who is signed in."""
        return self.user.is_authenticated

    async def connect(self) -> None:
        """Override to set `group_name`, then call super().connect(), which asks is_allowed() and joins the group."""
        allowed = await self.is_allowed()
        await self.accept()  # also to refuse: a page cannot read why a handshake failed
        if not allowed:
            await self.close(CloseCode.NOT_ALLOWED if self.user.is_authenticated else CloseCode.NOT_SIGNED_IN)
            return
        if self.group_name:
            await self.join(self.group_name)
        await self._greet()

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
        await self.send_json(message.frame())

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
        self.scope = scope
        self._groups: set[str] = set()
        self._outbox = Outbox(send, self.outbox_bytes, self._let_go)
        self._inbox = Inbox(self._handle_safely, self.inbox_limit)
        self._events = Inbox(self._handle_event, self.inbox_limit)
        self._overrides_broadcast = type(self).broadcast_message is not BaseWebSocketConsumer.broadcast_message
        code = CloseCode.FAILED
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                if message["type"] == "websocket.connect":
                    await self._connect_safely()
                else:
                    self._receive(message.get("text"))
            code = message.get("code", 1005)
        finally:
            await self._end(code)

    async def base_send(self, message: dict[str, Any]) -> None:
        """Where Channels' own send, accept and close lead."""
        self._outbox.write(message)
        await self._outbox.flushed()

    async def send_json(self, content: Any, close: bool = False) -> None:
        """Send a frame to this page. Waits while the page reads too slowly."""
        await self.base_send({"type": "websocket.send", "text": protocol.encode(content)})
        if close:
            await self.close()

    def deliver(self, event: Event) -> None:
        """Take an event of a group. Called by the hub."""
        kind = event.content["type"].replace(".", "_")
        if kind == "broadcast_message" and not self._overrides_broadcast and self._events.idle:
            self._write(event.text)
        elif not self._events.put(event):
            self._let_go()

    async def _connect_safely(self) -> None:
        try:
            await self.connect()
        except StopConsumer:
            pass
        except Exception:
            logger.exception("%s.connect() failed", type(self).__name__)
            await self._fail()

    async def _greet(self) -> None:
        await self.send_json(protocol.welcome("", 0, None, self.heartbeat_seconds, self.max_bytes))

    def _receive(self, text: str | None) -> None:
        try:
            frame = protocol.parse(text, self.max_bytes)
        except MessageError as error:
            self._refuse(error)
            return
        if frame.type == "ping":
            self._write(protocol.PONG)
        elif not self._inbox.put(frame):
            self._refuse(MessageError("overloaded", "too many messages wait to be handled", 1), frame.ref)

    async def _handle_safely(self, frame: Frame) -> None:
        try:
            await self.handle_message(frame.content)
        except MessageError as error:
            self._refuse(error, frame.ref)
        except Exception:
            incident = token_hex(4)
            logger.exception("%s failed to handle %r (incident %s)", type(self).__name__, frame.type, incident)
            self._refuse(MessageError("internal_error", f"something went wrong (incident {incident})"), frame.ref)

    async def _handle(self, frame: Frame) -> None:
        handler = self.handlers.get(frame.type)
        if handler is None:
            known = ", ".join(sorted(self.handlers)) or "none"
            raise MessageError("unknown_type", f"{frame.type[:64]!r} is not known here; known are: {known}")
        try:
            data = handler.message.model_validate(frame.data)
        except ValidationError as error:
            raise MessageError("invalid_message", _explain(error)) from error
        answer = await handler.function(self, data)
        if answer is not None:
            await self._answer(answer.frame(), frame.ref)
        elif frame.ref is not None:
            await self._answer({"type": f"{frame.type}_result", "data": {}}, frame.ref)

    async def _answer(self, content: dict[str, Any], ref: str | int | None) -> None:
        await self.send_json(content if ref is None else {"type": content["type"], "ref": ref, "data": content["data"]})

    async def _handle_event(self, event: Event) -> None:
        kind = event.content["type"].replace(".", "_")
        try:
            handler = getattr(self, kind, None)
            if handler is None:
                raise ValueError(f"{type(self).__name__} has no method {kind} for an event of this type")
            await handler(event.content)
        except Exception:
            logger.exception("%s failed to handle the event %r", type(self).__name__, kind)

    def _refuse(self, error: MessageError, ref: str | int | None = None) -> None:
        self._write(protocol.encode(protocol.error_frame(error, ref)))

    def _write(self, text: str) -> None:
        self._outbox.write({"type": "websocket.send", "text": text})

    def _let_go(self) -> None:
        # It cannot keep up. What waits for it is of no use: it will reconnect.
        self._outbox.discard()

    async def _fail(self) -> None:
        try:
            await self.close(CloseCode.FAILED)
        except Exception:
            logger.debug("Too late to close", exc_info=True)

    async def _end(self, code: int) -> None:
        await self._inbox.close()
        await self._events.close()
        for group in list(self._groups):
            await self.leave(group)
        try:
            await self.disconnect(code)
        except StopConsumer:
            pass
        except Exception:
            logger.exception("%s.disconnect() failed", type(self).__name__)
        finally:
            self._outbox.discard()


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'data'}: {problem['msg']}" for problem in problems)
