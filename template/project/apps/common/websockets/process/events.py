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
    position: Position | None = None  # a broadcast's place in the group's stream

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.kind = content["type"].replace(".", "_")  # as Channels does
        self.is_broadcast = self.kind == "broadcast_message"

    @cached_property
    def text(self) -> str:
        """The message of a broadcast, encoded once for all."""
        return protocol.encode(self.content["data"])

    @cached_property
    def message(self) -> dict[str, Any]:
        """The message as ASGI sends it."""
        return {"type": "websocket.send", "text": self.text}

    @property
    def unnumbered(self) -> "Event":
        """The same for a connection that does not follow the group's stream."""
        return self


class NumberedEvent(Event):
    """A broadcast of a stream."""

    kind = "broadcast_message"
    is_broadcast = True

    def __init__(self, broadcast: Broadcast) -> None:
        self.position = Position(broadcast.epoch, broadcast.seq)
        self.text = f'{{"seq":{broadcast.seq},{broadcast.body[1:]}'
        self.message = {"type": "websocket.send", "text": self.text}
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
