"""Finds broadcasts that were not received though the subscription seems healthy.

A subscriber that is too slow is disconnected, which it notices. But a connection may be half open for minutes; it may
lead to a server that has been replaced; and a proxy may have subscribed again silently. The next broadcast reveals the
gap, if there is one; after the last broadcast there is none.
"""

import asyncio
import logging
import random
from collections.abc import Callable

import redis.asyncio
from redis.exceptions import RedisError

from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import redis_scripts

logger = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
GROUPS_AT_ONCE = 500  # in one round trip, before other tasks run


class LagCheck:
    """Compares the streams' tops with the subscribers' positions, periodically. One for each event loop."""

    def __init__(self, client: redis.asyncio.Redis, on_loss: Callable[[], None]) -> None:
        self._client = client
        self._on_loss = on_loss
        self._positions: dict[str, Callable[[], Position]] = {}
        self._tops: dict[str, Position] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, group: str, position: Callable[[], Position]) -> None:
        """Check a group; `position` returns its subscriber's position."""
        self._positions[group] = position
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="websocket streams: lag check")

    def remove(self, group: str) -> None:
        """Stop checking a group; without effect on one that is not checked."""
        self._positions.pop(group, None)
        if not self._positions and self._task:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        """End all checks."""
        for group in list(self._positions):
            self.remove(group)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spreads the processes
            try:
                await self._check()
            except RedisError as error:
                logger.debug("The streams' tops are unknown: %s", error)

    async def _check(self) -> None:
        before, self._tops = self._tops, await self._read_tops()
        missing = [
            group
            for group, position in self._positions.items()
            if is_behind(position(), before.get(group), self._tops.get(group))
        ]
        if missing:
            logger.warning("Broadcasts were not received for %s of %s groups", len(missing), len(self._positions))
            self._tops = {}  # what is recovered now is not missing at the next check
            self._on_loss()

    async def _read_tops(self) -> dict[str, Position]:
        groups, tops = list(self._positions), {}
        for start in range(0, len(groups), GROUPS_AT_ONCE):
            some = groups[start : start + GROUPS_AT_ONCE]
            pipeline = self._client.pipeline(transaction=False)
            for group in some:
                pipeline.hmget(redis_scripts.state(group), "epoch", "seq")
            for group, (epoch, seq) in zip(some, await pipeline.execute(), strict=True):
                if epoch:
                    tops[group] = Position(epoch, int(seq))
        return tops


def is_behind(position: Position, before: Position | None, now: Position | None) -> bool:
    """Whether a subscriber lacks a broadcast that existed at the previous check, so that it is not just on its way."""
    if before is None or now is None or before.epoch != now.epoch:
        return False
    return position.epoch != now.epoch or position.seq < before.seq
