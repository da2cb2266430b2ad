"""The Pub/Sub subscription of one event loop to Redis or Valkey."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from apps.common.websockets.service import Service
from apps.common.websockets.streams.base import StreamsUnavailable

logger = logging.getLogger(__name__)

CONFIRM_SECONDS = 3.0  # that the server may take for a subscription
RETRY_SECONDS = 0.25
QUIET_SECONDS = 1.0  # without a message, until the server is asked whether it is there
MAX_UNANSWERED = 3  # of these questions; then the connection is taken for half open

# Called with each message of a channel, or with None if some may be missing.
OnMessage = Callable[[str | None], Any]


class Listener:
    """One connection for all channels, opened with the first of them and closed with the last."""

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)
        self._callbacks: dict[str, OnMessage] = {}
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._lock = asyncio.Lock()  # serialises subscribing and closing
        self._reader = Service("The receiving of broadcasts", self._read)
        self._has_begun = False
        self._is_stale = False
        self._unanswered = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is no subscription."""
        return not self._callbacks

    async def subscribe(self, channel: str, on_message: OnMessage) -> None:
        """Returns when the server has confirmed: every message published from now on is received."""
        self._callbacks[channel] = on_message
        confirmed = self._confirmed[channel] = asyncio.get_running_loop().create_future()
        try:
            async with self._lock:
                await self._pubsub.subscribe(channel)
                self._reader.start()
            await asyncio.wait_for(asyncio.shield(confirmed), CONFIRM_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            self._forget(channel)  # without UNSUBSCRIBE, which the server would not answer either
            async with self._lock:
                await self._stop_if_idle()
            raise StreamsUnavailable(str(error)) from error

    async def unsubscribe(self, channel: str) -> None:
        """Undo subscribe()."""
        self._forget(channel)
        async with self._lock:
            try:
                await self._pubsub.unsubscribe(channel)
            except (RedisError, OSError):
                logger.debug("Nothing to unsubscribe from", exc_info=True)
            await self._stop_if_idle()

    async def close(self) -> None:
        """End all subscriptions."""
        self._callbacks.clear()
        async with self._lock:
            await self._stop_if_idle()

    def _forget(self, channel: str) -> None:
        self._callbacks.pop(channel, None)
        self._confirmed.pop(channel, None)

    def renew(self) -> None:
        """Subscribe again, within a second; each callback is then called with None."""
        self._is_stale = True

    async def _stop_if_idle(self) -> None:
        if not self.is_idle:
            return
        if reader := self._reader.stop():
            await asyncio.wait([reader])
        self._has_begun = False
        await self._pubsub.aclose()

    async def _read(self) -> None:
        self._is_stale |= self._has_begun  # it is restarted
        self._has_begun = True
        while True:
            try:
                # A fraction of a second: get_message holds nothing that a subscription needs meanwhile.
                message = await self._pubsub.get_message(timeout=QUIET_SECONDS)
                await self._check_health(is_quiet=message is None)
                self._take(message)
                if self._is_stale:
                    await self._reconnect()
            except (RedisError, OSError):
                logger.warning("The stream store is unavailable")
                await self._reconnect()
            except Exception:
                # Such as text in another encoding, from another program: this process must not stop receiving because
                # of it.
                logger.exception("A message could not be read")
                await self._reconnect()

    async def _check_health(self, is_quiet: bool) -> None:
        if not is_quiet:
            self._unanswered = 0
        elif self._unanswered == MAX_UNANSWERED:
            raise RedisConnectionError("The server does not answer.")
        else:
            self._unanswered += 1
            await self._pubsub.ping()

    def _take(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        channel = message["channel"]
        if message["type"] == "message":
            self._deliver(channel, message["data"])
        elif message["type"] == "subscribe" and channel in self._confirmed:
            if not self._confirmed[channel].done():
                self._confirmed[channel].set_result(None)
            else:
                self._deliver(channel, None)  # a second confirmation: the connection was lost in between

    def _deliver(self, channel: str, text: str | None) -> None:
        if channel not in self._callbacks:
            return
        try:
            self._callbacks[channel](text)
        except Exception:
            # One failing callback must not affect the others.
            logger.exception("A message of %s could not be handled", channel)

    async def _reconnect(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                async with self._lock:
                    self._unanswered = 0
                    await self._pubsub.aclose()
                    await self._pool.disconnect(inuse_connections=False)  # idle ones may lead to the same server
                    # Confirmations follow, as at first, and each callback is called with None.
                    await self._pubsub.subscribe(*self._callbacks)
                logger.warning("The stream store is available again")
                self._is_stale = False
                return
            except Exception as error:  # of any kind: nothing else would try again
                logger.debug("Not yet: %r", error)
