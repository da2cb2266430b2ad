"""Finds broadcasts that did not come, though the subscription seems well.

A subscriber that reads too slowly is cut off, which it notices, and looks. But a connection may be half open, of which
nothing tells for minutes; it may lead to a server that others have left for another; and a proxy may have subscribed
anew without a word. The next broadcast shows the gap, if it comes; the last one has none.
"""

import asyncio
import logging
import random
from collections.abc import Callable

import redis.asyncio
from redis.exceptions import RedisError

from apps.common.websockets import redis_scripts
from apps.common.websockets.streams import Position

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
GROUPS_AT_ONCE = 500  # in one round trip, before others get their turn


class Sweep:
    """Of one event loop: compares now and then the streams' tops with what the listeners were told."""

    def __init__(self, client: redis.asyncio.Redis, lost: Callable[[], None]) -> None:
        self._client = client
        self._lost = lost
        self._told: dict[str, Callable[[], Position]] = {}
        self._tops: dict[str, Position] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, group: str, told: Callable[[], Position]) -> None:
        """Look after a group; `told` gives the position up to which it was told."""
        self._told[group] = told
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="websocket streams: sweep")

    def remove(self, group: str) -> None:
        """Undo add(); harmless without it."""
        self._told.pop(group, None)
        if not self._told and self._task:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        """Look after nothing more."""
        for group in list(self._told):
            self.remove(group)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spreads the processes
            try:
                await self._look()
            except RedisError as error:
                logger.debug("The streams' tops are unknown: %s", error)

    async def _look(self) -> None:
        before, self._tops = self._tops, await self._read_tops()
        missing = [
            group for group, told in self._told.items() if is_missing(told(), before.get(group), self._tops.get(group))
        ]
        if missing:
            logger.warning("Broadcasts did not come to %s of %s groups", len(missing), len(self._told))
            self._tops = {}  # what is fetched now is not missing at the next look
            self._lost()

    async def _read_tops(self) -> dict[str, Position]:
        groups, tops = list(self._told), {}
        for start in range(0, len(groups), GROUPS_AT_ONCE):
            some = groups[start : start + GROUPS_AT_ONCE]
            pipeline = self._client.pipeline(transaction=False)
            for group in some:
                pipeline.hmget(redis_scripts.state(group), "epoch", "seq")
            for group, (epoch, seq) in zip(some, await pipeline.execute(), strict=True):
                if epoch:
                    tops[group] = Position(epoch, int(seq))
        return tops


def is_missing(told: Position, before: Position | None, now: Position | None) -> bool:
    """Whether a listener lacks what was there at the look before already, so that it is not just under way."""
    if before is None or now is None or before.epoch != now.epoch:
        return False
    return told.epoch != now.epoch or told.seq < before.seq
