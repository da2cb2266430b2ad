"""Streams in Redis or Valkey, for more than one process.

Each broadcast is one round trip: a script on the server numbers it, keeps it, trims, and publishes it. The server runs
one script at a time, so publishers cannot overtake each other.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from apps.common.websockets import redis_scripts, streams
from apps.common.websockets.redis_listener import Listener
from apps.common.websockets.redis_scripts import ORDERS, SCRIPTS
from apps.common.websockets.redis_sweep import Sweep
from apps.common.websockets.streams import Broadcast, Hear, Order, Position, StreamsUnavailable

logger = logging.getLogger(__name__)

TIMEOUT = 1.0  # seconds: a server that hangs must not block the thread of who publishes
LOOP_TIMEOUT = 3.0  # in an event loop nobody is blocked, but a busy loop may be late to read an answer
# More than these wait for one another, as long as for an answer; without a limit a storm would open thousands.
MAX_CONNECTIONS = 100  # of all threads
MAX_LOOP_CONNECTIONS = 20  # of an event loop
OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_connect_timeout": TIMEOUT,
    # A publish that is tried again could be kept twice, and a subscription that comes back by itself hides a gap.
    "retry": Retry(NoBackoff(), 0),
}


class RedisStreams:
    """The streams of a project that runs in several processes."""

    def __init__(self, url: str) -> None:
        self._url = url
        options = {**OPTIONS, "socket_timeout": TIMEOUT, "timeout": TIMEOUT, "max_connections": MAX_CONNECTIONS}
        self._sync = redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(url, **options))
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()
        self._scripts = {name: self._sync.register_script(text) for name, text in SCRIPTS.items()}
        self._failures: dict[str, int] = {}  # of a group's broadcasts, since its epoch was last made anew

    def append(self, group: str, body: str) -> Position:
        """Number, keep and publish a frame. Raises StreamsUnavailable."""
        failures = self._failures.get(group, 0)
        try:
            reply = self._scripts["append"](*_append(group, failures, body))
        except RedisError as error:
            raise self._failure(group, error) from error
        return self._success(group, failures, reply)

    async def aappend(self, group: str, body: str) -> Position:
        """The same, for async code."""
        failures = self._failures.get(group, 0)
        try:
            reply = await self._loop().scripts["append"](*_append(group, failures, body))
        except RedisError as error:
            raise self._failure(group, error) from error
        return self._success(group, failures, reply)

    def top(self, group: str) -> Position:
        """The last number of the group's stream, which is made if there is none. Raises StreamsUnavailable."""
        try:
            return redis_scripts.position(self._scripts["top"](*redis_scripts.arguments(group, "")))
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error

    async def atop(self, group: str) -> Position:
        """The same, for async code."""
        try:
            return redis_scripts.position(await self._loop().scripts["top"](*redis_scripts.arguments(group, "")))
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        """The frames after a position; None if any of them is gone, or if it would be too much."""
        arguments = redis_scripts.arguments(group, "", position.epoch, position.seq)
        try:
            epoch, seq, entries = await self._loop().scripts["since"](*arguments)
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error
        if entries is None:
            return None
        first = seq - len(entries) + 1
        frames = [Broadcast(epoch, first + index, entry.split(" ", 1)[1]) for index, entry in enumerate(entries)]
        return frames if streams.fits_replay(frames) else None

    async def listen(self, group: str, hear: Hear, told: Callable[[], Position] | None = None) -> None:
        """Call `hear` with each broadcast from now on, in the running loop. One listener for each loop and group.

        told: gives the position up to which the listener was told, so that a broadcast that it lacks is found.
        """
        loop = self._loop()
        await loop.listen(redis_scripts.channel(group), lambda text: hear(redis_scripts.broadcast(text)))
        if told:
            loop.sweep.add(group, told)

    async def unlisten(self, group: str) -> None:
        """Undo listen()."""
        self._loop().sweep.remove(group)
        await self._loop().unlisten(redis_scripts.channel(group))

    def tell(self, order: Order) -> bool:
        """Tell every process, this one included; False if that failed, which is logged."""
        try:
            self._sync.publish(ORDERS, json.dumps(order))
        except RedisError:
            logger.exception("The other processes could not be told of %s", ", ".join(order))
            return False
        return True

    async def listen_to_orders(self, obey: Callable[[Order], Any]) -> None:
        """Call `obey` with what any process tells, in the running loop."""
        await self._loop().listen(ORDERS, lambda text: obey(json.loads(text)) if text else None)

    async def unlisten_to_orders(self) -> None:
        """Undo listen_to_orders()."""
        await self._loop().unlisten(ORDERS)

    async def close(self) -> None:
        """Close what the running loop has open."""
        loop = self._loops.pop(asyncio.get_running_loop(), None)
        if loop:
            await loop.close()

    def _loop(self) -> "_Loop":
        running = asyncio.get_running_loop()
        if running not in self._loops:
            self._loops[running] = _Loop(self._url)
        return self._loops[running]

    def _failure(self, group: str, error: RedisError) -> StreamsUnavailable:
        self._failures[group] = self._failures.get(group, 0) + 1
        return StreamsUnavailable(str(error))

    def _success(self, group: str, failures: int, reply: Any) -> Position:
        # Only what was sent after all failures made the epoch anew for all of them.
        if failures and self._failures.get(group) == failures:
            del self._failures[group]
        return redis_scripts.position(reply)


class _Loop:
    """The connections of one event loop: those for scripts, and one that listens."""

    def __init__(self, url: str) -> None:
        options = {**OPTIONS, "socket_timeout": LOOP_TIMEOUT, "timeout": LOOP_TIMEOUT, "health_check_interval": 5}
        self._pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=MAX_LOOP_CONNECTIONS, **options)
        self._client = redis.asyncio.Redis.from_pool(self._pool)
        self.scripts = {name: self._client.register_script(text) for name, text in SCRIPTS.items()}
        self._listener = Listener(self._client)
        self.sweep = Sweep(self._client, self._listener.renew)

    async def listen(self, channel: str, hear: Callable[[str | None], Any]) -> None:
        await self._listener.listen(channel, hear)

    async def unlisten(self, channel: str) -> None:
        await self._listener.unlisten(channel)
        if self._listener.is_idle:
            await self._pool.disconnect(inuse_connections=False)  # what is under way is finished

    async def close(self) -> None:
        self.sweep.close()
        await self._listener.close()
        await self._client.aclose()


def _append(group: str, failures: int, body: str) -> tuple[list[str], list[Any]]:
    # A lost broadcast left no gap in the numbers: only another epoch tells the pages that something is missing.
    return redis_scripts.arguments(group, "renew" if failures else "", *redis_scripts.append_arguments(body))
