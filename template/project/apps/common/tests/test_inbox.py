"""Twice: for a server that is asked for its events, and for one that hands them over."""

import asyncio
import gc
from contextlib import suppress
from contextvars import ContextVar, copy_context
from sys import getsizeof
from weakref import WeakSet

import pytest

from apps.common.websockets.connection.inbox import OVERHEAD_BYTES, Inbox

from .wire import DISCONNECT, Handover, Wire, text, until

color = ContextVar("color", default="none")


class InboxHarness:
    """Handles what its inbox hands on, with a way to make it wait."""

    def __init__(self, wire, linger_seconds: float = 0) -> None:
        self.wire = wire
        self.sorted: list[str] = []
        self.handled: list[str] = []
        self.busy = asyncio.Event()
        self.release = asyncio.Event()
        self.left = 0
        self.inbox = Inbox(self.wire.receive, self.sort, self.handle, self.on_left, lambda: linger_seconds)

    def sort(self, message):
        self.sorted.append(message["text"])
        if message["text"] == "broken":
            raise ValueError(message)
        return None if message["text"] == "ping" else message["text"]

    async def handle(self, item):
        if item == "slow":
            self.busy.set()
            await self.release.wait()
        if item == "stubborn":
            self.busy.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                item = "stubborn to the end"
        self.handled.append(item)

    def on_left(self):
        self.left += 1

    def start(self) -> asyncio.Task:
        context = copy_context()
        return asyncio.create_task(self.inbox.run(context), context=context)


@pytest.fixture(params=[Wire, Handover])
def harness(request):
    return lambda *values, **options: InboxHarness(request.param(*map(text, values)), **options)


def handover(handle) -> InboxHarness:
    """One that is handed events, for this handler."""
    one = InboxHarness(Handover())
    one.inbox = Inbox(one.wire.receive, one.sort, handle, one.on_left, lambda: 0)
    return one


async def idle(one: InboxHarness) -> None:
    """Until it waits for the next message."""
    await until(lambda: one.inbox._wake)


async def finish(running: asyncio.Task):
    return await asyncio.wait_for(running, 5)


async def test_it_handles_all_until_the_end(harness):
    one = harness("a", "ping", "b")
    one.wire.push(DISCONNECT)
    assert await one.inbox.run(copy_context()) == DISCONNECT
    assert (one.sorted, one.handled) == (["a", "ping", "b"], ["a", "b"])


async def test_what_is_handed_over_is_handled_there_and_then():
    one = InboxHarness(Handover())
    running = one.start()
    await idle(one)
    one.wire.push(text("a"), text("ping"), text("b"))
    assert one.handled == ["a", "b"]
    one.wire.push(text("slow"), text("c"), text("ping"))
    assert (one.handled, one.sorted[-3:]) == (["a", "b"], ["slow", "c", "ping"])
    one.release.set()
    await until(lambda: "c" in one.handled)
    await idle(one)
    one.wire.push(text("d"))
    assert one.handled == ["a", "b", "slow", "c", "d"]
    one.wire.push(DISCONNECT)
    assert await finish(running) == DISCONNECT


async def test_a_handler_runs_in_the_connection_s_task_and_context_before_and_after_it_suspends():
    seen = []

    async def handle(item):
        seen.append((asyncio.current_task(), color.get()))
        color.set(item)
        await asyncio.sleep(0)
        seen.append((asyncio.current_task(), color.get()))

    one = handover(handle)
    running = one.start()
    await idle(one)
    one.wire.push(text("red"), text("blue"))
    await until(lambda: len(seen) == 4)
    assert seen == [(running, "none"), (running, "red"), (running, "red"), (running, "blue")]
    assert asyncio.current_task() not in (None, running)
    one.wire.push(DISCONNECT)
    await finish(running)


async def _times_out():
    async with asyncio.timeout(0):
        await asyncio.Event().wait()


async def _times_out_later():
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()


async def _groups():
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail("of a group"))
        await asyncio.Event().wait()


async def _cancels_itself():
    asyncio.current_task().cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
        raise TimeoutError from None


@pytest.mark.parametrize(
    ("begin", "error"),
    [
        (_times_out, TimeoutError),
        (_times_out_later, TimeoutError),
        (_groups, ExceptionGroup),
        (_cancels_itself, TimeoutError),
    ],
)
async def test_what_asks_for_the_task_works_from_a_handler_s_first_step_on(begin, error):
    raised = []

    async def handle(item):
        try:
            await begin()
        except Exception as caught:
            raised.append(type(caught))

    one = handover(handle)
    running = one.start()
    await idle(one)
    one.wire.push(text("a"))
    await until(lambda: raised)
    await idle(one)
    one.wire.push(text("b"))
    await until(lambda: len(raised) == 2)
    assert (raised, running.cancelling()) == ([error, error], 0)
    one.wire.push(DISCONNECT)
    await finish(running)


async def test_handlers_may_wait_for_the_same_future_as_others():
    shared = asyncio.get_running_loop().create_future()
    results = []

    async def handle(item):
        results.append(await shared)

    ones = [handover(handle) for _ in range(2)]
    running = [one.start() for one in ones]
    for one in ones:
        await idle(one)
    for one in ones:
        one.wire.push(text("a"))
    other = asyncio.create_task(handle("b"))
    await until(lambda: not any(one.inbox._begun for one in ones))
    shared.set_result("done")
    await finish(other)
    await until(lambda: len(results) == 3)
    assert results == ["done"] * 3
    for one in ones:
        one.wire.push(DISCONNECT)
    await asyncio.gather(*running)


@pytest.mark.parametrize("by", ["a timeout", "the task's cancellation", "the client"])
async def test_a_cancellation_right_after_a_handler_s_first_step_reaches_what_it_awaits(by):
    tasks = []

    async def handle(item):
        tasks.append(asyncio.create_task(asyncio.Event().wait()))
        if by == "a timeout":
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.gather(*tasks, asyncio.sleep(5))
        else:
            await tasks[0]

    one = handover(handle)
    running = one.start()
    await idle(one)
    one.wire.push(text("a"))
    if by == "the task's cancellation":
        running.cancel()
    one.wire.push(DISCONNECT)
    await asyncio.wait([running], timeout=5)
    assert tasks[0].cancelled()
    assert running.cancelled() == (by == "the task's cancellation")


async def test_a_handler_may_take_back_its_own_cancellation():
    handled = []

    async def handle(item):
        asyncio.current_task().cancel()
        asyncio.current_task().uncancel()
        handled.append(item)

    one = handover(handle)
    running = one.start()
    for item in ["a", "b"]:
        await idle(one)
        one.wire.push(text(item))
    await until(lambda: len(handled) == 2)
    await idle(one)
    one.wire.push(DISCONNECT)
    assert await finish(running) == DISCONNECT


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_timeout_in_a_handler_leaves_no_garbage(is_first):
    class Value:
        """Of a handler."""

    async def handle(item):
        value = Value()
        values.add(value)
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if is_first else 0.01):
                await asyncio.Event().wait()

    values = WeakSet()
    gc.collect()
    gc.disable()
    try:
        one = handover(handle)
        running = one.start()
        await idle(one)
        one.wire.push(text("a"))
        assert len(values) == 1
        await idle(one)
        assert len(values) == 0
        one.wire.push(DISCONNECT)
        await finish(running)
    finally:
        gc.enable()


async def test_a_server_that_cancels_its_receive_ends_it():
    class Cancelled:
        async def receive(self):
            raise asyncio.CancelledError

    running = InboxHarness(Cancelled()).start()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


async def test_the_disconnect_may_come_of_what_the_handler_sends():
    handled = []

    async def handle(item):
        one.wire.push(DISCONNECT)
        handled.append(item)

    one = handover(handle)
    running = one.start()
    await idle(one)
    one.wire.push(text("a"))
    assert (handled, await finish(running)) == (["a"], DISCONNECT)
    one.wire.push(text("after the end"))
    assert handled == ["a"]


async def test_items_are_handled_in_order_behind_a_slow_one(harness):
    one = harness("slow", "a", "ping", "b")
    running = one.start()
    await asyncio.wait_for(one.busy.wait(), 5)
    one.release.set()
    one.wire.push(text("slow"), text("c"))
    await until(lambda: "c" in one.handled)
    one.wire.push(DISCONNECT)
    assert await finish(running) == DISCONNECT
    assert one.handled == ["slow", "a", "b", "slow", "c"]


async def test_everything_is_sorted_while_a_handler_waits(harness):
    one = harness("slow", "ping", "a")
    running = one.start()
    await until(lambda: one.sorted == ["slow", "ping", "a"])
    assert one.handled == []
    one.wire.push(DISCONNECT)
    await finish(running)


async def test_it_knows_the_number_and_the_size_of_what_waits(harness):
    one = harness("slow", "a")
    running = one.start()
    await until(lambda: len(one.sorted) == 2)
    assert (one.inbox.waiting, one.inbox.waiting_bytes) == (1, getsizeof("a") + OVERHEAD_BYTES)
    one.wire.push(text("é" * 1_000), text("語" * 1_000))
    await until(lambda: one.inbox.waiting == 3)
    assert 3_000 < one.inbox.waiting_bytes < 3_600  # of memory: a byte for each é, two for each 語
    one.wire.push(DISCONNECT)
    await finish(running)
    assert (one.inbox.waiting, one.inbox.waiting_bytes) == (0, 0)


async def test_what_was_received_before_the_end_is_handled(harness):
    one = harness("slow", "a", "ping", linger_seconds=60)
    one.wire.push(DISCONNECT)
    running = one.start()
    await until(lambda: one.left)
    one.release.set()
    assert await finish(running) == DISCONNECT
    assert (one.handled, one.left, running.cancelling()) == (["slow", "a"], 1, 0)


async def test_a_handler_that_takes_too_long_after_the_end_is_cancelled_and_no_more(harness):
    one = harness("slow", "a", linger_seconds=0.01)
    one.wire.push(DISCONNECT)
    running = one.start()
    assert await finish(running) == DISCONNECT
    assert (one.handled, one.left, running.cancelling()) == ([], 1, 0)


async def test_a_handler_that_keeps_its_cancellation_to_itself_leaves_none_behind(harness):
    one = harness("stubborn")
    one.wire.push(DISCONNECT)
    running = one.start()
    await finish(running)
    assert (one.handled, running.cancelling()) == (["stubborn to the end"], 0)


@pytest.mark.parametrize("values", [[], ["a"], ["a", "b"]])
async def test_the_disconnect_may_arrive_together_with_the_message_that_wakes_it(harness, values):
    one = harness("slow")
    running = one.start()
    await asyncio.wait_for(one.busy.wait(), 5)
    one.release.set()
    await until(lambda: one.handled)
    await idle(one)
    one.wire.push(*map(text, values), DISCONNECT)
    assert await finish(running) == DISCONNECT
    assert running.cancelling() == 0


async def test_the_disconnect_may_arrive_together_with_the_end_of_a_handler(harness):
    one = harness("slow")
    running = one.start()
    await asyncio.wait_for(one.busy.wait(), 5)
    one.release.set()
    one.wire.push(DISCONNECT)
    assert await finish(running) == DISCONNECT
    assert running.cancelling() == 0


@pytest.mark.parametrize("values", [["slow"], ["slow", "a"], []])
async def test_a_cancellation_from_outside_ends_it(harness, values):
    one = harness(*values)
    tasks = asyncio.all_tasks()
    running = one.start()
    await until(lambda: len(one.sorted) == len(values))
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
    await until(lambda: not asyncio.all_tasks() - tasks)


async def test_a_cancellation_at_the_very_end_ends_it_too(harness):
    one = harness("slow")
    running = one.start()
    await asyncio.wait_for(one.busy.wait(), 5)
    one.wire.push(DISCONNECT)
    await until(lambda: running.cancelling())
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


@pytest.mark.parametrize("values", [["broken"], ["slow", "broken"], ["slow", "a", "broken", "b"]])
async def test_an_error_in_reading_ends_it(harness, values):
    one = harness(*values)
    with pytest.raises(ValueError, match="broken"):
        await finish(one.start())
    assert one.handled == []


async def test_an_error_in_reading_ends_it_while_it_waits_for_a_message(harness):
    one = harness("slow")
    running = one.start()
    await asyncio.wait_for(one.busy.wait(), 5)
    one.release.set()
    await until(lambda: one.handled)
    one.wire.push(text("broken"))
    with pytest.raises(ValueError, match="broken"):
        await finish(running)


async def test_what_a_handler_raises_ends_it(harness):
    one = harness("a")
    one.handle = None
    one.inbox = Inbox(one.wire.receive, one.sort, _fail, one.on_left, lambda: 0)
    with pytest.raises(ZeroDivisionError):
        await one.inbox.run(copy_context())


async def test_what_a_handler_raises_at_once_ends_it():
    one = handover(_fail)
    running = one.start()
    await idle(one)
    one.wire.push(text("a"), text("b"))
    with pytest.raises(ZeroDivisionError):
        await finish(running)


async def _fail(item):
    raise ZeroDivisionError
