"""Streams in Redis or Valkey, for more than one process.

Each broadcast is one round trip: a script on the server numbers it, keeps it, trims, and publishes it. The server runs
one script at a time, so publishers cannot overtake each other.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from secrets import token_hex
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from apps.common.websockets import streams
from apps.common.websockets.streams import Broadcast, Hear, Order, Position, StreamsUnavailable

logger = logging.getLogger(__name__)

TIMEOUT = 1.0  # seconds: a server that hangs must not block the thread of who publishes
LOOP_TIMEOUT = 3.0  # in an event loop nobody is blocked, but a busy loop may be late to read an answer
RETRY_SECONDS = 0.25
OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_timeout": TIMEOUT,
    "socket_connect_timeout": TIMEOUT,
    # A publish that is tried again could be kept twice, and a subscription that comes back by itself hides a gap.
    "retry": Retry(NoBackoff(), 0),
}
PREFIX = "websockets:"
ORDERS = PREFIX + "orders"

# The state of a stream, for both scripts. The epoch begins with the server's run id: a server that came back from an
# older snapshot would otherwise give other frames the same numbers.
STATE = """
local run = string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%w+)'), 1, 12)
local epoch, seq = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'seq'))
if not epoch or string.sub(epoch, 1, 12) ~= run or ARGV[1] == 'renew' then
  epoch = run .. '.' .. ARGV[2]
  seq = 0
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'bytes', 0)
end
seq = tonumber(seq)
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""

# Entries are "milliseconds body"; the last one has the number `seq`.
APPEND = (
    STATE
    + """
local body = ARGV[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local entry = string.format('%.0f %s', now, body)
seq = seq + 1
local count = redis.call('RPUSH', KEYS[2], entry)
local bytes = redis.call('HINCRBY', KEYS[1], 'bytes', #entry)
redis.call('HSET', KEYS[1], 'seq', seq)
while count > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) do
  bytes = redis.call('HINCRBY', KEYS[1], 'bytes', -#redis.call('LPOP', KEYS[2]))
  count = count - 1
end
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PUBLISH', KEYS[3], epoch .. ' ' .. string.format('%.0f', seq) .. ' ' .. body)
return {epoch, seq}
"""
)

SINCE = (
    STATE
    + """
local missed = seq - tonumber(ARGV[5])
if ARGV[4] ~= epoch or missed < 0 or missed > redis.call('LLEN', KEYS[2]) then
  return {epoch, seq, false}
end
if missed == 0 then
  return {epoch, seq, {}}
end
return {epoch, seq, redis.call('LRANGE', KEYS[2], -missed, -1)}
"""
)

TOP = STATE + "return {epoch, seq}"


class RedisStreams:
    """The streams of a project that runs in several processes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sync = redis.Redis.from_url(url, **OPTIONS)
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()
        self._scripts = {name: self._sync.register_script(text) for name, text in SCRIPTS.items()}
        self._failed: set[str] = set()  # groups whose last broadcast did not arrive

    def append(self, group: str, body: str) -> Position:
        """Number, keep and publish a frame. Raises StreamsUnavailable."""
        try:
            reply = self._scripts["append"](*_arguments(group, self._renews(group), *_append_arguments(body)))
        except RedisError as error:
            raise self._failure(group, error) from error
        return self._success(group, reply)

    async def aappend(self, group: str, body: str) -> Position:
        """The same, for async code."""
        try:
            reply = await self._run("append", group, self._renews(group), *_append_arguments(body))
        except RedisError as error:
            raise self._failure(group, error) from error
        return self._success(group, reply)

    def top(self, group: str) -> Position:
        """The last number of the group's stream, which is made if there is none. Raises StreamsUnavailable."""
        try:
            return _position(self._scripts["top"](*_arguments(group, "")))
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error

    async def atop(self, group: str) -> Position:
        """The same, for async code."""
        try:
            return _position(await self._run("top", group, ""))
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        """The frames after a position; None if any of them is gone, or if it would be too much."""
        try:
            epoch, seq, entries = await self._run("since", group, "", position.epoch, position.seq)
        except RedisError as error:
            raise StreamsUnavailable(str(error)) from error
        if entries is None:
            return None
        first = seq - len(entries) + 1
        frames = [Broadcast(epoch, first + index, entry.split(" ", 1)[1]) for index, entry in enumerate(entries)]
        return frames if streams.fits_replay(frames) else None

    async def listen(self, group: str, hear: Hear) -> None:
        """Call `hear` with each broadcast from now on, in the running loop. One listener for each loop and group."""
        await self._loop().listen(_channel(group), lambda text: hear(_broadcast(text)))

    async def unlisten(self, group: str) -> None:
        """Undo listen()."""
        await self._loop().unlisten(_channel(group))

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

    async def _run(self, script: str, group: str, *arguments: Any) -> Any:
        keys, values = _arguments(group, *arguments)
        return await self._loop().scripts[script](keys=keys, args=values)

    def _renews(self, group: str) -> str:
        # A lost broadcast left no gap in the numbers: only another epoch tells the pages that something is missing.
        return "renew" if group in self._failed else ""

    def _failure(self, group: str, error: RedisError) -> StreamsUnavailable:
        self._failed.add(group)
        return StreamsUnavailable(str(error))

    def _success(self, group: str, reply: Any) -> Position:
        self._failed.discard(group)
        return _position(reply)


class _Loop:
    """The connections of one event loop: one for scripts, one that listens."""

    def __init__(self, url: str) -> None:
        options = {**OPTIONS, "socket_timeout": LOOP_TIMEOUT, "health_check_interval": 5}
        self._client = redis.asyncio.Redis.from_url(url, **options)
        self.scripts = {name: self._client.register_script(text) for name, text in SCRIPTS.items()}
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=False)
        self._hears: dict[str, Callable[[str | None], Any]] = {}
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._lock = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def listen(self, channel: str, hear: Callable[[str | None], Any]) -> None:
        """Returns when the server has confirmed: whatever is published from now on is heard."""
        self._hears[channel] = hear
        confirmed = self._confirmed.setdefault(channel, asyncio.get_running_loop().create_future())
        try:
            async with self._lock:
                await self._pubsub.subscribe(channel)
            if self._reader is None:
                self._reader = asyncio.create_task(self._read(), name="websocket streams")
            await asyncio.wait_for(asyncio.shield(confirmed), LOOP_TIMEOUT)
        except (RedisError, TimeoutError) as error:
            self._hears.pop(channel, None)
            raise StreamsUnavailable(str(error)) from error

    async def unlisten(self, channel: str) -> None:
        self._hears.pop(channel, None)
        self._confirmed.pop(channel, None)
        try:
            async with self._lock:
                await self._pubsub.unsubscribe(channel)
        except RedisError:
            logger.debug("Nothing to unsubscribe from", exc_info=True)
        if not self._hears:
            await self.close()

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            reader.cancel()
            await asyncio.wait([reader])
        await self._pubsub.aclose()
        await self._client.aclose()

    async def _read(self) -> None:
        while True:
            try:
                # A fraction of a second: get_message holds nothing that a subscription needs meanwhile.
                message = await self._pubsub.get_message(timeout=1.0)
            except (RedisError, OSError):
                await self._come_back()
                continue
            if message:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        if message["type"] == "subscribe" and channel in self._confirmed:
            if not self._confirmed[channel].done():
                self._confirmed[channel].set_result(None)
            elif channel in self._hears:
                self._hears[channel](None)  # subscribed again: the connection was lost in between
        elif message["type"] == "message" and channel in self._hears:
            self._hears[channel](message["data"])

    async def _come_back(self) -> None:
        logger.warning("The server that keeps the streams is away")
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                async with self._lock:
                    await self._pubsub.aclose()
                    # Confirmations follow, as at first, and tell each listener that there was a gap.
                    await self._pubsub.subscribe(*self._hears)
                logger.warning("The server that keeps the streams is back")
                return
            except (RedisError, OSError):
                continue


def _arguments(group: str, renew: str, *rest: Any) -> tuple[list[str], list[Any]]:
    # The braces keep a stream's keys together in a cluster.
    keys = [f"{PREFIX}{{{group}}}", f"{PREFIX}{{{group}}}:frames", _channel(group)]
    return keys, [renew, token_hex(4), streams.STREAM_SECONDS, *rest]


def _append_arguments(body: str) -> list[Any]:
    return [body, streams.MAX_FRAMES, streams.MAX_BYTES, streams.FRAME_SECONDS * 1000]


def _channel(group: str) -> str:
    return f"{PREFIX}{{{group}}}:live"


def _position(reply: Any) -> Position:
    return Position(reply[0], reply[1])


def _broadcast(text: str | None) -> Broadcast | None:
    if text is None:
        return None
    epoch, seq, body = text.split(" ", 2)
    return Broadcast(epoch, int(seq), body)


SCRIPTS = {"append": APPEND, "since": SINCE, "top": TOP}
