"""Broadcasts and commands while connections die, servers are replaced, and answers are lost."""

import asyncio
import os
import subprocess
import sys

import pytest
import pytest_asyncio
import redis

from apps.common.tests.redis_proxy import redis_proxy
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base, redis_call, redis_failures, redis_lag_check
from apps.common.websockets.streams import redis as module
from apps.common.websockets.streams.base import StreamsUnavailable
from apps.common.websockets.streams.redis import RedisStreams

from . import valkey as valkeys
from .test_streams import body
from .wire import until

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@pytest_asyncio.fixture
async def proxy(valkey_server):
    async with redis_proxy(valkey_server.url) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def streams(proxy):
    streams = RedisStreams(proxy.url, "test")
    yield streams
    await streams.close()


@pytest.fixture
def other_server(tmp_path):
    """One more server, which replaces the first one."""
    (tmp_path / "other").mkdir()
    server = valkeys.ValkeyServer(valkeys.find(), tmp_path / "other")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def quick_check(monkeypatch):
    monkeypatch.setattr(redis_lag_check, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(redis_lag_check, "ARRIVAL_SECONDS", 0.1)


def server(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


async def append(streams, is_async: bool, number: int = 0) -> Position:
    if is_async:
        return await streams.aappend("room", body(number))
    return await asyncio.to_thread(streams.append, "room", body(number))


async def bodies(url: str) -> list[str]:
    return [entry.split(" ", 2)[2] for entry in server(url).lrange("test:messages:room", 0, -1)]


async def received(queue: asyncio.Queue, text: str) -> None:
    """Returns when a broadcast with this body has arrived."""
    async with asyncio.timeout(10):
        while (item := await queue.get()) is None or item.body != text:
            pass


def demote(valkey_server, other_server) -> None:
    port = other_server.url.rsplit(":", 1)[1]
    server(valkey_server.url).replicaof("127.0.0.1", port)


@BOTH
async def test_a_broadcast_follows_to_the_new_primary(streams, proxy, valkey_server, other_server, is_async):
    await append(streams, is_async)
    demote(valkey_server, other_server)
    proxy.lead_to(other_server.url)
    assert (await append(streams, is_async, 1)).seq == 1
    assert await bodies(other_server.url) == [body(1)]


@pytest.mark.usefixtures("quick_check")
async def test_a_command_follows_to_the_new_primary(streams, proxy, valkey_server, other_server):
    commands: asyncio.Queue = asyncio.Queue()
    await streams.subscribe_control(commands.put_nowait, lambda: commands.put_nowait("gap"))
    server(valkey_server.url).replicaof("127.0.0.1", 1)  # a primary that does not answer
    proxy.lead_to(other_server.url)
    assert await asyncio.wait_for(commands.get(), 5) == "gap"
    assert await asyncio.to_thread(streams.publish_command, {"recheck": "7"})
    assert await asyncio.wait_for(commands.get(), 5) == {"recheck": "7"}


@pytest.mark.usefixtures("quick_check")
@pytest.mark.parametrize("is_demoted", [True, False], ids=["demoted", "left as it was"])
async def test_a_process_that_only_listens_follows_too(streams, proxy, valkey_server, other_server, is_demoted):
    queue: asyncio.Queue = asyncio.Queue()
    position, _ = await asyncio.gather(streams.atop("room"), streams.atop("hall"))  # over two connections
    await streams.subscribe("room", queue.put_nowait, lambda: position)
    if is_demoted:
        demote(valkey_server, other_server)
    proxy.lead_to(other_server.url)
    another = RedisStreams(other_server.url, "test")
    another.append("room", body(0))
    assert await asyncio.wait_for(queue.get(), 20) is None
    streams._in_loop().lag_check.remove("room")  # this test's position never advances
    await streams.subscribe("hall", queue.put_nowait)  # confirmed by the new one
    another.append("room", body(1))
    await received(queue, body(1))


@BOTH
async def test_a_half_open_connection_loses_no_broadcast(streams, proxy, is_async):
    await append(streams, is_async)
    proxy.freeze()
    assert (await append(streams, is_async, 1)).seq == 2


@BOTH
async def test_a_connection_that_the_server_closed_loses_no_broadcast(streams, valkey_server, is_async):
    await append(streams, is_async)
    server(valkey_server.url).client_kill_filter(_type="normal", skipme=True)
    assert (await append(streams, is_async, 1)).seq == 2


async def test_a_half_open_subscription_is_replaced(streams, proxy, monkeypatch):
    monkeypatch.setattr("apps.common.websockets.streams.redis_listener.QUIET_SECONDS", 0.1)
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    proxy.freeze()
    assert await asyncio.wait_for(queue.get(), 5) is None
    await append(streams, True)
    await received(queue, body(0))


@BOTH
@pytest.mark.parametrize("text", ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED 1 x:1", "NOREPLICAS"])
async def test_an_error_of_a_server_that_is_replaced_loses_no_broadcast(streams, monkeypatch, is_async, text):
    errors = [redis.ResponseError(text), redis.BusyLoadingError(text), redis.exceptions.ReadOnlyError(text)]
    scripts = streams._in_loop().scripts if is_async else streams._scripts
    script = scripts["append"]

    def fail(*arguments):
        if not errors:
            return script(*arguments)
        raise errors.pop()

    monkeypatch.setitem(scripts, "append", fail)
    assert (await append(streams, is_async)).seq == 1


@BOTH
async def test_a_broadcast_whose_answer_was_lost_is_kept_once(streams, proxy, valkey_server, is_async):
    await append(streams, is_async)
    proxy.loses_answers = True
    repeated = asyncio.create_task(append(streams, is_async, 1))
    await until(lambda: proxy.lost_answers)
    assert server(valkey_server.url).llen("test:messages:room") == 2
    proxy.loses_answers = False
    assert (await repeated).seq == 2
    assert (await append(streams, is_async, 2)).seq == 3
    assert await bodies(valkey_server.url) == [body(0), body(1), body(2)]


async def test_a_broadcast_that_may_be_kept_or_not_makes_the_pages_reload(streams, proxy, valkey_server, monkeypatch):
    first = await append(streams, True)
    monkeypatch.setattr(base, "MAX_BYTES", 10)  # too large to be kept: a retry cannot know
    proxy.loses_answers = True
    repeated = asyncio.create_task(append(streams, True, 1))
    await until(lambda: proxy.lost_answers)
    proxy.loses_answers = False
    again = await repeated
    assert (again.seq, again.epoch != first.epoch) == (1, True)


async def test_a_command_whose_answer_was_lost_arrives_once(streams, proxy, valkey_server):
    commands: asyncio.Queue = asyncio.Queue()
    other = RedisStreams(valkey_server.url, "test")
    await other.subscribe_control(commands.put_nowait, lambda: None)
    await asyncio.to_thread(streams.publish_command, {"recheck": "1"})
    proxy.loses_answers = True
    repeated = asyncio.create_task(asyncio.to_thread(streams.publish_command, {"recheck": "2"}))
    assert [await asyncio.wait_for(commands.get(), 5) for _ in range(2)] == [{"recheck": "1"}, {"recheck": "2"}]
    await until(lambda: proxy.lost_answers)
    proxy.loses_answers = False
    assert await repeated
    await asyncio.to_thread(streams.publish_command, {"recheck": "3"})
    assert await asyncio.wait_for(commands.get(), 5) == {"recheck": "3"}


@BOTH
async def test_a_broadcast_that_was_given_up_never_takes_effect(streams, valkey_server, is_async):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    await append(streams, is_async)
    valkey_server.suspend()
    with pytest.raises(StreamsUnavailable):
        await append(streams, is_async, 1)
    valkey_server.resume()  # it reads now what has waited in its sockets
    assert (await append(streams, is_async, 2)).seq == 1
    await append(streams, is_async, 3)
    seen = [""]
    while seen[-1] != body(3):
        seen.append(getattr(await asyncio.wait_for(queue.get(), 5), "body", ""))
    assert body(1) not in seen
    assert await bodies(valkey_server.url) == [body(2), body(3)]


async def test_a_command_that_was_given_up_never_takes_effect(streams, valkey_server):
    commands: asyncio.Queue = asyncio.Queue()
    await streams.subscribe_control(commands.put_nowait, lambda: None)
    await asyncio.to_thread(streams.publish_command, {"recheck": "1"})
    valkey_server.suspend()
    assert not await asyncio.to_thread(streams.publish_command, {"recheck": "2"})
    valkey_server.resume()
    assert await asyncio.to_thread(streams.publish_command, {"recheck": "3"})
    assert [await asyncio.wait_for(commands.get(), 5) for _ in range(2)] == [{"recheck": "1"}, {"recheck": "3"}]


async def test_connections_are_checked_after_a_command_that_was_given_up(streams, valkey_server):
    commands: asyncio.Queue = asyncio.Queue()
    await streams.subscribe_control(commands.put_nowait, lambda: commands.put_nowait("gap"))
    valkey_server.suspend()
    assert not await asyncio.to_thread(streams.publish_command, {"sign_out": "key"})
    valkey_server.resume()
    assert await asyncio.wait_for(commands.get(), 10) == "gap"


async def test_what_is_refused_a_connection_is_given_up_at_once_in_an_outage(monkeypatch):
    refused = RedisStreams("redis://127.0.0.1:1", "test")
    with pytest.raises(StreamsUnavailable):
        refused.append("room", body(0))
    attempts = []
    pause = redis_call.Call.pause
    monkeypatch.setattr(redis_call.Call, "pause", lambda call, error: attempts.append(error) or pause(call, error))
    for number in range(20):
        with pytest.raises(StreamsUnavailable):
            refused.append("room", body(number))
    assert len(attempts) == 20
    refused._failures._counts.clear()


async def test_subscribers_reload_after_a_failed_broadcast_without_another_one(streams, valkey_server, monkeypatch):
    monkeypatch.setattr(redis_failures, "RETRY_SECONDS", 0.05)
    queue: asyncio.Queue = asyncio.Queue()
    before = await streams.atop("room")
    await streams.subscribe("room", queue.put_nowait)
    valkey_server.suspend()
    with pytest.raises(StreamsUnavailable):
        await append(streams, False)
    valkey_server.resume()
    async with asyncio.timeout(10):
        while (notice := await queue.get()) is None:
            pass
    assert (notice.seq, notice.epoch != before.epoch) == (0, True)
    await until(lambda: not streams._failures._counts)


FAIL = """
import django
django.setup()
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import StreamsUnavailable
try:
    get_streams().append("room", "{}")
except StreamsUnavailable:
    print("failed", flush=True)
"""


async def test_subscribers_reload_after_a_failed_broadcast_of_a_process_that_has_ended(valkey_server):
    streams = RedisStreams(valkey_server.url, "{brief:0}")
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    valkey_server.suspend()
    environment = {**os.environ, "REDIS_URL": valkey_server.url, "WEBSOCKET_PREFIX": "brief", "DEBUG": "true"}
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    process = subprocess.Popen([sys.executable, "-c", FAIL], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert await asyncio.to_thread(process.stdout.readline) == "failed\n"
    valkey_server.resume()
    assert await asyncio.to_thread(process.communicate) == ("", None)
    async with asyncio.timeout(10):
        while (notice := await queue.get()) is None:
            pass
    assert notice.seq == 0
    await streams.close()


@pytest.mark.usefixtures("quick_check")
async def test_subscribers_reload_after_an_outage_in_which_any_process_may_have_failed(
    streams, valkey_server, monkeypatch
):
    monkeypatch.setattr(redis_lag_check, "EXIT_SECONDS", 1.0)
    monkeypatch.setattr(module, "LOOP_TIMEOUT", 0.5)
    queue: asyncio.Queue = asyncio.Queue()
    before = await streams.atop("room")
    await streams.subscribe("room", queue.put_nowait, lambda: before)
    check = streams._in_loop().lag_check
    valkey_server.suspend()
    await until(lambda: check._epochs)
    await asyncio.sleep(1.0)  # the outage that is meant here
    valkey_server.resume()
    async with asyncio.timeout(10):
        while (notice := await queue.get()) is None:
            pass
    assert (notice.seq, notice.epoch != before.epoch) == (0, True)


async def test_a_retry_says_since_when_the_first_attempt_may_have_been_kept():
    publish = redis_call.Publish(redis_call.Server(), [], ["body"], 2.0)
    _, (run, _, id, since, _) = publish.prepare()
    assert (run, since) == ("", "")
    assert not publish.is_answer([None, "0123456789ab", 1_000_000])  # it refuses a call that does not know its clock
    assert publish.pause(redis.ConnectionError()) == 0
    _, (run, deadline, again, since, _) = publish.prepare()
    assert (run, again) == ("0123456789ab", id)
    assert since < 1_000_000 < deadline <= since + 2_002
    with pytest.raises(StreamsUnavailable):
        publish.pause(redis.exceptions.NoPermissionError())


async def test_a_server_that_is_promoted_again_begins_another_epoch(streams, valkey_server, other_server):
    """It has its old data, without what the other one took meanwhile."""
    before = await streams.aappend("room", body(0))
    port = other_server.url.rpartition(":")[2]
    client = server(valkey_server.url)
    client.replicaof("127.0.0.1", port)
    client.replicaof("NO", "ONE")
    after = await streams.aappend("room", body(1))
    assert after.epoch != before.epoch
    assert await streams.since("room", before) is None


@pytest.mark.parametrize("which", ["_reader", "_service"])
async def test_a_task_of_the_subscriptions_that_is_ended_is_restarted(streams, quick_check, monkeypatch, which):
    monkeypatch.setattr("apps.common.websockets.service.RESTART_SECONDS", 0.01)
    arrived: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", arrived.put_nowait, lambda: Position("", 0))
    loop = streams._in_loop()
    service = loop.listener._reader if which == "_reader" else loop.lag_check._service
    ended = service._task
    ended.cancel()  # by any code
    await until(lambda: service._task not in (None, ended))
    await streams.aappend("room", body(7))
    await received(arrived, body(7))
