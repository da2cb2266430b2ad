"""Streams in Redis or Valkey, when something goes wrong."""

import asyncio
import time
from contextlib import suppress

import pytest
import pytest_asyncio
import redis

from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base as module
from apps.common.websockets.streams.base import StreamsUnavailable
from apps.common.websockets.streams.redis import RedisStreams

from .test_streams import body, sequence_numbers
from .wire import until


@pytest_asyncio.fixture
async def streams(valkey_server):
    streams = RedisStreams(valkey_server.url, "test")
    yield streams
    await streams.close()


async def test_a_server_that_restarted_from_an_older_snapshot_has_another_epoch(streams, valkey_server):
    for n in range(3):
        streams.append("room", body(n))
    streams._sync.save()
    later = streams.append("room", body(3))
    valkey_server.stop()
    valkey_server.start()
    assert streams._sync.llen("test:messages:room") == 3
    assert streams.append("room", body(4)).epoch != later.epoch
    assert await streams.since("room", later) is None


async def test_a_broadcast_that_could_not_be_published_changes_the_epoch(streams, valkey_server):
    before = streams.append("room", body(0))
    valkey_server.suspend()
    with pytest.raises(StreamsUnavailable):
        streams.append("room", body(1))
    valkey_server.resume()
    assert streams.append("room", body(2)).epoch != before.epoch
    assert await streams.since("room", before) is None


async def test_a_listener_is_notified_that_it_may_have_missed_something(streams, valkey_server):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    valkey_server.stop()
    valkey_server.start()
    assert await asyncio.wait_for(queue.get(), 5) is None
    await streams.aappend("room", body(0))
    assert await sequence_numbers(queue, 1) == [1]


async def test_what_was_under_way_when_another_failed_hides_no_failure(streams, monkeypatch):
    before = await streams.aappend("room", body(0))
    asked, answer = asyncio.Event(), asyncio.Event()
    append = streams._in_loop().scripts["append"]

    async def slow(*arguments):
        asked.set()
        await answer.wait()
        return await append(*arguments)

    monkeypatch.setitem(streams._in_loop().scripts, "append", slow)
    under_way = asyncio.create_task(streams.aappend("room", body(1)))
    await asked.wait()
    monkeypatch.setattr(streams._failures, "_run", lambda: None)  # only the next broadcast renews the epoch
    with suppress(module.StreamsUnavailable), streams._failures.watch("room"):
        raise module.StreamsUnavailable
    answer.set()
    assert (await under_way).epoch == before.epoch
    assert (await streams.aappend("room", body(2))).epoch != before.epoch
    assert (await streams.aappend("room", body(3))).seq == 2


async def test_history_is_kept_after_a_pause(streams, monkeypatch):
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 0.05)
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    for _ in range(3):
        for n in range(2):
            streams.append("room", body(n, padding=300))
        await until(lambda: not streams._sync.exists("test:messages:room"))
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 60)
    top = streams.append("room", body(0, padding=300))
    assert len(await streams.since("room", Position(top.epoch, top.seq - 1))) == 1


async def test_a_broadcast_that_is_too_large_to_keep_is_published_all_the_same(streams, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    top = await streams.aappend("room", body(0, padding=300))
    assert await sequence_numbers(queue, 1) == [1]
    assert await streams.since("room", Position(top.epoch, 0)) is None


async def test_a_listener_that_fails_costs_no_other_its_broadcasts(streams, caplog):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe_control(lambda order: 1 / 0, lambda: None)
    await streams.subscribe("room", queue.put_nowait)
    assert await asyncio.to_thread(streams.publish_command, {"drain": "1", "host": "x"})
    await until(lambda: "ZeroDivisionError" in caplog.text)
    await streams.aappend("room", body(0))
    assert await sequence_numbers(queue, 1) == [1]


async def test_a_message_that_cannot_be_read_disturbs_no_listener(streams, caplog):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    streams._sync.publish("test:live:room", b"\xff")
    assert await asyncio.wait_for(queue.get(), 5) is None
    await streams.aappend("room", body(0))
    assert await sequence_numbers(queue, 1) == [1]


async def test_a_storm_waits_for_its_turn(streams):
    positions = await asyncio.gather(*(streams.aappend("room", body(n)) for n in range(300)))
    assert sorted(position.seq for position in positions) == list(range(1, 301))


@pytest.mark.parametrize("turns", range(8))
async def test_one_may_come_while_the_last_one_leaves(turns, streams):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    leaving = asyncio.create_task(streams.unsubscribe("room"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await streams.subscribe("hall", queue.put_nowait)
    await leaving
    await streams.aappend("hall", body(0))
    assert await sequence_numbers(queue, 1) == [1]
    await streams.unsubscribe("hall")
    await streams.subscribe("room", queue.put_nowait)


@pytest.mark.parametrize("turns", range(8))
async def test_a_broadcast_under_way_is_finished_when_the_last_one_leaves(turns, streams):
    await streams.subscribe("room", lambda broadcast: None)
    under_way = asyncio.create_task(streams.aappend("hall", body(0)))
    for _ in range(turns):
        await asyncio.sleep(0)
    await streams.unsubscribe("room")
    assert (await under_way).seq == 1


async def test_no_task_is_left_without_a_listener(streams):
    before = asyncio.all_tasks()
    await streams.subscribe("room", lambda broadcast: None)
    assert {task.get_name() for task in asyncio.all_tasks() - before} == {
        "The receiving of broadcasts",
        "The search for lost broadcasts",
    }
    await streams.unsubscribe("room")
    await until(lambda: asyncio.all_tasks() == before)


async def test_broadcasts_of_the_same_moment_share_a_round_trip_and_keep_their_order(streams, valkey_server):
    await streams.aappend("room", body(0))
    client = redis.Redis.from_url(valkey_server.url)
    before = client.info("stats")["total_reads_processed"]
    tasks = [asyncio.create_task(streams.aappend("room", body(n))) for n in range(1, 101)]
    tasks[50].cancel()  # before it has begun
    positions = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each.seq for each in positions if isinstance(each, Position)] == [*range(2, 101)]
    assert client.info("stats")["total_reads_processed"] - before < 20


@pytest.mark.parametrize("turns", range(8))
def test_an_event_loop_that_ends_amid_a_broadcast_leaves_no_connection(turns, valkey_server):
    client = redis.Redis.from_url(valkey_server.url)
    streams = RedisStreams(valkey_server.url, "test")
    calls = []

    async def publish():
        await streams.aappend("room", body(0))
        calls.append(asyncio.create_task(streams.aappend("room", body(1))))
        for _ in range(turns):
            await asyncio.sleep(0)

    before = {each["id"] for each in client.client_list()}
    asyncio.run(publish())
    deadline = time.monotonic() + 5
    while left := {each["id"] for each in client.client_list()} - before:
        assert time.monotonic() < deadline, left


async def test_a_publisher_that_is_cancelled_disturbs_no_other(streams):
    await streams.aappend("room", body(0))
    tasks = [asyncio.create_task(streams.aappend("room", body(n))) for n in range(1, 4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first.seq, type(second), third.seq) == (2, asyncio.CancelledError, 4)


async def test_a_server_that_has_lost_its_scripts_is_sent_them_again(streams, valkey_server):
    await streams.aappend("room", body(0))
    redis.Redis.from_url(valkey_server.url).script_flush()
    assert (await streams.aappend("room", body(1))).seq == 2
