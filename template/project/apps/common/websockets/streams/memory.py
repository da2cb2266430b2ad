"""Streams in memory, for a single process."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from secrets import token_hex
from typing import Any

from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base
from apps.common.websockets.streams.base import Broadcast, Command, OnBroadcast


class MemoryStreams:
    """The streams of a single process. From any thread; each event loop is notified in its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._pruned_at = time.monotonic()

    def append(self, group: str, body: str) -> Position:
        now = time.monotonic()
        with self._lock:
            stream = self._stream(group, now)
            broadcast = stream.append(body, now)
            # Within the lock, so that no publisher overtakes another.
            for loop, on_broadcast in list(stream.subscribers.items()):
                try:
                    # In an empty context: in the publisher's, ORM work would wait for the publisher's thread.
                    loop.call_soon_threadsafe(on_broadcast, broadcast, context=Context())
                except RuntimeError:
                    if not loop.is_closed():
                        raise
                    del stream.subscribers[loop]
            return stream.position

    async def aappend(self, group: str, body: str) -> Position:
        return self.append(group, body)

    def top(self, group: str) -> Position:
        with self._lock:
            return self._stream(group, time.monotonic()).position

    async def atop(self, group: str) -> Position:
        return self.top(group)

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        with self._lock:
            now = time.monotonic()
            return self._stream(group, now).since(position, now)

    async def subscribe(
        self, group: str, on_broadcast: OnBroadcast, position: Callable[[], Position] | None = None
    ) -> None:
        with self._lock:
            self._stream(group, time.monotonic()).subscribers[asyncio.get_running_loop()] = on_broadcast

    async def unsubscribe(self, group: str) -> None:
        with self._lock:
            self._stream(group, time.monotonic()).subscribers.pop(asyncio.get_running_loop(), None)

    def publish_command(self, command: Command) -> bool:
        """Returns False: in memory, no other process is reached."""
        return False

    async def subscribe_control(self, on_command: Callable[[Command], Any]) -> None:
        """No effect: in memory, no other process sends commands."""

    async def unsubscribe_control(self) -> None:
        """No effect, as subscribe_control()."""

    async def close(self) -> None:
        """No effect: there is no connection to a server."""

    def _stream(self, group: str, now: float) -> "_Stream":
        if now - self._pruned_at > base.MESSAGE_SECONDS:
            self._prune(now)
        stream = self._streams.get(group)
        if stream is None:
            stream = self._streams[group] = _Stream()
        stream.used_at = now
        return stream

    def _prune(self, now: float) -> None:
        """Remove expired messages, and streams without use."""
        self._pruned_at = now
        for group, stream in list(self._streams.items()):
            stream.expire(now)
            # A stream without broadcasts expires early: there may be one for every URL that visitors tried.
            kept = base.STREAM_SECONDS if stream.seq else base.MESSAGE_SECONDS
            if not stream.subscribers and now - stream.used_at > kept:
                del self._streams[group]


class _Stream:
    __slots__ = ("_broadcasts", "_bytes", "epoch", "seq", "subscribers", "used_at")

    def __init__(self) -> None:
        self.epoch = token_hex(4)
        self.seq = 0
        self.used_at = 0.0
        self.subscribers: dict[asyncio.AbstractEventLoop, OnBroadcast] = {}
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
        while len(self._broadcasts) > base.MAX_MESSAGES or self._bytes > base.MAX_BYTES:
            self._drop()
        return broadcast

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
