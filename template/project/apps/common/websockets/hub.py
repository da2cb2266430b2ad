"""One subscription for each group and process, however many connections are members.

With stock Channels every member has a channel of its own: a broadcast is copied, queued and encoded once for each. Here
a group's broadcast reaches the process once, is encoded once, and is handed to every member in order. What did not
arrive is noticed by its number, fetched from the stream once for all members, and otherwise every page is told.
"""

import asyncio
import logging
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer
from pydantic_core import from_json
from redis.exceptions import RedisError

from apps.common.websockets import protocol
from apps.common.websockets.metrics import count
from apps.common.websockets.serial import Serial
from apps.common.websockets.streams import NOWHERE, Broadcast, Position, StreamsUnavailable, get_streams

logger = logging.getLogger(__name__)

MEMBERS_AT_ONCE = 512  # before other connections get their turn
JOIN_SECONDS = 5.0
RETRY_SECONDS = 0.25
MAX_WAITING = 10_000  # broadcasts of one group that the process has not handed on yet


class Event:
    """What a group is told, shared by all members: nobody may change it."""

    kind: str  # the method of the consumer that handles it
    is_broadcast: bool  # whether it is one that a consumer sends on as it is, unless it filters
    position: Position | None = None  # a broadcast's place in the group's stream; what the channel layer sends has none

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.kind = content["type"].replace(".", "_")  # as Channels has it
        self.is_broadcast = self.kind == "broadcast_message"

    @cached_property
    def text(self) -> str:
        """The frame of a broadcast, encoded once for all."""
        return protocol.encode(self.content["data"])

    @cached_property
    def message(self) -> dict[str, Any]:
        """The frame as ASGI sends it."""
        return {"type": "websocket.send", "text": self.text}

    @property
    def unnumbered(self) -> "Event":
        """The same for a page that does not follow the group's stream."""
        return self


class NumberedEvent(Event):
    """A broadcast of a stream."""

    kind = "broadcast_message"
    is_broadcast = True

    def __init__(self, broadcast: Broadcast) -> None:
        self.position = Position(broadcast.epoch, broadcast.seq)
        self.text = broadcast.text
        self._body = broadcast.body

    def __getattr__(self, name: str) -> Any:
        # Made when a consumer looks into it, which most do not.
        if name != "content":
            raise AttributeError(name)
        self.content = {"type": self.kind, "data": from_json(self.text)}
        return self.content

    @cached_property
    def unnumbered(self) -> Event:
        return Event({"type": self.kind, "data": from_json(self._body)})


class Resync(Event):
    """Tells a page that broadcasts are lost, and where the stream goes on."""

    kind = "resync"
    is_broadcast = False

    def __init__(self, position: Position) -> None:
        self.position = position
        self.text = protocol.encode(protocol.resync(*position))


class Member(Protocol):
    """What can join a group."""

    def deliver(self, group: str, event: Event) -> None:
        """Take an event, without waiting."""


class Hub:
    """The groups that this process (more exactly: this event loop) takes part in."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    async def join(self, name: str, member: Member) -> Position:
        """Make the member receive the group's events. Returns the position in its stream from which on it does.

        Raises StreamsUnavailable.
        """
        while True:
            group = self._groups.setdefault(name, _Group(name))
            async with group.lock:
                if group.failure:
                    raise StreamsUnavailable(group.failure)  # nobody waits for more than one attempt
                if self._groups.get(name) is not group:
                    continue  # it was given up while this waited for the lock
                if not group.is_open:
                    await self._open(group)
                group.members[member] = None
                return group.position

    async def leave(self, name: str, member: Member) -> None:
        """Undo a join; harmless without one."""
        group = self._groups.get(name)
        if group is None:
            return
        group.members.pop(member, None)  # at once: nothing more is delivered
        async with group.lock:
            if not group.members and self._groups.get(name) is group:
                await self._give_up(group)

    def members(self, name: str) -> int:
        """How many connections of this process are in the group."""
        group = self._groups.get(name)
        return len(group.members) if group else 0

    def groups(self) -> list[str]:
        """The names of the groups."""
        return list(self._groups)

    async def close(self) -> None:
        """Give up everything: the process is about to end."""
        for name in list(self._groups):
            await self._groups.pop(name).close()
        await get_streams().close()

    async def _open(self, group: "_Group") -> None:
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                await group.open()
        except (RedisError, OSError, TimeoutError, StreamsUnavailable) as error:
            group.failure = str(error) or type(error).__name__
            raise StreamsUnavailable(group.failure) from error
        finally:
            if not group.is_open:  # also when the page went away meanwhile
                await self._give_up(group)

    async def _give_up(self, group: "_Group") -> None:
        try:
            await group.close()
        finally:
            self._groups.pop(group.name, None)  # only now: who joins meanwhile waits for the lock, and makes another


class _Group:
    """This process's part in one group: the members in order of joining, and up to where they have been told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = asyncio.Lock()
        self.members: dict[Member, None] = {}
        self.position = NOWHERE
        self.is_open = False
        self.failure = ""  # why it could not be opened
        self._work: Serial[Event | Broadcast | None] = Serial(self._take, MAX_WAITING)
        self._pump: asyncio.Task[None] | None = None
        self._channel = ""
        self._has_gap = False
        self._opened = asyncio.Event()

    async def open(self) -> None:
        layer = get_channel_layer()
        self._channel = await layer.new_channel("hub")
        self._pump = asyncio.create_task(self._receive(layer), name=f"hub: {self.name}")
        await layer.group_add(self.name, self._channel)
        await get_streams().listen(self.name, self._put, lambda: self.position)
        # After the subscription: what is published in between is heard, and known by its number.
        self.position = await get_streams().atop(self.name)
        self.is_open = True
        self._opened.set()

    async def close(self) -> None:
        self.is_open = False
        await self._work.close()
        await get_streams().unlisten(self.name)
        if self._pump:
            self._pump.cancel()
            await asyncio.wait([self._pump])
            await _quietly(get_channel_layer().group_discard(self.name, self._channel))

    async def _receive(self, layer: Any) -> None:
        while True:
            try:
                self._put(Event(await layer.receive(self._channel)))
            except Exception:
                logger.exception("An event of %s could not be read", self.name)
                await asyncio.sleep(1)  # whatever is wrong, it is not tried at full speed

    def _put(self, item: Event | Broadcast | None) -> None:
        if not self._work.put(item):
            logger.error("%s: more than %s broadcasts wait", self.name, MAX_WAITING)
            self._has_gap = True

    async def _take(self, item: Event | Broadcast | None) -> None:
        await self._opened.wait()  # only then is it known what is new
        if self._has_gap:
            await self._mend()
        if isinstance(item, Event):
            await self._tell(item)
        elif item is None or item.epoch != self.position.epoch or item.seq > self.position.seq + 1:
            await self._mend()
        elif item.seq == self.position.seq + 1:
            await self._advance(item)

    async def _advance(self, broadcast: Broadcast) -> None:
        self.position = Position(broadcast.epoch, broadcast.seq)
        await self._tell(NumberedEvent(broadcast))

    async def _tell(self, event: Event) -> None:
        members = list(self.members)
        count("sent", 0 if isinstance(event, Resync) else len(members))
        for start in range(0, len(members), MEMBERS_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            _deliver(event, members[start : start + MEMBERS_AT_ONCE], self.name)

    async def _mend(self) -> None:
        self._has_gap = False
        while True:
            try:
                missed = await get_streams().since(self.name, self.position)
                top = None if missed is not None else await get_streams().atop(self.name)
                break
            except StreamsUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        count("resyncs" if top else "gaps_mended", 1 if top or missed else 0)
        if top:
            self.position = top
            await self._tell(Resync(top))
        for broadcast in missed or ():
            await self._advance(broadcast)


def _deliver(event: Event, members: Iterable[Member], name: str) -> None:
    for member in members:
        try:
            member.deliver(name, event)
        except Exception:
            # One member's fault must not cost the others their broadcast.
            logger.exception("A member of %s failed to take an event", name)


async def _quietly(awaitable: Any) -> None:
    try:
        await awaitable
    except (RedisError, OSError):
        logger.debug("Nothing to leave", exc_info=True)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def all_members() -> dict[str, int]:
    """How many connections of this process are in each group."""
    return {name: hub.members(name) for hub in list(_hubs.values()) for name in hub.groups()}


def get_hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
