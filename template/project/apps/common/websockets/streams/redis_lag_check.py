"""Finds broadcasts that were not received though the subscription seems healthy.

A subscriber that is too slow is disconnected, which it notices. But a connection may lead to a server that has been
replaced or demoted, and a proxy may have subscribed again silently. The next broadcast reveals the gap, if there is
one; after the last broadcast there is none. Nor is there one after a broadcast that was refused, in a process that has
ended since: after an outage in which that may have happened, every group reloads.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from apps.common.websockets.protocol import Position
from apps.common.websockets.service import Service
from apps.common.websockets.streams import base
from apps.common.websockets.streams.redis_failures import EXIT_SECONDS
from apps.common.websockets.streams.redis_scripts import Names

logger = logging.getLogger(__name__)

# A loss is found after at most 1.2 times the first and twice the second, so within 10 s with the reconnection.
CHECK_SECONDS = 3.0
ARRIVAL_SECONDS = 2.0  # in which what the server has published reaches the subscriber
MARKED_GROUPS = "live."  # with which the names of groups begin that have marks
GROUPS_AT_ONCE = 500  # in one round trip, before other tasks run


class LagCheck:
    """Compares the streams' tops with the subscribers' positions, periodically. One for each event loop.

    replace: closes idle connections, and after an error that says so also the subscriptions'.
    on_loss: called when a broadcast is missing.
    renew: makes the clients of a group reload, if its epoch is the given one.
    end_marks: makes them reload if a writer has left a mark (Streams.mark) for too long.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        names: Names,
        replace: Callable[[Exception | None], Awaitable[None]],
        on_loss: Callable[[], None],
        renew: Callable[[str, str], Awaitable[Any]],
        end_marks: Callable[[str], Awaitable[Any]],
    ) -> None:
        self._client = client
        self._names = names
        self._replace = replace
        self._on_loss = on_loss
        self._renew = renew
        self._end_marks = end_marks
        self._positions: dict[str, Callable[[], Position]] = {}
        self._answered_at = 0.0  # when the server last answered
        self._epochs: dict[str, str] = {}  # when an outage was noticed; empty if there is none
        self._probe = token_hex(4)  # in a command that this loop sends to itself
        self._probe_arrived = False
        self._has_control = False  # whether commands are subscribed to
        self._service = Service("The search for lost broadcasts", self._run)

    def start(self) -> None:
        """Begin, unless it has begun."""
        self._service.start()

    def stop(self) -> None:
        """End all checks."""
        self._positions.clear()
        self._has_control = False
        self._service.stop()

    def add(self, group: str, position: Callable[[], Position]) -> None:
        """Check a group; `position` returns its subscriber's position."""
        self._positions[group] = position

    def remove(self, group: str) -> None:
        """Stop checking a group; without effect on one that is not checked."""
        self._positions.pop(group, None)

    def add_control(self) -> None:
        """Check also whether commands are received."""
        self._has_control = True

    def on_probe(self, probe: str) -> None:
        """Called with each command's "probe", which may be another loop's."""
        self._probe_arrived |= probe == self._probe

    async def _run(self) -> None:
        self._answered_at = time.monotonic()
        while True:
            await asyncio.sleep(CHECK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the processes
            try:
                await self._replace(None)  # a new connection leads to where the server's name leads now
                await self._check()
            except (RedisError, OSError, base.StreamsUnavailable) as error:
                logger.debug("The streams' tops are unknown: %s", error)
                self._epochs = self._epochs or {group: position().epoch for group, position in self._positions.items()}
                await self._replace(error)
            except Exception:
                logger.exception("The lag check failed")

    async def _check(self) -> None:
        tops = await self._read_tops()
        seen = {group: self._positions[group]() for group in tops if group in self._positions}
        self._probe_arrived = not self._has_control
        await self._client.publish(self._names.control, json.dumps({"probe": self._probe}))
        await self._end_outage()
        for group in [name for name in self._positions if name.startswith(MARKED_GROUPS)]:
            await self._end_marks(group)
        await asyncio.sleep(ARRIVAL_SECONDS)
        now = {group: self._positions[group]() for group in seen if group in self._positions}
        missing = [group for group, position in now.items() if is_behind(seen[group], position, tops[group])]
        if missing:
            logger.warning("Broadcasts were not received for %s of %s groups", len(missing), len(self._positions))
        if not self._probe_arrived:
            logger.warning("Commands were not received")
        if missing or not self._probe_arrived:
            self._on_loss()

    async def _end_outage(self) -> None:
        if self._epochs and time.monotonic() - self._answered_at > EXIT_SECONDS:
            logger.warning("Broadcasts may have failed in an outage of the stream store: clients reload")
            for group, epoch in self._epochs.items():
                await self._renew(group, epoch)
        self._epochs, self._answered_at = {}, time.monotonic()

    async def _read_tops(self) -> dict[str, Position]:
        groups, tops = list(self._positions.items()), {}
        for start in range(0, len(groups) or 1, GROUPS_AT_ONCE):
            some = groups[start : start + GROUPS_AT_ONCE]
            pipeline = self._client.pipeline(transaction=False)
            for group, _ in some:
                pipeline.hmget(self._names.state(group), ["epoch", "seq"])
            # Streams that were only asked for are kept while they have subscribers. A replica refuses a write.
            kept = [self._names.state(group) for group, position in some if not position().seq]
            for key in [self._names.asked, *kept]:
                pipeline.expire(key, base.ASKED_SECONDS)
            for (group, _), (epoch, seq) in zip(some, await pipeline.execute(), strict=False):
                if epoch:
                    tops[group] = Position(epoch, int(seq))
        return tops


def is_behind(before: Position, now: Position, top: Position) -> bool:
    """Whether a subscriber lacks what the server had some time ago. In another epoch than before, it is ahead."""
    if now.epoch == top.epoch:
        return now.seq < top.seq
    return now.epoch == before.epoch
