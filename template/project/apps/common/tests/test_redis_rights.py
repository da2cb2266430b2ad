"""The user that the guide makes in Redis can do what the project needs, and no more; sites on one server are apart."""

import asyncio
import re
from pathlib import Path

import pytest
import redis
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured

from apps.common.redis_url import redis_prefix
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base
from apps.common.websockets.streams.redis import RedisStreams

from .test_streams import body
from .wire import until

GUIDE = Path(project.BASE_DIR) / "docs" / "websockets.md"


def rule() -> list[str]:
    """The rights that the guide lists."""
    [text] = re.findall(r"^ACL SETUSER (site [^`]*)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    return text.replace("my-project", "site").split()


@pytest.fixture
def url(valkey) -> str:
    """The server's address, for the user of the guide."""
    redis.Redis.from_url(valkey).execute_command("ACL", "SETUSER", *rule())
    return valkey.replace("redis://", "redis://site:password@") + "/1"


async def test_a_user_with_least_rights_is_enough(url, valkey, monkeypatch):
    monkeypatch.setattr(base, "MAX_ASKED", 1)
    monkeypatch.setattr(base, "MAX_MESSAGES", 1)
    prefix = redis_prefix("site", url)
    streams, received = RedisStreams(url, prefix), asyncio.Queue()
    before = await streams.atop("room")
    await streams.subscribe("room", received.put_nowait, lambda: before)
    await streams.subscribe_control(received.put_nowait, lambda: None)
    await streams._in_loop().lag_check._check()
    streams._in_loop().lag_check.remove("room")  # this test's position never advances
    for seq in (1, 2):
        assert streams.append("room", body(0)).seq == seq
        assert (await asyncio.wait_for(received.get(), 5)).seq == seq
    assert len(await streams.since("room", Position(before.epoch, 1))) == 1
    streams.top("hall")
    assert streams.mark("room", "a change")
    assert streams.is_followed("room")
    await streams._end_marks("room")
    streams.unmark("room", ["a change"])
    assert await asyncio.to_thread(streams.publish_command, {"drain": "1", "host": "here"})
    assert (await asyncio.wait_for(received.get(), 5))["drain"] == "1"
    assert (await streams.last_drain("here"))[1] == 1
    await asyncio.to_thread(streams._renew, "room")
    assert (await asyncio.wait_for(received.get(), 5)).seq == 0
    await streams.unsubscribe("room")
    await streams.unsubscribe_control()
    await streams.close()
    layer = RedisPubSubChannelLayer(hosts=[url], prefix=prefix)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.group_send("room", {"type": "broadcast_message"})
    assert (await asyncio.wait_for(layer.receive(channel), 5))["type"] == "broadcast_message"
    await layer.group_discard("room", channel)
    await layer.flush()
    calls = redis.Redis.from_url(valkey, decode_responses=True).info("commandstats")
    used = {name.removeprefix("cmdstat_") for name, each in calls.items() if each["calls"]}
    used -= {"acl|setuser", "client|setinfo", "config|get", "auth", "hello"}  # the administrator's; no right needed
    used |= {"info", "ping"}  # in each script; by a subscription after a second of silence
    assert {f"+{name}" for name in used} == {word for word in rule() if word.startswith("+")}


async def test_a_user_with_least_rights_sees_no_other_site(url):
    other = RedisStreams(url, redis_prefix("another", url))
    with pytest.raises(Exception, match="permission"):
        other.append("room", body(0))
    other._failures._counts.clear()


async def test_another_site_with_the_same_prefix_is_logged(valkey, settings, caplog):
    for secret, fallbacks in (("one", []), ("two", ["one"])):
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = secret, fallbacks
        streams = RedisStreams(valkey, "test")
        await streams.subscribe_control(lambda command: None, lambda: None)
        await streams.close()
    assert "WEBSOCKET_PREFIX" not in caplog.text
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "three", []
    await streams.subscribe_control(lambda command: None, lambda: None)
    await streams.close()
    await until(lambda: "WEBSOCKET_PREFIX" in caplog.text)


def test_a_prefix_has_the_name_and_the_database():
    prefixes = {
        redis_prefix(name, url)
        for name in ("shop", "blog")
        for url in ("redis://h:6379/0", "redis://h:6379/1", "rediss://h?db=2", "unix:///run/redis.sock?db=3")
    }
    assert len(prefixes) == 8
    same = {redis_prefix("shop", url) for url in ("redis://h", "redis://h/", "redis://h/0", "redis://h?db=0")}
    assert same == {"{shop:0}"}
    with pytest.raises(ImproperlyConfigured, match="WEBSOCKET_PREFIX"):
        redis_prefix("my shop", "redis://h")
