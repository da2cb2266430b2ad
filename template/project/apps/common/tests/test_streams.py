"""Streams number, keep, and hand out what a page missed: in memory and in Redis or Valkey alike."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from apps.common.websockets import streams as module
from apps.common.websockets.redis_streams import RedisStreams
from apps.common.websockets.streams import MemoryStreams, Position, Streams, StreamsUnavailable


@pytest_asyncio.fixture(params=["memory", "redis"])
async def streams(request: pytest.FixtureRequest) -> AsyncIterator[Streams]:
    made = RedisStreams(request.getfixturevalue("valkey")) if request.param == "redis" else MemoryStreams()
    yield made
    await made.close()


def body(number: int, padding: int = 0) -> str:
    return f'{{"type":"tick","data":{{"n":{number},"p":"{"x" * padding}"}}}}'


async def heard(queue: asyncio.Queue, count: int) -> list[int]:
    return [(await asyncio.wait_for(queue.get(), 5)).seq for _ in range(count)]


async def test_numbers_go_up_by_one(streams):
    start = await streams.atop("room")
    assert [streams.append("room", body(n)).seq for n in range(3)] == [1, 2, 3]
    assert await streams.aappend("room", body(3)) == Position(start.epoch, 4)
    assert streams.top("room") == await streams.atop("room") == Position(start.epoch, 4)


async def test_each_group_has_numbers_of_its_own(streams):
    streams.append("room", body(0))
    assert (await streams.atop("hall")).seq == 0


async def test_hands_out_what_came_after_a_position(streams):
    start = await streams.atop("room")
    for n in range(5):
        streams.append("room", body(n))
    missed = await streams.since("room", Position(start.epoch, 3))
    assert [(each.epoch, each.seq, each.body) for each in missed] == [
        (start.epoch, 4, body(3)),
        (start.epoch, 5, body(4)),
    ]


async def test_nothing_was_missed_at_the_top(streams):
    top = streams.append("room", body(0))
    assert await streams.since("room", top) == []


@pytest.mark.parametrize("wrong", [("other", 0), (None, 9), (None, -1)])
async def test_knows_no_other_epoch_and_no_number_that_was_never_given(streams, wrong):
    top = streams.append("room", body(0))
    epoch, seq = wrong
    assert await streams.since("room", Position(epoch or top.epoch, seq)) is None


async def test_is_never_partial_when_the_oldest_frames_are_gone(streams, monkeypatch):
    monkeypatch.setattr(module, "MAX_FRAMES", 3)
    start = await streams.atop("room")
    for n in range(5):
        streams.append("room", body(n))
    assert await streams.since("room", Position(start.epoch, 1)) is None
    assert len(await streams.since("room", Position(start.epoch, 2))) == 3


async def test_keeps_no_more_bytes_than_it_may(streams, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    start = await streams.atop("room")
    for n in range(5):
        streams.append("room", body(n, padding=300))
    assert await streams.since("room", Position(start.epoch, 1)) is None
    assert len(await streams.since("room", Position(start.epoch, 3))) == 2


async def test_replays_no_more_bytes_than_it_may(streams, monkeypatch):
    monkeypatch.setattr(module, "MAX_REPLAY_BYTES", 1_000)
    start = await streams.atop("room")
    for n in range(5):
        streams.append("room", body(n, padding=300))
    assert await streams.since("room", start) is None
    assert len(await streams.since("room", Position(start.epoch, 3))) == 2


async def test_a_listener_hears_each_broadcast_in_order(streams):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.listen("room", queue.put_nowait)
    for n in range(50):
        await streams.aappend("room", body(n))
    assert await heard(queue, 50) == list(range(1, 51))


async def test_publishers_in_other_threads_do_not_overtake_each_other(streams):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.listen("room", queue.put_nowait)
    publish = lambda: [streams.append("room", body(n)) for n in range(100)]  # noqa: E731
    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert await heard(queue, 400) == list(range(1, 401))
    for thread in threads:
        thread.join()


async def test_a_listener_that_left_hears_nothing_more(streams):
    left, stays = asyncio.Queue(), asyncio.Queue()
    await streams.listen("room", left.put_nowait)
    await streams.listen("hall", stays.put_nowait)
    await streams.unlisten("room")
    streams.append("room", body(0))
    streams.append("hall", body(0))
    assert await heard(stays, 1) == [1]
    assert left.empty()


async def test_frames_expire_and_the_numbering_does_not(monkeypatch):
    streams = MemoryStreams()
    clock = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    top = streams.append("room", body(0))
    clock[0] += module.FRAME_SECONDS + 1
    assert await streams.since("room", top) == []
    assert await streams.since("room", Position(top.epoch, 0)) is None


async def test_a_stream_that_nobody_used_for_a_day_is_forgotten(monkeypatch):
    streams = MemoryStreams()
    clock = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    top = streams.append("room", body(0))
    clock[0] += module.STREAM_SECONDS + 1
    streams.top("hall")
    assert streams.top("room").epoch != top.epoch


async def test_a_server_that_came_back_from_an_older_snapshot_has_another_epoch(valkey_server):
    streams = RedisStreams(valkey_server.url)
    for n in range(3):
        streams.append("room", body(n))
    streams._sync.save()
    later = streams.append("room", body(3))
    valkey_server.stop()
    valkey_server.start()
    assert streams._sync.llen("websockets:{room}:frames") == 3
    assert streams.append("room", body(4)).epoch != later.epoch
    assert await streams.since("room", later) is None
    await streams.close()


async def test_what_could_not_be_published_is_told_by_another_epoch(valkey_server):
    streams = RedisStreams(valkey_server.url)
    before = streams.append("room", body(0))
    valkey_server.suspend()
    with pytest.raises(StreamsUnavailable):
        streams.append("room", body(1))
    valkey_server.resume()
    assert streams.append("room", body(2)).epoch != before.epoch
    assert await streams.since("room", before) is None
    await streams.close()


async def test_a_listener_is_told_that_it_may_have_missed_something(valkey_server):
    streams = RedisStreams(valkey_server.url)
    queue: asyncio.Queue = asyncio.Queue()
    await streams.listen("room", queue.put_nowait)
    valkey_server.stop()
    valkey_server.start()
    assert await asyncio.wait_for(queue.get(), 5) is None
    await streams.aappend("room", body(0))
    assert await heard(queue, 1) == [1]
    await streams.close()
