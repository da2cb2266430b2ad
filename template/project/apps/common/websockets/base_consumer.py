"""The base of every feature's consumer: its limits, its hooks, and its methods. The parts are in connection/."""

import inspect
from collections.abc import Awaitable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer

from apps.common.websockets import protocol
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.connection.connection import Connection
from apps.common.websockets.connection.handlers import Handler, find_events, find_handlers
from apps.common.websockets.messages import RESERVED_TYPES, Message
from apps.common.websockets.protocol import Envelope, Position

if TYPE_CHECKING:
    from django.contrib.auth.models import _AnyUser  # of django-stubs: AUTH_USER_MODEL, or AnonymousUser


# Names of Channels' consumers that nothing would call or read here, and the ones to use instead.
REFUSED = {
    "groups": "set group_name, and `await self.join(group)` further ones after super().connect()",
    "channel_name": "`await self.join(group)` and group_send(), or send_message()",
    "channel_layer_alias": "the layer is the one named default",
    **dict.fromkeys(
        ("receive", "receive_json", "websocket_receive"),
        "handle a message in `async def handle_<type>(self, data: SomeMessage)`, or all of them in handle_message()",
    ),
    "websocket_connect": "override connect()",
    "websocket_disconnect": "override disconnect()",
    "dispatch": "override handle_message(), or define a method for each event's type",
    **dict.fromkeys(("send", "base_send"), "override send_text()"),
    **dict.fromkeys(("decode_json", "encode_json"), "messages.py says what is received and sent"),
    "__call__": "wrap the route with ASGI middleware",
}


class _Refused:
    """An attribute that raises where an instance reads or sets it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        raise AttributeError(_refusal(owner, self._name))

    def __set__(self, instance: object, value: object) -> None:
        raise AttributeError(_refusal(type(instance), self._name))


def _refusal(owner: type, name: str) -> str:
    return f"{owner.__name__}.{name} has no effect here. Instead: {REFUSED[name]}"


class BaseWebSocketConsumer(AsyncJsonWebsocketConsumer):
    """The server's end of one connection.

    A feature sets `group_name` in connect(), checks access in is_allowed(), and has a method
    `async def handle_<type>(self, data: SomeMessage)` for each message that clients may send. What a handler returns is
    sent back as the answer; MessageError refuses the message. No message ends the connection.
    """

    max_bytes = 64 * 1024  # of a client's message; the server's own limit is in server.py
    rate_per_second = 50  # messages of a client, pings included
    burst = 200  # messages that may arrive at once; after as many rejected messages the connection is closed (4429)
    inbox_limit = 200  # messages that wait for a handler
    inbox_bytes = 256 * 1024  # of them, as text
    outbox_bytes = 256 * 1024  # that wait for a slow client, beyond what the server and the network hold
    heartbeat_seconds = 25  # between a client's pings, which find a dead connection
    silent_seconds = 150  # without a message until the connection is closed; a hidden tab's timers run once a minute
    recheck_seconds = 60  # between two calls of is_allowed()
    close_seconds = 2  # that closing may take before a client that does not read is dropped
    linger_seconds = 30  # that a handler may continue after its client has left
    max_connections = 100  # of one user, in one process
    max_connections_per_address = 200  # of all anonymous visitors at one address, in one process
    max_groups = 100  # of one connection
    replay = True  # whether a client that reconnects receives the broadcasts of group_name that it missed

    groups = _Refused()
    channel_name = _Refused()
    group_name: str | None = None
    handlers: ClassVar[dict[str, Handler]] = {}  # by message type; found when the class is made
    event_methods: ClassVar[frozenset[str]] = frozenset()  # the methods that the `type` of a group_send() can reach
    keeps_contract: ClassVar[bool] = True  # handle_message() is not overridden
    filters_broadcasts: ClassVar[bool] = False  # a method on the way of a broadcast is overridden
    has_state: ClassVar[bool] = False  # snapshot() or send_state() is overridden
    _connection: Connection

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if reserved := sorted(RESERVED_TYPES.intersection(vars(cls)) - {"snapshot"}):
            raise TypeError(f"{cls.__name__}.{reserved[0]} is reserved for the base class; rename it")
        _refuse_names(cls)
        _check_limits(cls)
        cls.handlers = find_handlers(cls)
        cls.event_methods = find_events(cls, BaseWebSocketConsumer)
        cls.keeps_contract = not _overrides(cls, "handle_message")
        cls.has_state = _overrides(cls, "snapshot", "send_state")
        cls.filters_broadcasts = _overrides(cls, "broadcast_message", "send_json", "send_text")

    def __init__(self, **kwargs: Any) -> None:
        """kwargs: those of as_asgi(), which a subclass may use."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self._connection = Connection(self, receive, send)
        await self._connection.run()

    # -----------------------------------------------------------------------------------------------------------------
    # Hooks, to override
    # -----------------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Override to set `group_name`, then call super().connect(): it checks access, accepts, and joins the group.
        Nothing after it runs for a client that is refused."""
        await self.accept()

    async def is_allowed(self) -> bool:
        """Override to decide who may connect; by default signed-in users. Called before a group is joined, and
        every `recheck_seconds`."""
        return self.user.is_authenticated

    async def disconnect(self, code: int) -> None:
        """Override to clean up. Called once, after the last handler; groups are left already."""

    async def handle_message(self, data: dict[str, Any]) -> None:
        """Override to receive every message as it is, unvalidated. By default it goes to the handler of its type."""
        await self._connection.call_handler(Envelope(data["type"], data.get("data", {}), data.get("ref"), data))

    async def broadcast_message(self, event: dict[str, Any]) -> None:
        """Override to filter: sends a group's broadcast to this client. The event is shared: do not change it."""
        await self.send_json(event["data"])

    async def snapshot(self) -> Sequence[Message]:
        """Override to return the state of the page, as messages. It is sent to a client that connects without a
        position, and to one whose missed broadcasts are gone, which otherwise gets a resync. Broadcasts after it was
        read follow, and some that are part of it may: handling a message twice must change nothing."""
        return ()

    def snapshot_key(self) -> Hashable | Awaitable[Hashable]:
        """Override to share snapshot() between users: clients of the same group and path for which this returns the
        same see the same state, and share a call if they wait at the same time. None: all of them. By default those of
        the same signed-in user. If it differs after a re-check, the state is sent again."""
        return self.user.pk if self.user.is_authenticated else self

    async def send_state(self, position: Position) -> None:
        """Override to send the state otherwise than by snapshot(). Called where a state is sent; broadcasts after the
        position follow."""
        await self._connection.send_snapshot(position)

    # -----------------------------------------------------------------------------------------------------------------
    # Methods, to call
    # -----------------------------------------------------------------------------------------------------------------

    @property
    def user(self) -> "_AnyUser":
        """The user whose page opened the connection."""
        user: _AnyUser = self.scope["user"]
        return user

    @property
    def channel_layer(self) -> Any:
        """For group_send(); broadcast() is the shorter way."""
        return get_channel_layer()

    async def broadcast(self, message: Message) -> None:
        """Send a message to every client of this consumer's group, this one included."""
        if not self.group_name:
            raise RuntimeError(f"{type(self).__name__} has no group_name; set it in connect() before super().connect()")
        await abroadcast(self.group_name, message)

    async def join(self, group: str) -> None:
        """Receive another group's broadcasts too, until leave() or the end of the connection. Raises MessageError
        beyond max_groups."""
        await self._connection.subscriptions.join(group)

    async def leave(self, group: str) -> None:
        """Undo join()."""
        await self._connection.subscriptions.leave(group)

    async def send_message(self, message: Message) -> None:
        """Send a message to this client alone."""
        await self.send_text(message.encode())

    async def send_json(self, content: Any, close: bool = False) -> None:
        """Send a message to this client alone, as a dictionary {"type": …, "data": …}."""
        await self.send_text(protocol.encode(content))
        if close:
            await self.close()

    async def send_text(self, text: str) -> None:
        """Send a message to this client alone, as JSON text. Waits while the client is too slow."""
        await self._connection.send_text(text)

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Check access, accept, and join the group; super().connect() does so. A connect() that needs a subprotocol or
        headers calls this instead."""
        await self._connection.admit(subprotocol, headers)

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the connection; the messages sent before arrive."""
        await self._connection.close(code, reason)

    async def base_send(self, message: dict[str, Any]) -> None:
        """Send an ASGI event: Channels' send() calls it."""
        await self._connection.send(message)


def _overrides(cls: type, *names: str) -> bool:
    return any(getattr(cls, name) is not getattr(BaseWebSocketConsumer, name) for name in names)


def _refuse_names(cls: type) -> None:
    for name in REFUSED:
        if inspect.getattr_static(cls, name) is not inspect.getattr_static(BaseWebSocketConsumer, name):
            raise TypeError(_refusal(cls, name))


def _check_limits(cls: type[BaseWebSocketConsumer]) -> None:
    """Raises TypeError for a limit that is no positive number."""
    for name, default in vars(BaseWebSocketConsumer).items():
        value = getattr(cls, name)
        if type(default) is int and not (type(value) in (int, float) and 0 < value < float("inf")):
            unit = "seconds" if name.endswith("_seconds") else "bytes" if "bytes" in name else "a number"
            raise TypeError(f"{cls.__name__}.{name} is {unit}, above 0, such as {default}; not {value!r}")
        if type(default) is bool and name == "replay" and type(value) is not bool:
            raise TypeError(f"{cls.__name__}.{name} is True or False, not {value!r}")
    if not isinstance(cls.group_name, str | property | None):
        raise TypeError(f"{cls.__name__}.group_name is a string, not {cls.group_name!r}")
