"""Streams number, keep, and hand out what a page missed: in memory and in Redis or Valkey alike."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base as module
from apps.common.websockets.streams import memory
from apps.common.websockets.streams.base import Streams
from apps.common.websockets.streams.memory import MemoryStreams
from apps.common.websockets.streams.redis import RedisStreams


@pytest_asyncio.fixture(params=["memory", "redis"])
async def streams(request: pytest.FixtureRequest) -> AsyncIterator[Streams]:
    made = RedisStreams(request.getfixturevalue("valkey"), "test") if request.param == "redis" else MemoryStreams()
    yield made
    await made.close()


def body(number: int, padding: int = 0) -> str:
    return f'{{"type":"tick","data":{{"n":{number},"p":"{"x" * padding}"}}}}'


async def sequence_numbers(queue: asyncio.Queue, count: int) -> list[int]:
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
    monkeypatch.setattr(module, "MAX_MESSAGES", 3)
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


async def test_a_listener_receives_each_broadcast_in_order(streams):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    for n in range(50):
        await streams.aappend("room", body(n))
    assert await sequence_numbers(queue, 50) == list(range(1, 51))


async def test_publishers_in_other_threads_do_not_overtake_each_other(streams):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    publish = lambda: [streams.append("room", body(n)) for n in range(100)]  # noqa: E731
    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert await sequence_numbers(queue, 400) == list(range(1, 401))
    for thread in threads:
        thread.join()


async def test_a_publisher_in_the_subscribers_loop_does_not_overtake_those_in_threads(streams):
    queue: asyncio.Queue = asyncio.Queue()
    await streams.subscribe("room", queue.put_nowait)
    for n in range(20):
        thread = threading.Thread(target=streams.append, args=("room", body(n)))
        thread.start()
        thread.join()
        await streams.aappend("room", body(n))
    assert await sequence_numbers(queue, 40) == list(range(1, 41))


async def test_a_listener_that_left_receives_nothing_more(streams):
    left, stays = asyncio.Queue(), asyncio.Queue()
    await streams.subscribe("room", left.put_nowait)
    await streams.subscribe("hall", stays.put_nowait)
    await streams.unsubscribe("room")
    streams.append("room", body(0))
    streams.append("hall", body(0))
    assert await sequence_numbers(stays, 1) == [1]
    assert left.empty()


async def test_frames_expire_and_the_numbering_does_not(monkeypatch):
    streams = MemoryStreams()
    clock = [1000.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: clock[0])
    top = streams.append("room", body(0))
    clock[0] += module.MESSAGE_SECONDS + 1
    assert await streams.since("room", top) == []
    assert await streams.since("room", Position(top.epoch, 0)) is None


async def test_frames_expire_also_while_others_come(streams, monkeypatch):
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 0.02)
    start = await streams.aappend("room", body(0))
    async with asyncio.timeout(5):
        while await streams.since("room", Position(start.epoch, 0)) is not None:
            await streams.aappend("room", body(1))
            await asyncio.sleep(0)
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 60)  # so that the next one does not expire before it is asked for
    top = await streams.aappend("room", body(2))
    assert len(await streams.since("room", Position(top.epoch, top.seq - 1))) == 1


async def test_the_oldest_of_too_many_streams_without_a_broadcast_is_dropped(streams, monkeypatch):
    monkeypatch.setattr(module, "MAX_ASKED", 2)
    used, asked = streams.append("used", body(0)), streams.top("first")
    for group in ("second", "third"):
        streams.top(group)
    assert streams.top("used") == used
    second = streams.top("second")
    assert streams.top("first").epoch != asked.epoch
    assert (await streams.aappend("third", body(0))).seq == 1
    assert streams.top("second").epoch != second.epoch


async def test_memory_keeps_so_many_bytes_of_all_streams_and_drops_the_oldest(monkeypatch):
    monkeypatch.setattr(module, "MAX_MEMORY_BYTES", 3_000)
    streams = MemoryStreams()
    old, new = streams.top("old"), streams.top("new")
    streams.append("old", body(0, padding=1_000))
    for number in range(2):
        streams.append("new", body(number, padding=1_000))
    assert await streams.since("old", old) is None
    assert len(await streams.since("new", new)) == 2
    assert streams.append("old", body(1)).seq == 2


async def test_a_stream_without_a_broadcast_expires_first(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: clock[0])
    streams = MemoryStreams()
    asked, used = streams.top("asked"), streams.append("used", body(0))
    clock[0] += module.ASKED_SECONDS + 1
    streams.top("hall")
    assert streams.top("asked").epoch != asked.epoch
    assert streams.top("used") == used


async def test_a_stream_without_use_for_a_day_expires(monkeypatch):
    streams = MemoryStreams()
    clock = [1000.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: clock[0])
    top = streams.append("room", body(0))
    clock[0] += module.STREAM_SECONDS + 1
    streams.top("hall")
    assert streams.top("room").epoch != top.epoch
