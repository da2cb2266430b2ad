"""Broadcasts that were lost on the way, between a server and a subscription that both seem well."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from apps.common.testing import connect
from apps.common.tests.redis_proxy import RedisProxy, redis_proxy
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import get_streams, redis_lag_check

from .serving import PATH, PublicConsumer, serve


class Tick(Message):
    n: int


@pytest_asyncio.fixture
async def way(valkey, settings, monkeypatch) -> AsyncIterator[RedisProxy]:
    """The one that the project takes."""
    monkeypatch.setattr(redis_lag_check, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(redis_lag_check, "ARRIVAL_SECONDS", 0.05)
    async with redis_proxy(valkey) as way:
        settings.REDIS_URL = way.url
        get_streams.cache_clear()
        yield way
        await get_hub().close()


@pytest.mark.django_db(transaction=True)
async def test_a_last_broadcast_that_is_lost_comes_late(way, caplog):
    async with connect(PATH, application=serve(PublicConsumer)) as client:
        await client.next_message("a greeting", lambda frame: frame["type"] == "welcome")
        for n in range(2):
            way.loses_messages = True
            await abroadcast("room", Tick(n=n))
            await client.assert_broadcast("tick", n=n)
            way.loses_messages = False
        await client.assert_silent()
    assert "Broadcasts were not received for 1 of 1 groups" in caplog.text


@pytest.mark.parametrize(
    ("before", "now", "top", "is_behind"),
    [
        (("a", 5), ("a", 5), ("a", 6), True),
        (("a", 5), ("a", 6), ("a", 6), False),
        (("a", 5), ("a", 7), ("a", 6), False),
        (("a", 5), ("a", 5), ("b", 1), True),
        (("a", 5), ("b", 1), ("b", 1), False),
        (("a", 5), ("c", 1), ("b", 1), False),  # renewed again meanwhile
        (("a", 5), ("b", 0), ("b", 1), True),
    ],
)
def test_a_broadcast_is_missing_if_it_does_not_arrive_in_time(before, now, top, is_behind):
    before, now, top = (Position(*position) for position in (before, now, top))
    assert redis_lag_check.is_behind(before, now, top) is is_behind
