"""Streams: numbered, bounded histories of groups' broadcasts, from which a client that reconnects gets what it missed.

Every broadcast of a group gets the next number of the group's stream and is kept for a while. A client connects with
its position, the number of the last broadcast that it received; it gets those after it, or a resync if any of them is
gone: never a part of them. A stream's epoch changes whenever its numbering restarts, so that no number is ambiguous.

The idea is that of Centrifugo's history and recovery: https://centrifugal.dev/docs/server/history_and_recovery
"""

from functools import cache

from django.conf import settings

from apps.common.redis_url import redis_prefix
from apps.common.websockets.streams.base import Streams
from apps.common.websockets.streams.memory import MemoryStreams


@cache
def get_streams() -> Streams:
    """The store of this project's streams: Redis or Valkey if REDIS_URL is set, else this process's memory."""
    if settings.REDIS_URL:
        from apps.common.websockets.streams.redis import RedisStreams

        name = getattr(settings, "WEBSOCKET_PREFIX", "websockets")  # common.W007 where it is missing
        return RedisStreams(settings.REDIS_URL, redis_prefix(name, settings.REDIS_URL))
    return MemoryStreams()
