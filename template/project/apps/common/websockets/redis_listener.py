"""What one event loop hears from Redis or Valkey."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from apps.common.websockets.streams import StreamsUnavailable

logger = logging.getLogger(__name__)

CONFIRM_SECONDS = 3.0  # that the server may take for a subscription
RETRY_SECONDS = 0.25

# Called with each message of a channel, or with None if some may have been missed.
HearText = Callable[[str | None], Any]


class Listener:
    """One connection for all channels, made with the first of them and given back with the last."""

    def __init__(self, client: Redis) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)
        self._hears: dict[str, HearText] = {}
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._lock = asyncio.Lock()  # who subscribes must not meet who closes the connection
        self._reader: asyncio.Task[None] | None = None
        self._is_stale = False

    @property
    def is_idle(self) -> bool:
        """Whether it listens to nothing."""
        return not self._hears

    async def listen(self, channel: str, hear: HearText) -> None:
        """Returns when the server has confirmed: whatever is published from now on is heard."""
        self._hears[channel] = hear
        confirmed = self._confirmed[channel] = asyncio.get_running_loop().create_future()
        try:
            async with self._lock:
                await self._pubsub.subscribe(channel)
                self._start()
            await asyncio.wait_for(asyncio.shield(confirmed), CONFIRM_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._forget(channel)  # the server, which does not answer, is not asked to
            async with self._lock:
                await self._stop_if_idle()
            raise StreamsUnavailable(str(error)) from error

    async def unlisten(self, channel: str) -> None:
        """Undo listen()."""
        self._forget(channel)
        async with self._lock:
            try:
                await self._pubsub.unsubscribe(channel)
            except (RedisError, OSError):
                logger.debug("Nothing to unsubscribe from", exc_info=True)
            await self._stop_if_idle()

    async def close(self) -> None:
        """Hear nothing more."""
        self._hears.clear()
        async with self._lock:
            await self._stop_if_idle()

    def _forget(self, channel: str) -> None:
        self._hears.pop(channel, None)
        self._confirmed.pop(channel, None)

    def renew(self) -> None:
        """Subscribe anew, within a second, after which every listener is told that it may have missed something."""
        self._is_stale = True

    def _start(self) -> None:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="websocket streams")

    async def _stop_if_idle(self) -> None:
        if not self.is_idle:
            return
        reader, self._reader = self._reader, None
        if reader:
            reader.cancel()
            await asyncio.wait([reader])
        await self._pubsub.aclose()

    async def _read(self) -> None:
        while True:
            try:
                # A fraction of a second: get_message holds nothing that a subscription needs meanwhile.
                self._take(await self._pubsub.get_message(timeout=1.0))
                if self._is_stale:
                    await self._come_back()
            except (RedisError, OSError):
                logger.warning("The server that keeps the streams is away")
                await self._come_back()
            except Exception:
                # Such as text in another encoding, from another program: this process must not go deaf for it.
                logger.exception("A message could not be read")
                await self._come_back()

    def _take(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        channel = message["channel"]
        if message["type"] == "message":
            self._tell(channel, message["data"])
        elif message["type"] == "subscribe" and channel in self._confirmed:
            if not self._confirmed[channel].done():
                self._confirmed[channel].set_result(None)
            else:
                self._tell(channel, None)  # subscribed again: the connection was lost in between

    def _tell(self, channel: str, text: str | None) -> None:
        if channel not in self._hears:
            return
        try:
            self._hears[channel](text)
        except Exception:
            # One who cannot take a message must not cost the others theirs.
            logger.exception("A message of %s could not be taken", channel)

    async def _come_back(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                async with self._lock:
                    await self._pubsub.aclose()
                    # Confirmations follow, as at first, and tell each listener that there was a gap.
                    await self._pubsub.subscribe(*self._hears)
                logger.warning("The server that keeps the streams is back")
                self._is_stale = False
                return
            except Exception as error:  # whatever it is: nobody else would try again
                logger.debug("Not yet: %r", error)
