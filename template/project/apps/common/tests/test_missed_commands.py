"""Commands that were published while the subscription to them was cut off."""

from collections.abc import AsyncIterator
from socket import gethostname

import pytest
import pytest_asyncio
from django.contrib.sessions.models import Session

from apps.common.testing import connect
from apps.common.tests.redis_proxy import RedisProxy, redis_proxy
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.registry import get_registry, is_draining
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.redis import RedisStreams

from .serving import PATH, PublicConsumer, serve
from .wire import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest_asyncio.fixture
async def proxy(valkey, settings, monkeypatch) -> AsyncIterator[RedisProxy]:
    """The way of this project to a server."""
    monkeypatch.setattr("apps.common.websockets.streams.redis_listener.QUIET_SECONDS", 0.1)
    async with redis_proxy(valkey) as proxy:
        settings.REDIS_URL = proxy.url
        get_streams.cache_clear()
        yield proxy
        await get_hub().close()


async def test_a_session_that_ended_meanwhile_is_closed(proxy, user):
    async with connect(PATH, user, application=serve(PublicConsumer)) as client:
        await client.next_message("a welcome", lambda message: message["type"] == "welcome")
        await Session.objects.all().adelete()
        proxy.freeze()
        await client.assert_closed(3000)


async def test_a_drain_that_was_requested_meanwhile_is_found(proxy, valkey, settings):
    async with connect(PATH, application=serve(PublicConsumer)) as client:
        await client.next_message("a welcome", lambda message: message["type"] == "welcome")
        proxy.freeze()
        other = RedisStreams(valkey, f"{{{settings.WEBSOCKET_PREFIX}:0}}")
        assert other.publish_command({"drain": "7", "host": gethostname()})
        draining = await client.next_message("draining", lambda message: message["type"] == "draining")
        assert draining["data"] == {"within": 7}
        assert is_draining()


async def test_a_drain_before_the_process_started_is_not_its_own(proxy, valkey, settings):
    other = RedisStreams(valkey, f"{{{settings.WEBSOCKET_PREFIX}:0}}")
    assert other.publish_command({"drain": "7", "host": gethostname()})
    async with connect(PATH, application=serve(PublicConsumer)) as client:
        await client.next_message("a welcome", lambda message: message["type"] == "welcome")
        registry = get_registry()
        await registry._find_drain()
        assert not registry.is_draining
        registry._started_at = 0
        await registry._find_drain()
        await until(lambda: registry.is_draining)
