"""One subscription for each group and process, however many connections are members.

With stock Channels every member has a channel of its own: a broadcast is copied, queued and encoded once for each. Here
a group's broadcast reaches the process once, is encoded once, and is handed to every member in order.
"""

import asyncio
import logging
from functools import cached_property
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer

from apps.common.websockets import protocol

logger = logging.getLogger(__name__)


class Event:
    """An event of the channel layer, shared by all members of the group: nobody may change it."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.kind: str = content["type"].replace(".", "_")  # the method that handles it, as Channels has it

    @cached_property
    def text(self) -> str:
        """The frame of a broadcast, encoded once for all."""
        return protocol.encode(self.content["data"])


class Member(Protocol):
    """What can join a group."""

    def deliver(self, event: Event) -> None:
        """Take an event, without waiting."""


class Hub:
    """The groups that this process (more exactly: this event loop) takes part in."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, _Subscription] = {}

    async def join(self, group: str, member: Member) -> None:
        """Make the member receive the group's events. Returns when the subscription is live."""
        while True:
            subscription = self._subscriptions.setdefault(group, _Subscription(group))
            async with subscription.lock:
                if self._subscriptions.get(group) is not subscription:
                    continue  # it was given up while this waited for the lock
                if not subscription.members:
                    await subscription.open()
                subscription.members[member] = None
                return

    async def leave(self, group: str, member: Member) -> None:
        """Undo a join; harmless without one."""
        subscription = self._subscriptions.get(group)
        if subscription is None:
            return
        subscription.members.pop(member, None)  # at once: nothing more is delivered
        async with subscription.lock:
            if not subscription.members and self._subscriptions.get(group) is subscription:
                del self._subscriptions[group]
                await subscription.close()

    def members(self, group: str) -> int:
        """How many connections of this process are in the group."""
        subscription = self._subscriptions.get(group)
        return len(subscription.members) if subscription else 0

    async def close(self) -> None:
        """Give up every subscription: the process is about to end."""
        for group in list(self._subscriptions):
            await self._subscriptions.pop(group).close()


class _Subscription:
    """This process's place in one group: a channel, the task that reads it, and the members in order of joining."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.lock = asyncio.Lock()
        self.members: dict[Member, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._channel = ""

    async def open(self) -> None:
        layer = get_channel_layer()
        self._channel = await layer.new_channel("hub")
        await layer.group_add(self.group, self._channel)
        self._task = asyncio.create_task(self._pump(layer), name=f"hub: {self.group}")

    async def close(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        await get_channel_layer().group_discard(self.group, self._channel)

    async def _pump(self, layer: Any) -> None:
        while True:
            event = Event(await layer.receive(self._channel))
            for member in list(self.members):
                try:
                    member.deliver(event)
                except Exception:
                    # One member's fault must not cost the others their broadcast.
                    logger.exception("A member of %s failed to take an event", self.group)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """The hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
