"""The groups that a connection follows, and the way of their events to the client."""

import logging
from collections import deque
from functools import lru_cache

from apps.common.websockets.connection.interfaces import Link
from apps.common.websockets.messages import MessageError
from apps.common.websockets.process.events import Event, NumberedEvent, Resync, StateRequest
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.task_queue import TaskQueue
from apps.common.websockets.protocol import UNKNOWN_POSITION, Position, parse_position
from apps.common.websockets.service import fork, guard
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import MAX_MESSAGES, MAX_REPLAY_BYTES

logger = logging.getLogger(__name__)

MAX_EVENTS = 2 * MAX_MESSAGES  # that wait for one consumer's event handlers: a whole replay, and those of meanwhile
MAX_EVENT_BYTES = 2 * MAX_REPLAY_BYTES  # of them
NOTHING: deque[tuple[str, Event]] = deque(maxlen=0)  # holds nothing, whatever is appended


class Subscriptions:
    """The groups of a connection. It receives each broadcast of the followed stream once, in order."""

    __slots__ = (
        "_connection",
        "_events",
        "_filters",
        "_followed",
        "_groups",
        "_held",
        "_is_open",
        "_is_ready",
        "_outbox",
        "_position",
        "is_over",
    )

    def __init__(self, connection: Link) -> None:
        self._connection = connection
        self._outbox = connection.outbox
        self._filters = connection.consumer.filters_broadcasts
        self._groups: dict[str, None] = {}  # in order; an empty set would take three times the memory
        self._followed = ""  # the group whose stream is followed
        self._position = UNKNOWN_POSITION  # of the last numbered broadcast that the client was sent; the hub has it
        self._is_ready = False  # while the hub writes the followed group's broadcasts to the client itself
        # Live events until the replay is sent; None then, so that a delivery is quick.
        self._held: list[tuple[str, Event]] | deque[tuple[str, Event]] | None = None
        self._is_open = False  # the connection is accepted
        self.is_over = False  # nothing is joined or delivered any more
        self._events: TaskQueue[Event] | None = None  # made for the connections whose events have a handler

    def __contains__(self, group: str) -> bool:
        return group in self._groups

    @property
    def waiting_bytes(self) -> int:
        """The size of the events that wait for the consumer's event handlers."""
        return self._events.waiting_bytes if self._events else 0

    async def open(self) -> None:
        """The connection is accepted: join the groups so far, and hold their events back until release()."""
        self._is_open = True
        self._held = NOTHING if self.is_over else []
        for group in list(self._groups):
            await self._join(group)

    async def join(self, group: str) -> None:
        """Receive a group's events, without its stream's numbers: from open() on, until the connection closes."""
        await self._join(group)

    async def _join(self, group: str) -> Position:
        if self.is_over:
            return UNKNOWN_POSITION
        limit = self._connection.consumer.max_groups
        if group not in self._groups and len(self._groups) >= limit:
            raise MessageError("too_many_groups", f"a connection may be in {limit} groups")
        self._groups[group] = None
        if not self._is_open:
            return UNKNOWN_POSITION
        position = await get_hub().join(group, self)
        if self.is_over:  # the client left meanwhile
            await get_hub().leave(group, self)
        return position

    async def leave(self, group: str) -> None:
        """Undo join()."""
        if group == self._followed:
            self.stop_being_ready()
        self._groups.pop(group, None)
        await get_hub().leave(group, self)

    async def follow(self, group: str, query: bytes) -> tuple[Position, bool | None]:
        """Join a group whose broadcasts are sent after release(): after the welcome, and after the missed ones.

        query: with the client's position, if it has one. Returns the position after the missed broadcasts, and whether
        they are complete; None for a client without a position.
        """
        position = self._position = await self._join(group)
        consumer = self._connection.consumer
        if consumer.replay or consumer.has_state:
            self._followed = group
        client = parse_position(query) if consumer.replay else None
        return await self._resume(group, client) if client else (position, None)

    async def _resume(self, group: str, client: Position) -> tuple[Position, bool]:
        # A client that has all that the members have, as most after a restart, costs no call.
        missed = [] if client == self._position else await get_streams().since(group, client)
        if missed is None:
            count("replays_refused")
            self._position = await get_streams().atop(group)  # the client reloads its state after this
            return self._position, False
        count("replayed", len(missed))
        self._position = client
        replay = [(group, NumberedEvent(broadcast)) for broadcast in missed]
        self._held = NOTHING if self.is_over else [*replay, *(self._held or ())]
        return Position(client.epoch, client.seq + len(missed)), True

    def release(self) -> None:
        """Send what was held back, and further events at once."""
        if self.is_over:
            return
        held, self._held = self._held, None
        for group, event in held or ():
            self.deliver(group, event)
        self._get_ready()

    def _get_ready(self) -> None:
        """Have the hub write broadcasts straight to the client, from here on until something makes it unlike others."""
        if self._is_ready or self._filters or not self._followed or not self._outbox.takes_frames:
            return
        if self._held is not None or not (self._events is None or self._events.is_idle):
            return
        frames = self._outbox.frames
        if frames and get_hub().make_ready(self._followed, self, self._position, frames.transport.write):
            self._is_ready = True
            frames.on_stop = self.stop_being_ready

    def stop_being_ready(self) -> None:
        """Take events from here on. Called by the hub, by the server, and wherever the client becomes unlike others."""
        if self._is_ready:
            self._is_ready = False
            self._position = get_hub().make_unready(self._followed, self)

    def fail(self) -> None:
        """The server failed to write to the client. Called by the hub."""
        self._outbox.fail()

    def send_state(self) -> None:
        """Have the connection send its state, after the events so far."""
        self.deliver("", StateRequest())

    def deliver(self, group: str, event: Event) -> None:
        """Take an event of a group, without waiting. Called by the hub."""
        self.stop_being_ready()
        if self._held is not None:
            self._held.append((group, event))
            if len(self._held) > MAX_EVENTS:
                self._connection.on_overflow()
        elif group == self._followed and event.position:
            self._deliver_numbered(event, event.position)
            self._get_ready()
        elif not event.is_resync:
            self._send(event.unnumbered)
            self._get_ready()

    def _deliver_numbered(self, event: Event, position: Position) -> None:
        # Earlier broadcasts came with the replay, or are part of the state that the client loads.
        last = self._position
        if (position[0] == last[0] and position[1] > last[1]) or (event.is_resync and position != last):
            self._position = position
            self._send(event)

    def _send(self, event: Event) -> None:
        if event.kind == Resync.kind and self._connection.consumer.has_state:
            self._enqueue(Resync(self._position))  # further events wait until the state is sent
            return
        is_unfiltered = event.is_resync or (event.is_broadcast and not self._filters)
        if is_unfiltered and (self._events is None or self._events.is_idle):
            self._outbox.write_event(event)
            return
        if event.kind not in self._connection.consumer.event_methods and not event.is_resync:
            _refuse(type(self._connection.consumer).__name__, event.kind)
            return
        self._enqueue(event)

    def _enqueue(self, event: Event) -> None:
        if self._events is None:
            context = fork(self._connection.context)  # a handler may run meanwhile
            self._events = TaskQueue(self._handle, MAX_EVENTS, MAX_EVENT_BYTES, context)
        if not self._events.put(event, len(event.text) if event.is_broadcast else 0):
            self._connection.on_overflow()

    async def _handle(self, event: Event) -> None:
        consumer = self._connection.consumer
        if event.is_resync and event.position and consumer.has_state:
            await self._connection.send_state(event.position)
            return
        if event.is_resync or (event.is_broadcast and not self._filters):
            await consumer.send_text(event.text)
            return
        with guard(f"{type(consumer).__name__}.{event.kind}()"):
            await getattr(consumer, event.kind)(event.content)

    def stop(self) -> None:
        """Deliver nothing more. The groups are left by leave_all()."""
        self.stop_being_ready()
        self.is_over = True
        self._held = NOTHING

    async def leave_all(self) -> None:
        """Leave every group."""
        self.stop()
        for group in list(self._groups):
            with guard(f"Leaving {group}"):
                await self.leave(group)

    async def close(self, grace_seconds: float) -> None:
        """Leave every group, and end the handling of events: the one in progress may take these seconds."""
        await self.leave_all()
        if self._events:
            await self._events.close(grace_seconds)


@lru_cache(maxsize=256)  # says it once for each
def _refuse(consumer: str, kind: str) -> None:
    logger.error("Refused an event: %s declares no public `async def name(self, event)` named %.64r", consumer, kind)
