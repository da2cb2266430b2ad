import asyncio
import gc
import weakref
from sys import getsizeof

import pytest
from channels.layers import get_channel_layer

from apps.common.testing import connect
from apps.common.websockets.connection import subscriptions
from apps.common.websockets.connection.outbox import OVERHEAD_BYTES, Outbox

from .serving import PATH, PublicConsumer, connections, members, serve
from .wire import CONNECT, DISCONNECT, Wire


def frame(value: str):
    return {"type": "websocket.send", "text": value}


CLOSE = {"type": "websocket.close", "code": 1000}


class Owner:
    """The owner of the outbox: counts the overflows."""

    def __init__(self, limit: int = 10_000) -> None:
        self.wire = Wire()
        self.overflows = 0
        self.failures = 0
        self.outbox = Outbox(self.wire.send, limit, self.let_go, self.fail)

    def fail(self) -> None:
        self.failures += 1

    def let_go(self) -> None:
        self.overflows += 1
        self.outbox.discard()

    def write(self, *values: str) -> None:
        for value in values:
            self.outbox.write(frame(value))

    @property
    def sent(self) -> list[str]:
        return [message.get("text", message["type"]) for message in self.wire.sent]


async def test_what_the_server_takes_is_sent_at_once_without_a_task():
    sent = []

    async def send(message):
        sent.append(message["text"])

    outbox = Outbox(send, 100, lambda: None, lambda: None)
    tasks = asyncio.all_tasks()
    outbox.write(frame("a"))
    outbox.write(frame("b"))
    assert sent == ["a", "b"]
    assert not outbox.is_busy
    assert asyncio.all_tasks() == tasks


async def test_what_waits_is_sent_in_order():
    owner = Owner()
    owner.wire.stall()
    owner.write("a", "b")
    assert (owner.sent, owner.outbox.is_busy) == ([], True)
    owner.wire.resume()
    owner.write("c")
    await owner.outbox.flushed()
    owner.write("d")
    await owner.outbox.flushed()
    assert owner.sent == ["a", "b", "c", "d"]


async def test_a_server_that_returns_an_awaitable_keeps_the_order():
    wire = Wire()
    outbox = Outbox(lambda message: asyncio.ensure_future(wire.send(message)), 10_000, lambda: None, lambda: None)
    for value in "abc":
        outbox.write(frame(value))
    await outbox.flushed()
    assert [message["text"] for message in wire.sent] == ["a", "b", "c"]


async def test_a_close_waits_its_turn_and_is_the_last():
    owner = Owner()
    owner.wire.stall()
    owner.write("a", "b")
    owner.outbox.write(CLOSE)
    owner.write("c")
    owner.wire.resume()
    await owner.outbox.flushed()
    owner.write("d")
    assert owner.sent == ["a", "b", "websocket.close"]


@pytest.mark.parametrize(("count", "overflows"), [(4, 0), (5, 1), (9, 1)])
async def test_more_than_the_limit_is_too_much(count, overflows):
    owner = Owner(limit=4 * (OVERHEAD_BYTES + getsizeof("x" * 100)))
    owner.wire.stall()
    owner.write("at the server's", *["x" * 100] * count)
    assert owner.overflows == overflows
    owner.outbox.discard()


async def test_bytes_count_too():
    owner = Owner(limit=1_000)
    owner.wire.stall()
    for _ in range(2):
        owner.outbox.write({"type": "websocket.send", "bytes": b"x" * 1_000})
    assert owner.overflows == 1


async def test_what_was_sent_counts_no_more():
    owner = Owner(limit=4 * (OVERHEAD_BYTES + getsizeof("a")))
    for _ in range(3):
        owner.wire.stall()
        owner.write(*"abcde")
        owner.wire.resume()
        await owner.outbox.flushed()
    assert (owner.overflows, len(owner.sent)) == (0, 15)


async def test_what_was_discarded_is_not_sent():
    owner = Owner()
    owner.wire.stall()
    owner.write("a", "b")
    owner.outbox.discard()
    owner.wire.resume()
    await owner.outbox.flushed()
    owner.write("c")
    assert owner.sent == []


@pytest.mark.parametrize("failure", [ConnectionResetError(), OSError()])
async def test_a_peer_that_has_gone_is_no_failure(failure):
    owner = Owner()
    owner.wire.failure = failure
    owner.write("a")
    owner.wire.failure = None
    owner.write("b")
    assert (owner.sent, owner.overflows) == ([], 0)


async def test_a_peer_that_goes_while_frames_wait_is_no_failure():
    owner = Owner()
    owner.wire.stall()
    owner.write("a", "b")
    owner.wire.failure = ConnectionResetError()
    owner.wire.resume()
    await owner.outbox.flushed()
    assert (owner.sent, owner.overflows, owner.outbox.is_busy) == ([], 0, False)


async def test_a_server_that_fails_at_once_fails_the_writer():
    owner = Owner()
    owner.wire.failure = RuntimeError("no")
    with pytest.raises(RuntimeError):
        owner.write("a")
    assert owner.failures == 1


async def test_a_connection_whose_send_fails_while_messages_wait_is_dropped(caplog):
    owner = Owner()
    owner.wire.stall()
    owner.write("a", "b")
    owner.wire.failure = RuntimeError("no")
    owner.wire.resume()
    await owner.outbox.flushed()
    owner.wire.failure = None
    owner.write("c")
    assert (owner.sent, owner.overflows, owner.failures) == ([], 0, 1)
    assert "The server failed to send" in caplog.text


# ---------------------------------------------------------------------------------------------------------------------
# A page that does not read
# ---------------------------------------------------------------------------------------------------------------------


async def open_on(wire: Wire, **attributes):
    """A consumer on the wire, and the task that runs it."""
    consumer = type("StalledConsumer", (PublicConsumer,), {"close_seconds": 0.01, **attributes})()
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": Anonymous()}
    running = asyncio.create_task(consumer(scope, wire.receive, wire.send))
    await wire.until_sent(2)
    return consumer, running


class Anonymous:
    pk = None
    is_authenticated = False


async def test_a_page_that_does_not_read_is_dropped_and_its_memory_is_freed(caplog):
    wire = Wire(CONNECT)
    consumer, running = await open_on(wire, outbox_bytes=1_000)
    wire.stall()
    for _ in range(5):
        consumer._connection.write("x" * 500)
    await asyncio.wait_for(wire.transport.aborted.wait(), 5)
    assert members() == 0
    wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)
    assert "is too slow" in caplog.text
    ghost = weakref.ref(consumer)
    del consumer, running
    caplog.clear()
    gc.collect()
    assert ghost() is None


async def test_a_page_that_reads_again_in_time_receives_the_close_code_for_a_reconnect():
    wire = Wire(CONNECT)
    consumer, running = await open_on(wire, outbox_bytes=1_000, close_seconds=60)
    wire.stall()
    for _ in range(5):
        consumer._connection.write("x" * 500)
    wire.resume()
    await wire.until_sent(3)
    assert wire.sent[2] == {"type": "websocket.close", "code": 1013}
    wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)
    assert not wire.transport.aborted.is_set()


async def test_a_close_that_does_not_get_through_cuts_the_page_off():
    wire = Wire(CONNECT)
    consumer, running = await open_on(wire)
    wire.stall()
    consumer._connection.write("x")
    await consumer.close(4000)
    assert wire.transport.aborted.is_set()
    wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)


async def test_a_slow_page_delays_no_other():
    wire = Wire(CONNECT)
    _, running = await open_on(wire)
    async with connect(PATH, application=serve(PublicConsumer)) as other:
        await other.assert_silent()
        wire.stall()
        for connection in connections():
            connection.write('{"type": "news"}')
        await other.next_message("the news", lambda each: each["type"] == "news")
        assert members() == 2
    wire.resume()
    await wire.until_sent(3)
    wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)


async def test_events_that_pile_up_behind_a_slow_handler_let_the_page_go(monkeypatch):
    monkeypatch.setattr(subscriptions, "MAX_EVENTS", 3)

    class SlowConsumer(PublicConsumer):
        linger_seconds = 0.01

        async def broadcast_message(self, event):
            await asyncio.Event().wait()

    async with connect(PATH, application=serve(SlowConsumer)) as client:
        await client.assert_silent()
        await _broadcast(10)
        await client.assert_closed(1013)
        await client.reconnect()
        await client.assert_silent()


async def _broadcast(count: int) -> None:
    for n in range(count):
        await get_channel_layer().group_send("room", {"type": "broadcast_message", "data": {"type": "n", "data": n}})
