"""Broadcasts that were lost on the way, between a server and a subscription that both seem well."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from apps.common.testing import connect
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import get_streams, redis_lag_check

from .serving import PATH, PublicConsumer, serve


class Tick(Message):
    n: int


class LossyProxy:
    """To a Redis server. What it publishes may be lost on it, without a word to either end."""

    loses = False

    def __init__(self, url: str) -> None:
        self._port = int(url.rsplit(":", 1)[1])
        self.connections: set[asyncio.Task] = set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not (self.loses and re.search(rb"\bmessage\r\n", data)):
                    writer.write(data)
        writer.close()


@pytest_asyncio.fixture
async def way(valkey, settings, monkeypatch) -> AsyncIterator[LossyProxy]:
    """The one that the project takes."""
    monkeypatch.setattr(redis_lag_check, "CHECK_SECONDS", 0.05)
    way = LossyProxy(valkey)
    server = await asyncio.start_server(way.connect, "127.0.0.1", 0)
    settings.REDIS_URL = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    get_streams.cache_clear()
    yield way
    await get_hub().close()
    server.close()
    await asyncio.wait(way.connections, timeout=5)


@pytest.mark.django_db(transaction=True)
async def test_a_last_broadcast_that_is_lost_comes_late(way, caplog):
    async with connect(PATH, application=serve(PublicConsumer)) as client:
        await client.next_message("a greeting", lambda frame: frame["type"] == "welcome")
        for n in range(2):
            way.loses = True
            await abroadcast("room", Tick(n=n))
            await client.assert_broadcast("tick", n=n)
            way.loses = False
        await client.assert_silent()
    assert "Broadcasts were not received for 1 of 1 groups" in caplog.text


@pytest.mark.parametrize(
    ("delivered", "before", "now", "is_behind"),
    [
        (("a", 5), None, ("a", 6), False),  # perhaps it is under way
        (("a", 5), ("a", 5), ("a", 6), False),
        (("a", 6), ("a", 6), ("a", 6), False),
        (("a", 7), ("a", 6), ("a", 6), False),
        (("a", 5), ("a", 6), ("a", 6), True),
        (("a", 5), ("a", 6), ("a", 9), True),
        (("a", 5), ("a", 5), ("b", 1), False),
        (("a", 5), ("b", 1), ("b", 1), True),
        (("b", 0), ("b", 1), ("b", 1), True),
        (("c", 1), ("b", 1), ("c", 1), False),
        (("a", 5), ("a", 6), None, False),  # forgotten: the next broadcast has another epoch
    ],
)
def test_a_broadcast_is_missing_if_it_was_there_at_the_last_check(delivered, before, now, is_behind):
    delivered, before, now = (position and Position(*position) for position in (delivered, before, now))
    assert redis_lag_check.is_behind(delivered, before, now) is is_behind
