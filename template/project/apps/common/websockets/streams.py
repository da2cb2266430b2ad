"""Streams: numbered, bounded histories of groups' broadcasts, so that a page that was away for a moment misses nothing.

Every broadcast of a group gets the next number of the group's stream and is kept for a while. A page says with which
number it left off; it gets what followed, or is told that too much is gone and that it must load its state anew: never
a part of it. A stream's epoch changes whenever its numbering begins anew, so that no number is taken for another's.

The idea is that of Centrifugo's history and recovery: https://centrifugal.dev/docs/server/history_and_recovery
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import cache
from itertools import islice
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

from django.conf import settings

MAX_FRAMES = 1_000
MAX_BYTES = 1024 * 1024  # of one stream; JSON, about a byte a character
FRAME_SECONDS = 5 * 60
STREAM_SECONDS = 24 * 60 * 60  # the numbering lives longer than the frames: a page may come back with the last number
MAX_REPLAY_BYTES = 256 * 1024  # more than that, and loading the state anew is cheaper

Order = dict[str, str]


class Position(NamedTuple):
    """A place in a stream: after the frame with this number."""

    epoch: str
    seq: int


NOWHERE = Position("", 0)  # before anything is known of a stream


class Broadcast(NamedTuple):
    """A frame of a stream."""

    epoch: str
    seq: int
    body: str  # the frame's text, without its number

    @property
    def text(self) -> str:
        """The frame as sent."""
        return f'{{"seq":{self.seq},{self.body[1:]}'


# Called in the event loop that listens, with each broadcast in order, or with None if some may have been missed.
Hear = Callable[[Broadcast | None], None]


class StreamsUnavailable(Exception):
    """The server that keeps the streams is away. What was asked did not happen."""


class Streams(Protocol):
    """All groups' streams. The methods with an `a` are for async code, those without for any thread."""

    def append(self, group: str, body: str) -> Position: ...

    async def aappend(self, group: str, body: str) -> Position: ...

    def top(self, group: str) -> Position: ...

    async def atop(self, group: str) -> Position: ...

    async def since(self, group: str, position: Position) -> list[Broadcast] | None: ...

    async def listen(self, group: str, hear: Hear, told: Callable[[], Position] | None = None) -> None: ...

    async def unlisten(self, group: str) -> None: ...

    def tell(self, order: Order) -> bool: ...

    def listen_to_orders(self, obey: Callable[[Order], Any]) -> Coroutine[Any, Any, None]: ...

    async def unlisten_to_orders(self) -> None: ...

    async def close(self) -> None: ...


@cache
def get_streams() -> Streams:
    """Where this project keeps its streams: in Redis or Valkey if REDIS_URL is set, else in this process's memory."""
    if settings.REDIS_URL:
        from apps.common.websockets.redis_streams import RedisStreams

        return RedisStreams(settings.REDIS_URL)
    return MemoryStreams()


class MemoryStreams:
    """The streams of a single process. From any thread; event loops are told of broadcasts in their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._pruned_at = time.monotonic()

    def append(self, group: str, body: str) -> Position:
        """Number and keep a frame, and tell the listeners."""
        now = time.monotonic()
        with self._lock:
            stream = self._stream(group, now)
            broadcast = stream.append(body, now)
            for loop, hear in stream.listeners.items():
                # Within the lock: so no publisher overtakes another.
                _call(loop, hear, broadcast)
            return stream.position

    async def aappend(self, group: str, body: str) -> Position:
        return self.append(group, body)

    def top(self, group: str) -> Position:
        """The last number of the group's stream, which is made if there is none."""
        with self._lock:
            return self._stream(group, time.monotonic()).position

    async def atop(self, group: str) -> Position:
        return self.top(group)

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        """The frames after a position; None if any of them is gone, or if it would be too much."""
        with self._lock:
            now = time.monotonic()
            return self._stream(group, now).since(position, now)

    async def listen(self, group: str, hear: Hear, told: Callable[[], Position] | None = None) -> None:
        """Call `hear` with each broadcast from now on, in the running loop. One listener for each loop and group.

        told: not needed here, where nothing is lost on the way.
        """
        with self._lock:
            self._stream(group, time.monotonic()).listeners[asyncio.get_running_loop()] = hear

    async def unlisten(self, group: str) -> None:
        """Undo listen()."""
        with self._lock:
            self._stream(group, time.monotonic()).listeners.pop(asyncio.get_running_loop(), None)

    def tell(self, order: Order) -> bool:
        """There is no other process to tell, and this one is not told."""
        return False

    async def listen_to_orders(self, obey: Callable[[Order], Any]) -> None:
        """There is no other process to hear."""

    async def unlisten_to_orders(self) -> None:
        """There was no other process to hear."""

    async def close(self) -> None:
        """There is nothing to close."""

    def _stream(self, group: str, now: float) -> "_Stream":
        if now - self._pruned_at > FRAME_SECONDS:
            self._prune(now)
        stream = self._streams.get(group)
        if stream is None:
            stream = self._streams[group] = _Stream()
        stream.used_at = now
        return stream

    def _prune(self, now: float) -> None:
        self._pruned_at = now
        for group, stream in list(self._streams.items()):
            stream.expire(now)
            # One that was only asked for is soon forgotten: there may be one for every address that visitors tried.
            kept = STREAM_SECONDS if stream.seq else FRAME_SECONDS
            if not stream.listeners and now - stream.used_at > kept:
                del self._streams[group]


class _Stream:
    __slots__ = ("_bytes", "_frames", "epoch", "listeners", "seq", "used_at")

    def __init__(self) -> None:
        self.epoch = token_hex(4)
        self.seq = 0
        self.used_at = 0.0
        self.listeners: dict[asyncio.AbstractEventLoop, Hear] = {}
        self._frames: deque[tuple[float, Broadcast]] = deque()  # with the time of each
        self._bytes = 0

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.seq)

    def append(self, body: str, now: float) -> Broadcast:
        self.seq += 1
        broadcast = Broadcast(self.epoch, self.seq, body)
        self._frames.append((now, broadcast))
        self._bytes += len(body)
        while len(self._frames) > MAX_FRAMES or self._bytes > MAX_BYTES:
            self._drop()
        return broadcast

    def expire(self, now: float) -> None:
        while self._frames and now - self._frames[0][0] > FRAME_SECONDS:
            self._drop()

    def since(self, position: Position, now: float) -> list[Broadcast] | None:
        self.expire(now)
        missed = self.seq - position.seq
        if position.epoch != self.epoch or not 0 <= missed <= len(self._frames):
            return None
        frames = [broadcast for _, broadcast in islice(self._frames, len(self._frames) - missed, None)]
        return frames if fits_replay(frames) else None

    def _drop(self) -> None:
        _, broadcast = self._frames.popleft()
        self._bytes -= len(broadcast.body)


def fits_replay(frames: list[Broadcast]) -> bool:
    """Whether sending them costs less than loading the state anew."""
    return sum(len(broadcast.body) for broadcast in frames) <= MAX_REPLAY_BYTES


def _call(loop: asyncio.AbstractEventLoop, hear: Hear, broadcast: Broadcast) -> None:
    try:
        # In a context of its own: what a page does about it must not share the publisher's thread for ORM work.
        loop.call_soon_threadsafe(hear, broadcast, context=Context())
    except RuntimeError:  # the loop is closed: a test's, or a process about to end
        if not loop.is_closed():
            raise
