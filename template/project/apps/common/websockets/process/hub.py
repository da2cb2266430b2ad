"""One subscription for each group and event loop, however many connections are members.

With stock Channels every member has a channel of its own: a broadcast is copied, queued and encoded once for each. Here
a broadcast reaches the process once, is encoded once, and is given to every member in order. A missing one is noticed
by its number and read from the stream once for all members; if it is gone, every client gets a resync.
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from typing import Any, Protocol

from channels.layers import get_channel_layer

from apps.common.websockets.event_loop import of_all_loops, of_running_loop
from apps.common.websockets.process.events import Event, NumberedEvent, Resync
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.task_queue import TaskQueue
from apps.common.websockets.protocol import UNKNOWN_POSITION, Position, frame
from apps.common.websockets.service import Service
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import Broadcast, StreamsUnavailable

logger = logging.getLogger(__name__)

MEMBERS_AT_ONCE = 512  # before other tasks run
JOIN_SECONDS = 5.0
RETRY_SECONDS = 0.25
MAX_WAITING = 10_000  # broadcasts of one group that the process has not delivered yet
MAX_WAITING_BYTES = 16 * 1024 * 1024  # of them


class Member(Protocol):
    """A member of a group."""

    def deliver(self, group: str, event: Event) -> None:
        """Take an event, without waiting."""


class ReadyMember(Member, Protocol):
    """A member to whose transport the hub writes."""

    def stop_being_ready(self) -> None:
        """Call make_unready(): an event follows that is not the same for all members."""

    def fail(self) -> None:
        """A write to it failed."""


Write = Callable[[bytes], None]  # a frame, to a member's transport


class Hub:
    """The groups in which this event loop has members."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    async def join(self, name: str, member: Member) -> Position:
        """Make the member receive the group's events. Returns the position in its stream after which it does.

        Raises StreamsUnavailable.
        """
        while True:
            group = self._groups.setdefault(name, _Group(name))
            async with group.lock:
                if group.failure:
                    raise StreamsUnavailable(group.failure)  # waiters share one attempt
                if self._groups.get(name) is not group:
                    continue  # it was closed while this waited for the lock
                if not group.is_open:
                    await self._open(group)
                if member not in group.ready:
                    group.members[member] = None
                return group.position

    def make_ready(self, name: str, member: ReadyMember, position: Position, write: Write) -> bool:
        """Write the group's broadcasts to the member from here on, instead of giving it events, if it is at the group's
        position: all that another one gets. Returns whether it is so."""
        group = self._groups.get(name)
        if group is None or member not in group.members or group.position != position:
            return False
        del group.members[member]
        group.ready[member] = write
        group.writes = []
        return True

    def make_unready(self, name: str, member: ReadyMember) -> Position:
        """Undo make_ready(). Returns the position up to which the member has been written to."""
        group = self._groups.get(name)
        if group is None:  # the event loop is about to end
            return UNKNOWN_POSITION
        if (write := group.ready[member]) in group.unwritten:
            del group.unwritten[write]
            group.write_to([write], group.frame)  # before anything else that it is sent
        del group.ready[member]
        group.writes = []
        group.members[member] = None
        return group.position

    async def leave(self, name: str, member: Member) -> None:
        """Leave a group; without effect on a member that did not join."""
        group = self._groups.get(name)
        if group is None:
            return
        group.members.pop(member, None)  # at once: nothing more is delivered
        async with group.lock:
            if not len(group) and self._groups.get(name) is group:
                await self._close(group)

    def members(self, name: str) -> int:
        """How many connections of this event loop are in the group."""
        group = self._groups.get(name)
        return len(group) if group else 0

    def groups(self) -> list[str]:
        """The names of the groups."""
        return list(self._groups)

    async def close(self) -> None:
        """Close every group: the event loop is about to end."""
        for name in list(self._groups):
            await self._groups.pop(name).close()

    async def _open(self, group: "_Group") -> None:
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                # Serves all members, and so inherits nothing from the one that came first.
                await asyncio.get_running_loop().create_task(group.open(), context=Context())
        except _unavailable() as error:
            group.failure = str(error) or type(error).__name__
            raise StreamsUnavailable(group.failure) from error
        finally:
            if not group.is_open:  # also when the client disconnected meanwhile
                await self._close(group)

    async def _close(self, group: "_Group") -> None:
        try:
            await group.close()
        finally:
            self._groups.pop(group.name, None)  # only now: a join meanwhile waits for the lock, and makes another


class _Group:
    """One group in this event loop: its members, and the position up to which they are served.

    Broadcasts are written to the members that are ready: a loop of writes, without a question to each of them. What
    makes a member unlike the others is an event: its transport pauses, it closes, an event of another kind comes.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = asyncio.Lock()
        self.members: dict[Member, None] = {}  # that are given events
        self.ready: dict[ReadyMember, Write] = {}  # that are written to
        self.writes: list[Write] = []  # theirs, once it is made: a loop over it touches no member's memory
        self.frame = b""  # that is being written, with a pause for other tasks
        self.unwritten: dict[Write, None] = {}  # by which it is not written yet
        self.position = UNKNOWN_POSITION
        self.is_open = False
        self.failure = ""  # why it could not be opened
        self._work: TaskQueue[Event | Broadcast | None] = TaskQueue(
            self._take, MAX_WAITING, MAX_WAITING_BYTES, Context(), self._take_now
        )
        self._pump = Service("The receiving of a group's events", self._receive)
        self._layer: Any = None
        self._channel = ""
        self._has_gap = False
        self._opened = asyncio.Event()

    def __len__(self) -> int:
        return len(self.members) + len(self.ready)

    async def open(self) -> None:
        self._layer = get_channel_layer()
        self._channel = await self._layer.new_channel("hub")
        self._pump.start()
        await self._layer.group_add(self.name, self._channel)
        await get_streams().subscribe(self.name, self._put, lambda: self.position)
        # After the subscription: a broadcast published in between is received, and known by its number.
        self.position = await get_streams().atop(self.name)
        self.is_open = True
        self._opened.set()

    async def close(self) -> None:
        self.is_open = False
        await self._work.close()
        await get_streams().unsubscribe(self.name)
        if pump := self._pump.stop():
            await asyncio.wait([pump])
        if self._channel:
            await self._leave_channel_layer()

    async def _leave_channel_layer(self) -> None:
        try:
            await self._layer.group_discard(self.name, self._channel)
        except _unavailable():
            logger.debug("The channel layer is unavailable", exc_info=True)

    async def _receive(self) -> None:
        while True:
            try:
                content = await self._layer.receive(self._channel)
            except Exception:
                logger.exception("An event of %s could not be received", self.name)
                await asyncio.sleep(1)  # back off before retrying
                continue
            try:
                self._put(Event(content))
            except TypeError as error:
                logger.error("Refused an event of %s: %s", self.name, error)

    def _put(self, item: Event | Broadcast | None) -> None:
        if not self._work.put(item, len(item.body) if isinstance(item, Broadcast) else 0):
            logger.error("%s: more than %s broadcasts wait", self.name, MAX_WAITING)
            self._has_gap = True

    def _take_now(self, item: Event | Broadcast | None) -> bool:
        """Deliver the next broadcast to a group of few, at once; False for everything else."""
        if not isinstance(item, Broadcast) or not self._is_next(item) or self._has_gap or not self.is_open:
            return False
        if len(self) > MEMBERS_AT_ONCE:
            return False
        event = NumberedEvent(item)
        self.position = event.position
        count("sent", len(self))
        members = list(self.members)
        if self.ready:
            self.write_to(self._all_writes(), frame(event.text))
        self._give(members, event)
        return True

    async def _take(self, item: Event | Broadcast | None) -> None:
        await self._opened.wait()  # before that, the position is unknown
        if self._has_gap:
            await self._recover()
        if isinstance(item, Event):
            await self._deliver_to_members(item)
        elif item is None or item.epoch != self.position.epoch or item.seq > self.position.seq + 1:
            await self._recover()
        elif self._is_next(item):
            await self._advance(item)

    def _is_next(self, broadcast: Broadcast) -> bool:
        return broadcast.seq == self.position.seq + 1 and broadcast.epoch == self.position.epoch

    async def _advance(self, broadcast: Broadcast) -> None:
        event = NumberedEvent(broadcast)
        self.position = event.position
        await self._deliver_to_members(event)

    async def _deliver_to_members(self, event: Event) -> None:
        if not event.is_resync:
            count("sent", len(self))
        if not event.is_broadcast:
            self._stop_writing()
        members = list(self.members)
        if self.ready:
            await self._write(event.frame)
        for start in range(0, len(members), MEMBERS_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            self._give(members[start : start + MEMBERS_AT_ONCE], event)

    def _give(self, members: list[Member], event: Event) -> None:
        for member in members:
            try:
                if member in self.members or member in self.ready:  # still
                    member.deliver(self.name, event)
            except Exception:
                # One failing member must not affect the others.
                logger.exception("A member of %s failed to take an event", self.name)

    def _stop_writing(self) -> None:
        for member in list(self.ready):
            member.stop_being_ready()

    async def _write(self, data: bytes) -> None:
        writes = self._all_writes()
        self.frame, self.unwritten = data, dict.fromkeys(writes[MEMBERS_AT_ONCE:])
        self.write_to(writes[:MEMBERS_AT_ONCE], data)
        while self.unwritten:
            await asyncio.sleep(0)
            batch = list(islice(self.unwritten, MEMBERS_AT_ONCE))
            for write in batch:
                del self.unwritten[write]
            self.write_to(batch, data)
        self.frame = b""

    def _all_writes(self) -> list[Write]:
        if not self.writes:
            self.writes = list(self.ready.values())
        return self.writes

    def write_to(self, writes: list[Write], data: bytes) -> None:
        for write in writes:
            try:
                write(data)
            except Exception:
                logger.exception("A member of %s could not be written to", self.name)
                for member in [each for each, its in self.ready.items() if its is write]:
                    member.fail()

    async def _recover(self) -> None:
        self._has_gap = False
        while True:
            try:
                missed = await get_streams().since(self.name, self.position)
                top = None if missed is not None else await get_streams().atop(self.name)
                break
            except StreamsUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        if top:
            count("resyncs")
            self._stop_writing()  # the members note the position up to which they were written to
            self.position = top
            await self._deliver_to_members(Resync(top))
        elif missed:
            count("gaps_recovered")
        for broadcast in missed or ():
            await self._advance(broadcast)


def _unavailable() -> tuple[type[Exception], ...]:
    """The errors of a stream store, and of a channel layer, which may be in Redis. Without one, nothing imports redis,
    which takes longer than this project's own modules."""
    redis = sys.modules.get("redis.exceptions")
    return (OSError, StreamsUnavailable, *((redis.RedisError,) if redis else ()))


def get_hub() -> Hub:
    """The hub of the running event loop."""
    return of_running_loop(Hub)


def all_members() -> dict[str, int]:
    """How many connections of this process are in each group."""
    return {name: hub.members(name) for _, hub in of_all_loops(Hub) for name in hub.groups()}
