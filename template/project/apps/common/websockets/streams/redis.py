"""Streams in Redis or Valkey, for more than one process.

Each broadcast is one round trip: a script on the server numbers it, keeps it, trims, and publishes it. The server runs
one script at a time, so publishers cannot overtake each other. After an error the connections are replaced and the call
is repeated until its deadline; the script knows a broadcast that it has kept already, and refuses one that is late.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, RedisError
from redis.retry import Retry

from apps.common.websockets.event_loop import of_running_loop
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base
from apps.common.websockets.streams.base import Broadcast, Command, OnBroadcast, StreamsUnavailable
from apps.common.websockets.streams.redis_batches import Batches
from apps.common.websockets.streams.redis_call import Call, Publish, Server
from apps.common.websockets.streams.redis_failures import Failures
from apps.common.websockets.streams.redis_lag_check import LagCheck
from apps.common.websockets.streams.redis_listener import Listener, OnMessage
from apps.common.websockets.streams.redis_scripts import SCRIPTS, Names

logger = logging.getLogger(__name__)

# In seconds, for an answer; a call is given up after the double.
TIMEOUT = 1.0  # a server that hangs must not block the publishing thread
LOOP_TIMEOUT = 1.5  # nothing else is blocked in an event loop, but a busy loop may be late to read an answer
# More than these wait for one another; without a limit a storm would open thousands.
MAX_CONNECTIONS = 100  # of all threads
MAX_LOOP_CONNECTIONS = 20  # of an event loop
CONNECTION_SECONDS = 5.0  # after which idle connections are replaced: their server may have another address by now
DRAIN_SECONDS = 60 * 60  # for which a process that could not be reached finds out that it was to drain
COMMANDS = "all commands"  # in Failures; no group has this name
DEMOTED = (ClusterDownError, MovedError, ReadOnlyError)  # errors of a server that is the primary no more
# The scripts of an event loop that share a connection: a replay may be large, and delays no broadcast.
FREQUENT = [["append"], ["since", "top"]]
OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_connect_timeout": TIMEOUT,
    # Repeated by Call, which knows how; and a subscription that reconnects by itself hides a gap.
    "retry": Retry(NoBackoff(), 0),
}


class RedisStreams:
    """The streams of a project that runs in several processes.

    prefix: of all its keys and channels. Raises ImproperlyConfigured.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._names = Names(prefix)
        self._server = Server()
        self._failures = Failures(self._renew)
        self._replaced_at = time.monotonic()
        try:
            self._sync = redis.Redis.from_url(url, socket_timeout=TIMEOUT, max_connections=MAX_CONNECTIONS, **OPTIONS)
            self._sync.connection_pool.connection_class(**self._sync.connection_pool.connection_kwargs)
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"REDIS_URL has an option that is unknown or wrong: {error}") from error
        self._scripts = {name: self._sync.register_script(text) for name, text in SCRIPTS.items()}

    def append(self, group: str, body: str) -> Position:
        with self._failures.watch(group) as failures:
            return _position(self._run("append", self._append(group, failures, body, 2 * TIMEOUT)))

    async def aappend(self, group: str, body: str) -> Position:
        with self._failures.watch(group) as failures:
            call = self._append(group, failures, body, 2 * LOOP_TIMEOUT)
            return _position(await self._in_loop().run("append", call))

    def top(self, group: str) -> Position:
        return _position(self._run("top", self._asked(group, 2 * TIMEOUT)))

    async def atop(self, group: str) -> Position:
        return _position(await self._in_loop().run("top", self._asked(group, 2 * LOOP_TIMEOUT)))

    def mark(self, group: str, id: str) -> bool:
        keys = [self._names.state(group), self._names.marks(group)]
        try:
            return bool(self._scripts["mark"](keys, [id, base.MARKED_SECONDS]))
        except (RedisError, OSError) as error:
            raise StreamsUnavailable(str(error)) from error

    def unmark(self, group: str, ids: list[str]) -> None:
        with suppress(RedisError, OSError):
            self._sync.zrem(self._names.marks(group), *ids)

    def is_followed(self, group: str) -> bool:
        try:
            return bool(self._sync.exists(self._names.state(group)))
        except (RedisError, OSError) as error:
            raise StreamsUnavailable(str(error)) from error

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        call = self._asked(group, 2 * LOOP_TIMEOUT, position.epoch, position.seq)
        epoch, seq, entries = await self._in_loop().run("since", call)
        if entries is None:
            return None
        first = seq - len(entries) + 1
        found = [Broadcast(epoch, first + index, entry.split(" ", 2)[2]) for index, entry in enumerate(entries)]
        return found if base.fits_replay(found) else None

    async def subscribe(
        self, group: str, on_broadcast: OnBroadcast, position: Callable[[], Position] | None = None
    ) -> None:
        in_loop = self._in_loop()
        await in_loop.subscribe(self._names.channel(group), lambda text: on_broadcast(_broadcast(text)))
        if position:
            in_loop.lag_check.add(group, position)

    async def unsubscribe(self, group: str) -> None:
        self._in_loop().lag_check.remove(group)
        await self._in_loop().unsubscribe(self._names.channel(group))

    def publish_command(self, command: Command) -> bool:
        try:
            self._publish(command)
        except StreamsUnavailable:
            logger.exception("The command %s could not be published", ", ".join(command))
            if "drain" not in command:  # what the clients' access depends on
                self._failures.add(COMMANDS)
            return False
        return True

    async def subscribe_control(self, on_command: Callable[[Command], Any], on_gap: Callable[[], Any]) -> None:
        lag_check = self._in_loop().lag_check

        def on_message(text: str | None) -> None:
            command = json.loads(text) if text else None
            if command is None or "missed" in command:
                on_gap()
            elif "probe" in command:
                lag_check.on_probe(command["probe"])
            else:
                on_command(command)

        await self._in_loop().subscribe(self._names.control, on_message)
        lag_check.add_control()
        await self._find_other_site()

    async def unsubscribe_control(self) -> None:
        await self._in_loop().unsubscribe(self._names.control)

    async def last_drain(self, host: str) -> tuple[float, int] | None:
        try:
            text = await self._in_loop().client.get(self._names.drain(host))
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error
        time, within = text.split() if text else ("", "")
        return (float(time), int(within)) if text else None

    async def close(self) -> None:
        await self._in_loop().close()

    async def _find_other_site(self) -> None:
        """Log whether another site has this one's prefix, as far as the SECRET_KEY tells."""
        name = self._names.site
        keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        known = [salted_hmac("websockets", name, key, algorithm="sha256").hexdigest() for key in keys]
        with suppress(RedisError):
            found = await self._in_loop().client.set(name, known[0], ex=base.STREAM_SECONDS, get=True)
            if found and found not in known:
                logger.error("A site with another SECRET_KEY has the same WEBSOCKET_PREFIX and database in Redis")

    def _in_loop(self) -> "_LoopConnections":
        return of_running_loop(self._connect)

    def _connect(self) -> "_LoopConnections":
        return _LoopConnections(self._url, self._names, self._arenew, self._end_marks)

    def _run(self, name: str, call: Call) -> Any:
        while True:
            try:
                if time.monotonic() - self._replaced_at > CONNECTION_SECONDS:
                    self._disconnect_idle()
                reply = self._scripts[name](*call.prepare())
            except (RedisError, OSError) as error:
                pause = call.pause(error)
                self._disconnect_idle()
                time.sleep(pause)
            else:
                if call.is_answer(reply):
                    return reply

    def _disconnect_idle(self) -> None:
        self._replaced_at = time.monotonic()
        self._sync.connection_pool.disconnect(inuse_connections=False)

    def _append(self, group: str, failures: int, body: str, seconds: float) -> Publish:
        # A lost broadcast left no gap in the numbers: only another epoch makes the clients reload.
        bounds = [base.STREAM_SECONDS, base.MAX_MESSAGES, base.MAX_BYTES, int(base.MESSAGE_SECONDS * 1000)]
        arguments = [body, "renew" if failures else "", *bounds]
        return Publish(self._server, self._names.of_stream(group), arguments, seconds)

    def _asked(self, group: str, seconds: float, *more: Any) -> Call:
        arguments = [base.STREAM_SECONDS, int(base.ASKED_SECONDS), token_hex(4), base.MAX_ASKED, *more]
        return Call(self._server, [*self._names.of_stream(group), self._names.asked], arguments, seconds)

    def _renew(self, group: str) -> None:
        if group == COMMANDS:
            self._publish({"missed": "yes"})
        else:
            self._run("renew", self._asked(group, 0, ""))

    def _publish(self, command: Command) -> None:
        arguments = [json.dumps(command), f"{time.time()} {command.get('drain')}", DRAIN_SECONDS]
        call = Publish(self._server, [self._names.control], arguments, 2 * TIMEOUT)
        call.keys.append(self._names.command(call.id))
        if "drain" in command:
            call.keys.append(self._names.drain(command["host"]))
        self._run("command", call)

    async def _end_marks(self, group: str) -> None:
        call = self._asked(group, 2 * LOOP_TIMEOUT, int(base.MARK_SECONDS * 1000))
        call.keys.append(self._names.marks(group))
        await self._in_loop().run("overdue", call)

    async def _arenew(self, group: str, epoch: str) -> None:
        await self._in_loop().run("renew", self._asked(group, 2 * LOOP_TIMEOUT, epoch))


class _LoopConnections:
    """The connections of one event loop: a pool for scripts, and one for the subscriptions."""

    def __init__(
        self,
        url: str,
        names: Names,
        renew: Callable[[str, str], Awaitable[None]],
        end_marks: Callable[[str], Awaitable[None]],
    ) -> None:
        options = {**OPTIONS, "socket_timeout": LOOP_TIMEOUT, "timeout": LOOP_TIMEOUT}
        self._pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=MAX_LOOP_CONNECTIONS, **options)
        self._replaced_at = time.monotonic()
        self.client = redis.asyncio.Redis.from_pool(self._pool)
        self.scripts: dict[str, Callable[[list[str], list[Any]], Awaitable[Any]]] = {
            name: self.client.register_script(text) for name, text in SCRIPTS.items()
        }
        self._batches = [Batches(self._pool, {name: SCRIPTS[name] for name in names}) for names in FREQUENT]
        for batches, frequent in zip(self._batches, FREQUENT, strict=True):
            self.scripts.update((name, partial(batches.run, name)) for name in frequent)
        self.listener = Listener(self.client)
        self.lag_check = LagCheck(self.client, names, self.replace, self.listener.renew, renew, end_marks)

    async def run(self, name: str, call: Call) -> Any:
        while True:
            try:
                if time.monotonic() - self._replaced_at > CONNECTION_SECONDS:
                    await self.replace()
                reply = await self.scripts[name](*call.prepare())
            except (RedisError, OSError) as error:
                pause = call.pause(error)
                await self.replace(error)
                await asyncio.sleep(pause)
            else:
                if call.is_answer(reply):
                    return reply

    async def replace(self, error: Exception | None = None) -> None:
        """Replace idle connections, and the subscriptions' if the error says that their server is demoted."""
        self._replaced_at = time.monotonic()
        with suppress(RedisError, OSError):
            await self._pool.disconnect(inuse_connections=False)  # calls in progress finish
            await self._disconnect_batches()
        if isinstance(error, DEMOTED) or "READONLY" in str(error):  # the latter from a script, in older servers
            self.listener.renew()

    async def subscribe(self, channel: str, on_message: OnMessage) -> None:
        self.lag_check.start()
        try:
            await self.listener.subscribe(channel, on_message)
        finally:
            self._stop_if_idle()

    async def unsubscribe(self, channel: str) -> None:
        await self.listener.unsubscribe(channel)
        self._stop_if_idle()
        if self.listener.is_idle:
            await self._pool.disconnect(inuse_connections=False)
            await self._disconnect_batches()

    async def _disconnect_batches(self) -> None:
        for batches in self._batches:
            await batches.disconnect()

    def _stop_if_idle(self) -> None:
        if self.listener.is_idle:
            self.lag_check.stop()

    async def close(self) -> None:
        self.lag_check.stop()
        await self.listener.close()
        await self._disconnect_batches()
        await self.client.aclose()


def _position(reply: Any) -> Position:
    return Position(reply[0], reply[1])


def _broadcast(text: str | None) -> Broadcast | None:
    if text is None:
        return None
    epoch, seq, body = text.split(" ", 2)
    return Broadcast(epoch, int(seq), body)
