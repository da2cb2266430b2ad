"""The events that the hub delivers to the members of a group, encoded once for all of them."""

from functools import cached_property
from typing import Any

from pydantic_core import from_json

from apps.common.websockets import protocol
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams.base import Broadcast


class Event:
    """An event of the channel layer. All members share it: it must not be changed."""

    kind: str  # the consumer's method that handles it
    is_broadcast: bool  # whether a consumer that filters nothing sends it on unchanged
    is_resync = False
    text: str  # of a broadcast or a resync, as JSON
    position: Position | None = None  # a broadcast's place in the group's stream

    def __init__(self, content: dict[str, Any]) -> None:
        """content: as given to group_send(). Raises TypeError for what is no event."""
        type_ = content.get("type") if isinstance(content, dict) else None
        if not isinstance(type_, str):
            raise TypeError(f'an event is a dictionary with a "type", a string, not {content!r:.200}')
        self.content = content
        self.kind = type_.replace(".", "_")  # as Channels does
        self.is_broadcast = self.kind == "broadcast_message"
        if self.is_broadcast:
            try:
                self.text = protocol.encode(content["data"])  # once for all members
            except (KeyError, TypeError, ValueError):
                self.is_broadcast = False  # only a method that is overridden can send it

    @cached_property
    def message(self) -> dict[str, Any]:
        """The message as ASGI sends it."""
        return {"type": "websocket.send", "text": self.text}

    @cached_property
    def frame(self) -> bytes:
        """The message as the transport has it."""
        return protocol.frame(self.text)

    @property
    def unnumbered(self) -> "Event":
        """The same for a connection that does not follow the group's stream."""
        return self


class NumberedEvent(Event):
    """A broadcast of a stream."""

    kind = "broadcast_message"
    is_broadcast = True
    position: Position

    def __init__(self, broadcast: Broadcast) -> None:
        self.position = Position(broadcast.epoch, broadcast.seq)
        self.text = f'{{"seq":{broadcast.seq},{broadcast.body[1:]}'
        self._body = broadcast.body

    def __getattr__(self, name: str) -> Any:
        # Made when a consumer reads it, which most do not.
        if name != "content":
            raise AttributeError(name)
        self.content = {"type": self.kind, "data": from_json(self.text)}
        return self.content

    @cached_property
    def unnumbered(self) -> Event:
        return Event({"type": self.kind, "data": from_json(self._body)})


class Resync(Event):
    """Broadcasts are lost: the clients take this position and reload their state."""

    kind = "resync"
    is_broadcast = False
    is_resync = True

    def __init__(self, position: Position) -> None:
        self.position = position
        self.text = protocol.resync(position)


class StateRequest(Event):
    """For one connection: the state that its page shows is no longer the one that its user sees."""

    kind = Resync.kind
    is_broadcast = False

    def __init__(self) -> None:
        """It has no content: a connection whose consumer has a state sends it."""
