"""Streams in memory, for a single process."""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from secrets import token_hex
from typing import Any

from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base
from apps.common.websockets.streams.base import Broadcast, Command, OnBroadcast

OVERHEAD = 200  # bytes that Python needs for a broadcast, beside its text


class MemoryStreams:
    """The streams of a single process. From any thread; each event loop is notified in its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._asked: dict[str, None] = {}  # the names of those without a broadcast, in order of creation
        self._kept: OrderedDict[str, None] = OrderedDict()  # the names of the others, in order of their last broadcasts
        self._bytes = 0
        self._pruned_at = time.monotonic()

    def append(self, group: str, body: str, own_loop: asyncio.AbstractEventLoop | None = None) -> Position:
        """own_loop: that of the caller, which is notified at once."""
        now = time.monotonic()
        with self._lock:
            stream = self._stream(group, now)
            broadcast = stream.append(body, now)
            self._asked.pop(group, None)
            self._kept[group] = None
            self._kept.move_to_end(group)
            self._limit_bytes()
            # Within the lock, so that no publisher overtakes another.
            for loop, subscriber in list(stream.subscribers.items()):
                subscriber.waiting.append(broadcast)
                if loop is own_loop:
                    continue
                try:
                    # In an empty context: in the publisher's, ORM work would wait for the publisher's thread.
                    loop.call_soon_threadsafe(subscriber.take, context=Context())
                except RuntimeError:
                    if not loop.is_closed():
                        raise
                    del stream.subscribers[loop]
            own = stream.subscribers.get(own_loop) if own_loop else None
        if own:
            own.take()
        return Position(broadcast.epoch, broadcast.seq)

    async def aappend(self, group: str, body: str) -> Position:
        return self.append(group, body, asyncio.get_running_loop())

    def top(self, group: str) -> Position:
        with self._lock:
            return self._stream(group, time.monotonic()).position

    async def atop(self, group: str) -> Position:
        return self.top(group)

    def mark(self, group: str, id: str) -> bool:
        """As is_followed(): if this process ends, so do its clients' connections."""
        return self.is_followed(group)

    def unmark(self, group: str, ids: list[str]) -> None:
        """No effect, as mark()."""

    def is_followed(self, group: str) -> bool:
        stream = self._streams.get(group)
        return stream is not None and bool(stream.subscribers)

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        with self._lock:
            now = time.monotonic()
            return self._stream(group, now).since(position, now)

    async def subscribe(
        self, group: str, on_broadcast: OnBroadcast, position: Callable[[], Position] | None = None
    ) -> None:
        with self._lock:
            self._stream(group, time.monotonic()).subscribers[asyncio.get_running_loop()] = _Subscriber(on_broadcast)

    async def unsubscribe(self, group: str) -> None:
        with self._lock:
            self._stream(group, time.monotonic()).subscribers.pop(asyncio.get_running_loop(), None)

    def publish_command(self, command: Command) -> bool:
        """Returns False: in memory, no other process is reached."""
        return False

    async def subscribe_control(self, on_command: Callable[[Command], Any], on_gap: Callable[[], Any]) -> None:
        """No effect: in memory, no other process sends commands."""

    async def unsubscribe_control(self) -> None:
        """No effect, as subscribe_control()."""

    async def last_drain(self, host: str) -> tuple[float, int] | None:
        """None: a command cannot be missed."""
        return None

    async def close(self) -> None:
        """No effect: there is no connection to a server."""

    def _stream(self, group: str, now: float) -> "_Stream":
        if now - self._pruned_at > base.MESSAGE_SECONDS:
            self._prune(now)
        stream = self._streams.get(group)
        if stream is None:
            stream = self._streams[group] = _Stream(self._count)
            self._asked[group] = None
            self._limit_asked()
        stream.used_at = now
        return stream

    def _prune(self, now: float) -> None:
        """Remove expired messages, and streams without use."""
        self._pruned_at = now
        for group, stream in list(self._streams.items()):
            stream.expire(now)
            kept = base.STREAM_SECONDS if stream.seq else base.ASKED_SECONDS
            if not stream.subscribers and now - stream.used_at > kept:
                self._remove(group)

    def _limit_asked(self) -> None:
        if len(self._asked) > base.MAX_ASKED:
            oldest = next(iter(self._asked))
            self._asked[oldest] = self._asked.pop(oldest)  # to the end: another one is the next
            if not self._streams[oldest].subscribers:
                self._remove(oldest)

    def _limit_bytes(self) -> None:
        while self._bytes > base.MAX_MEMORY_BYTES:
            group, _ = self._kept.popitem(last=False)
            self._streams[group].clear()

    def _remove(self, group: str) -> None:
        self._streams.pop(group).clear()
        self._asked.pop(group, None)
        self._kept.pop(group, None)

    def _count(self, bytes: int) -> None:
        self._bytes += bytes


class _Subscriber:
    """The broadcasts that an event loop has not taken yet, in order, from whichever thread."""

    __slots__ = ("on_broadcast", "waiting")

    def __init__(self, on_broadcast: OnBroadcast) -> None:
        self.on_broadcast = on_broadcast
        self.waiting: deque[Broadcast] = deque()

    def take(self) -> None:
        while self.waiting:
            self.on_broadcast(self.waiting.popleft())


class _Stream:
    __slots__ = ("_broadcasts", "_bytes", "_count", "epoch", "seq", "subscribers", "used_at")

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count  # called with each change of its size
        self.epoch = token_hex(4)
        self.seq = 0
        self.used_at = 0.0
        self.subscribers: dict[asyncio.AbstractEventLoop, _Subscriber] = {}
        self._broadcasts: deque[tuple[float, Broadcast]] = deque()  # with the time of each
        self._bytes = 0

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.seq)

    def append(self, body: str, now: float) -> Broadcast:
        self.seq += 1
        broadcast = Broadcast(self.epoch, self.seq, body)
        self._broadcasts.append((now, broadcast))
        self._bytes += len(body)
        self._count(len(body) + OVERHEAD)
        while len(self._broadcasts) > base.MAX_MESSAGES or self._bytes > base.MAX_BYTES:
            self._drop()
        return broadcast

    def clear(self) -> None:
        while self._broadcasts:
            self._drop()

    def expire(self, now: float) -> None:
        while self._broadcasts and now - self._broadcasts[0][0] > base.MESSAGE_SECONDS:
            self._drop()

    def since(self, position: Position, now: float) -> list[Broadcast] | None:
        self.expire(now)
        missed = self.seq - position.seq
        if position.epoch != self.epoch or not 0 <= missed <= len(self._broadcasts):
            return None
        found = [broadcast for _, broadcast in islice(self._broadcasts, len(self._broadcasts) - missed, None)]
        return found if base.fits_replay(found) else None

    def _drop(self) -> None:
        _, broadcast = self._broadcasts.popleft()
        self._bytes -= len(broadcast.body)
        self._count(-len(broadcast.body) - OVERHEAD)
