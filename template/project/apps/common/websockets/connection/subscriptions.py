"""The groups that a connection follows, and the way of their events to the client."""

import logging

from apps.common.websockets.connection.interfaces import Link
from apps.common.websockets.process.events import Event, NumberedEvent
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.task_queue import TaskQueue
from apps.common.websockets.protocol import UNKNOWN_POSITION, Position, parse_position
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import MAX_MESSAGES

logger = logging.getLogger(__name__)

MAX_EVENTS = 2 * MAX_MESSAGES  # that wait for one consumer's event handlers: a whole replay, and those of meanwhile


class Subscriptions:
    """The groups of a connection. It receives each broadcast of the followed stream once, in order."""

    __slots__ = ("_connection", "_events", "_filters", "_followed", "_groups", "_held", "_outbox", "_position")

    def __init__(self, connection: Link) -> None:
        self._connection = connection
        self._outbox = connection.outbox
        self._filters = connection.consumer.filters_broadcasts
        self._groups: dict[str, None] = {}  # in order; an empty set would take three times the memory
        self._followed = ""  # the group whose stream is followed
        self._position = UNKNOWN_POSITION  # of the last numbered broadcast that the client was sent
        self._held: list[tuple[str, Event]] | None = None  # live events, until the replay is sent
        self._events: TaskQueue[Event] | None = None  # made for the connections whose events have a handler

    async def join(self, group: str) -> None:
        """Receive a group's events, without its stream's numbers."""
        self._groups[group] = None
        await get_hub().join(group, self)

    async def leave(self, group: str) -> None:
        """Undo join()."""
        self._groups.pop(group, None)
        await get_hub().leave(group, self)

    async def follow(self, group: str, query: bytes) -> tuple[Position, bool | None]:
        """Join a group, and hold its broadcasts back until release(): after the welcome, and after the missed ones.

        query: with the client's position, if it has one. Returns the position after the missed broadcasts, and whether
        they are complete; None for a client without a position.
        """
        self._held = []
        self._groups[group] = None
        position = self._position = await get_hub().join(group, self)
        if not self._connection.consumer.replay:
            return position, None
        self._followed = group
        client = parse_position(query)
        return await self._resume(group, client) if client else (position, None)

    async def _resume(self, group: str, client: Position) -> tuple[Position, bool]:
        missed = await get_streams().since(group, client)
        if missed is None:
            count("replays_refused")
            self._position = await get_streams().atop(group)  # the client reloads its state after this
            return self._position, False
        count("replayed", len(missed))
        self._position = client
        replay = [(group, NumberedEvent(broadcast)) for broadcast in missed]
        self._held = [*replay, *(self._held or ())]
        return Position(client.epoch, client.seq + len(missed)), True

    def release(self) -> None:
        """Send what was held back, and further events at once."""
        held, self._held = self._held, None
        for group, event in held or ():
            self.deliver(group, event)

    def deliver(self, group: str, event: Event) -> None:
        """Take an event of a group, without waiting. Called by the hub."""
        if self._held is not None:
            self._held.append((group, event))
        elif group == self._followed and event.position:
            self._deliver_numbered(event, event.position)
        elif not event.is_resync:
            self._send(event.unnumbered)

    def _deliver_numbered(self, event: Event, position: Position) -> None:
        # Earlier broadcasts came with the replay, or are part of the state that the client loads.
        last = self._position
        if (position[0] == last[0] and position[1] > last[1]) or (event.is_resync and position != last):
            self._position = position
            self._send(event)

    def _send(self, event: Event) -> None:
        is_unfiltered = event.is_resync or (event.is_broadcast and not self._filters)
        if is_unfiltered and (self._events is None or self._events.is_idle):
            self._outbox.write(event.message)
            return
        if self._events is None:
            self._events = TaskQueue(self._handle, MAX_EVENTS)
        if not self._events.put(event):
            self._connection.on_overflow()

    async def _handle(self, event: Event) -> None:
        consumer = self._connection.consumer
        if event.is_resync:
            await consumer.send_text(event.text)
            return
        try:
            handler = getattr(consumer, event.kind, None)
            if handler is None:
                raise ValueError(f"{type(consumer).__name__} has no method {event.kind} for an event of that type")
            await handler(event.content)
        except Exception:
            logger.exception("%s failed to handle the event %r", type(consumer).__name__, event.kind)

    async def leave_all(self) -> None:
        """Leave every group: nothing more is delivered."""
        self._held = None
        for group in list(self._groups):
            try:
                await self.leave(group)
            except Exception:
                logger.exception("%s failed to leave %s", type(self._connection.consumer).__name__, group)

    async def close(self) -> None:
        """Leave every group, and end the handling of events."""
        if self._events:
            await self._events.close()
        await self.leave_all()
