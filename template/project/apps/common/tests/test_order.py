import asyncio
from contextlib import suppress

import pytest
from channels.exceptions import DenyConnection, StopConsumer
from channels.layers import get_channel_layer

from apps.common.testing import connect
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message, MessageError

from .serving import PATH, PublicConsumer, connections, consumers, members, serve
from .wire import CONNECT, DISCONNECT, Wire, text, until

REQUESTS = 100


class Fast(Message):
    n: int


class Slow(Message):
    n: int


class Done(Message):
    n: int


class Late(Message):
    pass


class Parallel(Message):
    fails: bool


class Stubborn(Message):
    pass


class LeaveMe(Message):
    pass


class SlowBroadcast(Message):
    pass


class SlowJoin(Message):
    pass


class QueueConsumer(PublicConsumer):
    async def connect(self):
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()
        self.log = LOG
        await super().connect()

    async def wait(self):
        self.waiting.set()
        await self.release.wait()

    async def handle_fast(self, data: Fast) -> Done:
        return Done(n=data.n)

    async def handle_slow(self, data: Slow) -> Done:
        try:
            await self.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        return Done(n=data.n)

    async def handle_late(self, data: Late) -> None:
        try:
            async with asyncio.timeout(0):
                await self.wait()
        except TimeoutError:
            raise MessageError("late", "it took too long") from None

    async def handle_parallel(self, data: Parallel) -> Done:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait() if data.fails else asyncio.sleep(0))
            group.create_task(_fail() if data.fails else asyncio.sleep(0))
        return Done(n=0)

    async def handle_stubborn(self, data: Stubborn) -> None:
        with suppress(asyncio.CancelledError):
            await self.wait()
        self.log.append("swallowed")

    async def handle_slow_broadcast(self, data: SlowBroadcast) -> None:
        await self.wait()
        await self.broadcast(Done(n=1))
        self.log.append("done")

    async def handle_slow_join(self, data: SlowJoin) -> None:
        await self.wait()
        await self.join("hall")
        self.log.append("joined")

    async def handle_leave_me(self, data: LeaveMe) -> None:
        task = asyncio.ensure_future(self.wait())
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    async def disconnect(self, code):
        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:  # which a cancellation left over would break
                group.create_task(_fail())
        self.log.append(code)


LOG: list = []


@pytest.fixture(autouse=True)
def log():
    LOG.clear()
    return LOG


def page(raise_exceptions=True, **attributes):
    return connect(PATH, application=serve(QueueConsumer, **attributes), raise_exceptions=raise_exceptions)


async def slow_page(one, type="slow", **data):
    """Sends something slow; returns the consumer when its handler waits."""
    await one.send(type, **data)
    [consumer] = consumers()
    await asyncio.wait_for(consumer.waiting.wait(), 5)
    return consumer


async def _fail():
    raise ValueError


# ---------------------------------------------------------------------------------------------------------------------
# In order, and without blocking
# ---------------------------------------------------------------------------------------------------------------------


async def test_a_hundred_requests_are_answered_in_order():
    async with page() as one:
        for n in range(REQUESTS):
            await one.send("slow" if n % 3 == 1 else "fast", n=n)
        await one.assert_broadcast("done", n=0)
        [consumer] = consumers()
        consumer.release.set()
        answers = [(await one.assert_broadcast("done"))["data"]["n"] for _ in range(1, REQUESTS)]
        assert answers == list(range(1, REQUESTS))


async def test_a_ping_does_not_wait_for_a_handler():
    async with page() as one:
        consumer = await slow_page(one, n=1)
        await one.assert_silent()
        consumer.release.set()
        await one.assert_broadcast("done", n=1)


async def test_what_is_too_large_is_refused_before_a_handler_is_done():
    async with page() as one:
        consumer = await slow_page(one, n=1)
        await one.send_text("x" * (QueueConsumer.max_bytes + 1))
        await one.assert_error("too_large")
        consumer.release.set()


async def test_a_broadcast_does_not_wait_for_a_handler():
    async with page() as one:
        consumer = await slow_page(one, n=1)
        await abroadcast("room", Done(n=7))
        await one.assert_broadcast("done", n=7)
        consumer.release.set()


async def test_an_event_of_the_channel_layer_does_not_wait_for_a_handler():
    async with page() as one:
        consumer = await slow_page(one, n=1)
        await get_channel_layer().group_send("room", {"type": "broadcast_message", "data": Done(n=8).to_wire()})
        await one.assert_broadcast("done", n=8)
        consumer.release.set()


async def test_a_full_inbox_refuses_what_comes_and_handles_what_waits():
    async with page(inbox_limit=2) as one:
        consumer = await slow_page(one, n=1)
        await one.send("fast", n=2)
        await one.send("fast", n=3)
        refusal = await one.request("fast", n=4)
        assert (refusal["data"]["code"], refusal["data"]["retry_after"]) == ("overloaded", 1)
        consumer.release.set()
        assert [(await one.assert_broadcast("done"))["data"]["n"] for _ in range(3)] == [1, 2, 3]
        assert (await one.request("fast", n=5))["data"] == {"n": 5}


# ---------------------------------------------------------------------------------------------------------------------
# A handler is a task's own code
# ---------------------------------------------------------------------------------------------------------------------


async def test_a_handler_may_limit_its_time():
    async with page() as one:
        for _ in range(2):
            assert (await one.request("late"))["data"]["code"] == "late"
        assert (await one.request("fast", n=1))["data"] == {"n": 1}


async def test_a_handler_may_do_things_at_once():
    async with page(raise_exceptions=False) as one:
        for _ in range(2):
            assert (await one.request("parallel", fails=False))["type"] == "done"
            assert (await one.request("parallel", fails=True))["data"]["code"] == "internal_error"


async def test_a_handler_whose_own_task_is_cancelled_has_failed_and_no_more():
    async with page(raise_exceptions=False) as one:
        assert (await one.request("leave_me"))["data"]["code"] == "internal_error"
        assert (await one.request("fast", n=1))["data"] == {"n": 1}


# ---------------------------------------------------------------------------------------------------------------------
# The end
# ---------------------------------------------------------------------------------------------------------------------


async def leave(one, connection) -> asyncio.Task:
    """The page goes while a handler waits; the task ends when the connection has ended."""
    leaving = asyncio.create_task(one.drop(1001))
    await until(lambda: connection not in connections())  # at once: whatever the handler does
    return leaving


async def test_a_handler_runs_to_its_end_when_the_page_goes(log):
    async with page() as one:
        consumer = await slow_page(one, "slow_broadcast")
        [connection] = connections()
        async with page() as other:
            leaving = await leave(one, connection)
            assert (members(), log) == (1, [])
            consumer.release.set()
            await leaving
            await other.assert_broadcast("done", n=1)
            assert log == ["done", 1001]


async def test_what_arrived_before_the_page_goes_is_handled_too(log):
    async with page() as one:
        consumer = await slow_page(one, n=1)
        await one.send("late")
        await one.send("stubborn")
        leaving = await leave(one, consumer._connection)
        consumer.release.set()
        await leaving
        assert log == ["swallowed", 1001]


async def test_a_handler_that_takes_too_long_is_cancelled_when_the_page_has_gone(log):
    async with page(linger_seconds=0.01) as one:
        await slow_page(one, n=1)
        await one.send("slow", n=2)
        await one.drop(1001)
        assert (members(), log) == (0, ["cancelled", 1001])


async def test_a_handler_may_complete_its_cleanup_when_it_is_cancelled(log):
    async with page(linger_seconds=0.01) as one:
        await slow_page(one, "stubborn")
        await one.drop(1001)
        assert (members(), log) == (0, ["swallowed", 1001])


async def test_a_handler_joins_nothing_once_its_page_has_gone(log):
    async with page() as one:
        consumer = await slow_page(one, "slow_join")
        leaving = await leave(one, consumer._connection)
        consumer.release.set()
        await leaving
        assert (members("hall"), log) == (0, ["joined", 1001])


@pytest.mark.parametrize("frames", [[], [text('{"type": "fast", "data": {"n": 1}}')]])
async def test_a_page_that_goes_at_once_ends_quietly(log, frames):
    wire = Wire(CONNECT)
    consumer = QueueConsumer()
    running = asyncio.create_task(consumer({**SCOPE}, wire.receive, wire.send))
    await wire.until_sent(2)
    wire.push(text('{"type": "slow", "data": {"n": 0}}'))
    await asyncio.wait_for(consumer.waiting.wait(), 5)
    consumer.release.set()
    await wire.until_sent(3)
    wire.push(*frames, DISCONNECT)  # both are there when the consumer wakes
    await asyncio.wait_for(running, 5)
    assert (members(), log) == (0, [1001])


async def test_a_server_that_cancels_the_application_ends_it(log):
    wire = Wire(CONNECT, text('{"type": "slow", "data": {"n": 0}}'))
    consumer = QueueConsumer()
    running = asyncio.create_task(consumer({**SCOPE}, wire.receive, wire.send))
    await wire.until_sent(2)
    await asyncio.wait_for(consumer.waiting.wait(), 5)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
    assert (members(), log) == (0, ["cancelled", 1011])


async def test_a_server_that_fails_to_receive_ends_the_application(log):
    wire = Wire(CONNECT, text('{"type": "slow", "data": {"n": 0}}'))
    consumer = type("Brief", (QueueConsumer,), {"linger_seconds": 0.01})()
    running = asyncio.create_task(consumer({**SCOPE}, wire.receive, wire.send))
    await asyncio.wait_for(wire.until_sent(2), 5)
    await asyncio.wait_for(consumer.waiting.wait(), 5)
    wire.push({})  # no ASGI message
    with pytest.raises(KeyError):
        await asyncio.wait_for(running, 5)
    assert (members(), log) == (0, ["cancelled", 1011])


class HalfwayConsumer(QueueConsumer):
    async def connect(self):
        await super().connect()
        await self.join("hall")
        assert (members("room"), members("hall")) == (1, 1)
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "code", "logged"),
    [(ValueError(), 1011, True), (DenyConnection(), 1000, False), (StopConsumer(), 1000, False)],
)
async def test_a_connect_that_fails_half_way_is_undone(log, caplog, failure, code, logged):
    async with connect(PATH, application=serve(HalfwayConsumer, failure=failure), raise_exceptions=False) as one:
        await one.assert_closed(code)
        await one.drop(1006)
    assert (members("room"), members("hall"), connections(), log) == (0, 0, [], [1006])
    assert ("HalfwayConsumer.connect() failed" in caplog.text) is logged


class WaitingConsumer(QueueConsumer):
    async def connect(self):
        self.waiting, self.release = self.steps
        await self.wait()
        await super().connect()


async def test_a_page_that_goes_while_it_connects_is_removed(log):
    waiting, release = asyncio.Event(), asyncio.Event()
    wire = Wire(CONNECT)
    consumer = type("C", (WaitingConsumer,), {"steps": (waiting, release), "log": log})()
    running = asyncio.create_task(consumer({**SCOPE}, wire.receive, wire.send))
    await asyncio.wait_for(waiting.wait(), 5)
    wire.push(DISCONNECT)
    await until(lambda: not connections())
    release.set()
    await asyncio.wait_for(running, 5)
    assert (wire.sent, members(), log) == ([], 0, [1001])


class ThrowingConsumer(PublicConsumer):
    async def disconnect(self, code):
        raise ValueError


async def test_a_disconnect_that_fails_is_logged(caplog):
    async with connect(PATH, application=serve(ThrowingConsumer), raise_exceptions=False) as one:
        await one.assert_silent()
    assert "ThrowingConsumer.disconnect() failed" in caplog.text
    assert members() == 0


class AnonymousUser:
    pk = None
    is_authenticated = False


SCOPE = {"type": "websocket", "path": PATH, "query_string": b"", "headers": [], "user": AnonymousUser()}
