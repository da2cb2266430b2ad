"""The base of every feature's consumer: its limits, and the hooks that a feature overrides.

What happens around them is in connection.py (a connection's life, its groups), receiving.py (what pages send) and
sending.py (what they are sent).
"""

from typing import Any, ClassVar

from channels.layers import get_channel_layer

from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.connection import Connection
from apps.common.websockets.handlers import Handler, find_handlers
from apps.common.websockets.messages import Message
from apps.common.websockets.protocol import Frame
from apps.common.websockets.streams import NOWHERE


class BaseWebSocketConsumer(Connection):
    """One page's connection.

    A feature sets `group_name` in connect(), says who may come in is_allowed(), and has a method
    `async def handle_<type>(self, data: SomeMessage)` for each message that pages may send. What a handler returns is
    sent back as the answer; MessageError refuses. A connection survives whatever it is sent.

    Beside what is below it has `user`; send_message(message) for this page alone; join(group) and leave(group) for more
    groups than the one; and Channels' scope, accept(), close() and send_json().
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
        cls._keeps_contract = not _overrides(cls, "handle_message")
        cls._filters_broadcasts = _overrides(cls, "broadcast_message", "send_json", "send_text")

    @property
    def channel_layer(self) -> Any:
        """For group_send(); broadcast() is the shorter way."""
        return get_channel_layer()

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
            await self._greet(NOWHERE, None)

    async def is_allowed(self) -> bool:
        """Override to say who may connect. Asked before any group is joined, and every minute; by default: who is
        signed in."""
        return self.user.is_authenticated

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


def _overrides(cls: type, *names: str) -> bool:
    return any(getattr(cls, name) is not getattr(BaseWebSocketConsumer, name) for name in names)
