"""Streams in Redis or Valkey, for more than one process.

Each broadcast is one round trip: a script on the server numbers it, keeps it, trims, and publishes it. The server runs
one script at a time, so publishers cannot overtake each other.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from apps.common.websockets.event_loop import of_running_loop
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base, redis_scripts
from apps.common.websockets.streams.base import Broadcast, Command, OnBroadcast, StreamsUnavailable
from apps.common.websockets.streams.redis_lag_check import LagCheck
from apps.common.websockets.streams.redis_listener import Listener, OnMessage
from apps.common.websockets.streams.redis_scripts import CONTROL_CHANNEL, SCRIPTS

logger = logging.getLogger(__name__)

TIMEOUT = 1.0  # seconds: a server that hangs must not block the publishing thread
LOOP_TIMEOUT = 3.0  # nothing else is blocked in an event loop, but a busy loop may be late to read an answer
# More than these wait for one another, as long as for an answer; without a limit a storm would open thousands.
MAX_CONNECTIONS = 100  # of all threads
MAX_LOOP_CONNECTIONS = 20  # of an event loop
OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_connect_timeout": TIMEOUT,
    # A publish that is retried could be kept twice, and a subscription that reconnects by itself hides a gap.
    "retry": Retry(NoBackoff(), 0),
}


class RedisStreams:
    """The streams of a project that runs in several processes."""

    def __init__(self, url: str) -> None:
        self._url = url
        options = {**OPTIONS, "socket_timeout": TIMEOUT, "timeout": TIMEOUT, "max_connections": MAX_CONNECTIONS}
        self._sync = redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(url, **options))
        self._scripts = {name: self._sync.register_script(text) for name, text in SCRIPTS.items()}
        self._failures: dict[str, int] = {}  # of a group's broadcasts, since its epoch was last renewed

    def append(self, group: str, body: str) -> Position:
        failures = self._failures.get(group, 0)
        try:
            reply = self._scripts["append"](*_append(group, failures, body))
        except RedisError as error:
            raise self._failure(group, error) from error
        return self._success(group, failures, reply)

    async def aappend(self, group: str, body: str) -> Position:
        failures = self._failures.get(group, 0)
        try:
            reply = await self._in_loop().scripts["append"](*_append(group, failures, body))
        except RedisError as error:
            raise self._failure(group, error) from error
        return self._success(group, failures, reply)

    def top(self, group: str) -> Position:
        try:
            return redis_scripts.position(self._scripts["top"](*redis_scripts.arguments(group, "")))
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error

    async def atop(self, group: str) -> Position:
        try:
            return redis_scripts.position(await self._in_loop().scripts["top"](*redis_scripts.arguments(group, "")))
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        arguments = redis_scripts.arguments(group, "", position.epoch, position.seq)
        try:
            epoch, seq, entries = await self._in_loop().scripts["since"](*arguments)
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error
        if entries is None:
            return None
        first = seq - len(entries) + 1
        found = [Broadcast(epoch, first + index, entry.split(" ", 1)[1]) for index, entry in enumerate(entries)]
        return found if base.fits_replay(found) else None

    async def subscribe(
        self, group: str, on_broadcast: OnBroadcast, position: Callable[[], Position] | None = None
    ) -> None:
        def on_message(text: str | None) -> None:
            on_broadcast(redis_scripts.broadcast(text))

        in_loop = self._in_loop()
        await in_loop.subscribe(redis_scripts.channel(group), on_message)
        if position:
            in_loop.lag_check.add(group, position)

    async def unsubscribe(self, group: str) -> None:
        in_loop = self._in_loop()
        in_loop.lag_check.remove(group)
        await in_loop.unsubscribe(redis_scripts.channel(group))

    def publish_command(self, command: Command) -> bool:
        try:
            self._sync.publish(CONTROL_CHANNEL, json.dumps(command))
        except RedisError:
            logger.exception("The command %s could not be published", ", ".join(command))
            return False
        return True

    async def subscribe_control(self, on_command: Callable[[Command], Any]) -> None:
        await self._in_loop().subscribe(CONTROL_CHANNEL, lambda text: on_command(json.loads(text)) if text else None)

    async def unsubscribe_control(self) -> None:
        await self._in_loop().unsubscribe(CONTROL_CHANNEL)

    async def close(self) -> None:
        await self._in_loop().close()

    def _in_loop(self) -> "_LoopConnections":
        return of_running_loop(self._connect)

    def _connect(self) -> "_LoopConnections":
        return _LoopConnections(self._url)

    def _failure(self, group: str, error: RedisError) -> StreamsUnavailable:
        self._failures[group] = self._failures.get(group, 0) + 1
        return StreamsUnavailable(str(error))

    def _success(self, group: str, failures: int, reply: Any) -> Position:
        # Only a broadcast sent after all failures has renewed the epoch for all of them.
        if failures and self._failures.get(group) == failures:
            del self._failures[group]
        return redis_scripts.position(reply)


class _LoopConnections:
    """The connections of one event loop: a pool for scripts, and one for the subscriptions."""

    def __init__(self, url: str) -> None:
        options = {**OPTIONS, "socket_timeout": LOOP_TIMEOUT, "timeout": LOOP_TIMEOUT, "health_check_interval": 5}
        self._pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=MAX_LOOP_CONNECTIONS, **options)
        self._client = redis.asyncio.Redis.from_pool(self._pool)
        self.scripts = {name: self._client.register_script(text) for name, text in SCRIPTS.items()}
        self._listener = Listener(self._client)
        self.lag_check = LagCheck(self._client, self._listener.renew)

    async def subscribe(self, channel: str, on_message: OnMessage) -> None:
        await self._listener.subscribe(channel, on_message)

    async def unsubscribe(self, channel: str) -> None:
        await self._listener.unsubscribe(channel)
        if self._listener.is_idle:
            await self._pool.disconnect(inuse_connections=False)  # calls in progress finish

    async def close(self) -> None:
        self.lag_check.close()
        await self._listener.close()
        await self._client.aclose()


def _append(group: str, failures: int, body: str) -> tuple[list[str], list[Any]]:
    # A lost broadcast left no gap in the numbers: only another epoch makes the clients reload.
    return redis_scripts.arguments(group, "renew" if failures else "", *redis_scripts.append_arguments(body))
