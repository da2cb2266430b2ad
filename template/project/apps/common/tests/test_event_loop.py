"""The objects of an event loop end with it."""

import asyncio
import gc
import os
import threading
import time
from pathlib import Path

import pytest
import redis
from asgiref.sync import async_to_sync

from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.event_loop import of_all_loops, of_running_loop
from apps.common.websockets.messages import Message
from apps.common.websockets.streams import get_streams

CALLS = 500  # in each way


class Tick(Message):
    n: int


async def publish(n=0):
    await abroadcast("room", Tick(n=n))


def with_async_to_sync():
    for n in range(CALLS):
        async_to_sync(publish)(n)


def with_asyncio_run():
    for n in range(CALLS):
        asyncio.run(publish(n))


def in_threads():
    threads = [threading.Thread(target=lambda: [asyncio.run(publish()) for _ in range(CALLS // 5)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_forked_processes():
    for _ in range(5):
        pid = os.fork()
        if pid == 0:  # _exit: pytest goes on in the parent alone
            try:
                for n in range(CALLS // 5):
                    asyncio.run(publish(n))
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc, which Linux has")
@pytest.mark.parametrize("publish_many", [with_async_to_sync, with_asyncio_run, in_threads, in_forked_processes])
def test_publishing_leaves_nothing_open(publish_many, valkey, settings):
    settings.REDIS_URL = valkey
    get_streams.cache_clear()
    server = redis.Redis.from_url(valkey)
    asyncio.run(publish())
    before = what_is_open(server)
    publish_many()
    assert get_streams().top("room").seq == CALLS + 1
    get_streams()._sync.close()
    assert_open(server, before)
    get_streams.cache_clear()
    server.close()


def assert_open(server, before):
    """Nothing more than before, as soon as the server has noticed the end of the connections."""
    deadline = time.monotonic() + 5
    while (found := what_is_open(server)) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == before


def what_is_open(server):
    """Connections at the server, descriptors of this process, and event loops in its memory."""
    gc.collect()
    loops = sum(isinstance(each, asyncio.AbstractEventLoop) for each in gc.get_objects())
    return server.info("clients")["connected_clients"], len(list(Path("/proc/self/fd").iterdir())), loops


class Resource:
    closed = 0

    async def close(self):
        Resource.closed += 1


def test_an_object_is_made_once_for_each_loop_and_closed_with_it():
    async def use():
        assert of_running_loop(Resource) is of_running_loop(Resource)
        assert [made for _, made in of_all_loops(Resource)] == [of_running_loop(Resource)]

    Resource.closed = 0
    asyncio.run(use())
    asyncio.run(use())
    assert Resource.closed == 2
    assert of_all_loops(Resource) == []
