"""Pages and publishers while Redis or Valkey is unavailable."""

import asyncio

import pytest
import pytest_asyncio
from django.core.exceptions import SynchronousOnlyOperation

from apps.common.testing import Client, connect
from apps.common.websockets.broadcast import abroadcast, broadcast, stream_position
from apps.common.websockets.messages import Message
from apps.common.websockets.process import metrics
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.streams import get_streams

from .serving import PATH, PublicConsumer, serve
from .wire import until

pytestmark = pytest.mark.django_db(transaction=True)

LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"


class Tick(Message):
    n: int


@pytest_asyncio.fixture
async def store(valkey_server, settings):
    """A server on which this project keeps its streams."""
    settings.REDIS_URL = valkey_server.url
    host = {"address": valkey_server.url, "socket_timeout": 1, "socket_connect_timeout": 1}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYER, "CONFIG": {"hosts": [host]}}}
    get_streams.cache_clear()
    yield valkey_server
    await get_hub().close()


def page():
    return connect(PATH, application=serve(PublicConsumer))


async def welcome(one: Client):
    return (await one.next_message("a welcome", lambda frame: frame["type"] == "welcome"))["data"]


async def test_a_client_that_connects_meanwhile_is_closed_with_try_later(store):
    store.suspend()
    pages = [Client(PATH, "", "http://testserver", serve(PublicConsumer)) for _ in range(10)]
    # All at the same time, within one page's deadline: no page waits for the attempt of another.
    await asyncio.gather(*(each.open() for each in pages))
    await asyncio.gather(*(each.assert_closed(1013) for each in pages))
    store.resume()
    await pages[0].reconnect()
    assert (await welcome(pages[0]))["recovered"] is None
    for each in pages:
        await each.drop()


async def test_a_failed_broadcast_is_counted_and_pages_are_notified_afterwards(store, caplog):
    failed = metrics.counts()["failed_broadcasts"]
    resyncs = metrics.counts()["resyncs"]
    async with page() as one:
        await welcome(one)
        store.suspend()
        await asyncio.to_thread(broadcast, "room", Tick(n=1))
        store.resume()
        assert metrics.counts()["failed_broadcasts"] == failed + 1
        assert "A broadcast to room failed" in caplog.text
        await abroadcast("room", Tick(n=2))
        await one.next_message("a resync", lambda frame: frame["type"] == "resync")
        await abroadcast("room", Tick(n=3))
        await one.assert_broadcast("tick", n=3)
        assert metrics.counts()["resyncs"] > resyncs


async def test_pages_reload_after_a_failed_broadcast_without_another_one(store):
    async with page() as one:
        await welcome(one)
        store.suspend()
        await asyncio.to_thread(broadcast, "room", Tick(n=1))
        store.resume()
        await one.next_message("a resync", lambda frame: frame["type"] == "resync")
        await until(lambda: not get_streams()._failures._counts)  # until then a broadcast makes them reload, too
        await abroadcast("room", Tick(n=2))
        await one.assert_broadcast("tick", n=2)


async def test_what_was_broadcast_while_a_process_was_cut_off_reaches_its_pages(store):
    recovered = metrics.counts()["gaps_recovered"]
    async with page() as one:
        await welcome(one)
        get_streams()._sync.client_kill_filter(_type="pubsub")
        for n in range(3):
            await abroadcast("room", Tick(n=n))
        for n in range(3):
            await one.assert_broadcast("tick", n=n)
        await one.assert_silent()
        assert metrics.counts()["gaps_recovered"] == recovered + 1


async def test_a_position_that_is_not_known_is_no_failed_broadcast(store, caplog):
    failed = metrics.counts()["failed_broadcasts"]
    store.suspend()
    assert await asyncio.to_thread(stream_position, "room") is None
    store.resume()
    assert metrics.counts()["failed_broadcasts"] == failed
    assert "The position of room is unknown" in caplog.text


async def test_broadcast_in_async_code_raises_and_names_abroadcast():
    with pytest.raises(SynchronousOnlyOperation, match="await abroadcast"):
        broadcast("room", Tick(n=1))
