"""Frames that are written past ASGI: by whom, in which order, and what sends a client back to ASGI."""

import asyncio
import json
import struct
from contextlib import asynccontextmanager

import pytest
from channels.layers import get_channel_layer
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from apps.common.websockets import protocol
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process import hub
from apps.common.websockets.process.events import Event
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.registry import asgi_connection_count
from apps.common.websockets.protocol import Position

from .serving import PublicConsumer, connections, consumers, members
from .test_uvicorn import page, served
from .wire import until

pytestmark = pytest.mark.django_db(transaction=True)


class News(Message):
    text: str


class Say(Message):
    text: str


class Said(Message):
    text: str


class FramedConsumer(PublicConsumer):
    outbox_bytes = 4 * 1024 * 1024

    async def handle_say(self, data: Say) -> Said:
        return Said(text=data.text)

    async def connect(self):
        self.turn = asyncio.Event()
        await super().connect()

    async def nudge(self, event):
        await self.turn.wait()
        await self.send_json({"type": "nudged", "data": {}})


def ready() -> int:
    """How many members of the group the hub writes to."""
    group = get_hub()._groups.get("room")
    return len(group.ready) if group else 0


async def texts(client, number):
    """The texts of the next messages, or their types."""
    messages = [json.loads(await asyncio.wait_for(client.recv(), 5)) for _ in range(number)]
    return [message["data"].get("text", message["type"]) for message in messages]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_is_as_another_library_makes_it(size):
    text = "x" * (size % 7) + "é" * ((size - size % 7) // 2) + "x" * ((size - size % 7) % 2)
    assert protocol.frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


async def test_a_client_that_follows_the_group_is_written_to():
    async with served(FramedConsumer) as server, page(server) as one, page(server) as two:
        await until(lambda: ready() == 2)
        await abroadcast("room", News(text="a"))
        assert await texts(one, 2) == await texts(two, 2) == ["welcome", "a"]
        assert (members(), ready(), asgi_connection_count()) == (2, 2, 0)


async def test_all_that_a_client_is_sent_keeps_its_order():
    async with served(FramedConsumer) as server, page(server) as client:
        await until(lambda: ready() == 1)
        assert await texts(client, 1) == ["welcome"]
        received = []
        for number in range(20):
            await abroadcast("room", News(text=f"news {number}"))
            await client.send(json.dumps({"type": "say", "data": {"text": f"answer {number}"}}))
            received += await texts(client, 2)
        for kind in ["news", "answer"]:  # nothing orders the two
            of_kind = [text for text in received if text.startswith(kind)]
            assert of_kind == [f"{kind} {number}" for number in range(20)]
        layer = get_channel_layer()
        await layer.group_send("room", {"type": "nudge"})
        await layer.group_send("room", {"type": "broadcast_message", "data": {"type": "raw", "data": {"text": "raw"}}})
        await until(lambda: ready() == 0)  # while the event is handled
        await abroadcast("room", News(text="last"))
        [consumer] = consumers()
        consumer.turn.set()
        assert await texts(client, 3) == ["nudged", "raw", "last"]
        await abroadcast("room", News(text="ready again"))
        assert await texts(client, 1) == ["ready again"]
        assert ready() == 1


async def test_a_client_that_does_not_read_goes_back_to_asgi_and_loses_nothing():
    async with served(FramedConsumer) as server, page(server) as lively, page(server) as lazy:
        await until(lambda: ready() == 2)
        lazy.transport.pause_reading()
        sent = 0
        while ready() == 2:
            sent += 1
            assert sent < 1_000, "64 MB were written to a client that does not read"
            await abroadcast("room", News(text=f"{sent} {'x' * 64 * 1024}"))
            await lively.recv()
        await abroadcast("room", News(text="waits"))
        lazy.transport.resume_reading()
        received = await texts(lazy, sent + 2)
        assert [text.split()[0] for text in received] == ["welcome", *map(str, range(1, sent + 1)), "waits"]
        await abroadcast("room", News(text="after"))
        assert await texts(lazy, 1) == ["after"]
        await until(lambda: ready() == 2)


@pytest.mark.parametrize("meanwhile", ["leaves", "is sent to"])
async def test_a_member_that_stops_being_ready_while_a_broadcast_is_written_gets_it_once(monkeypatch, meanwhile):
    monkeypatch.setattr(hub, "MEMBERS_AT_ONCE", 1)
    async with served(FramedConsumer) as server, page(server) as one, page(server) as two, page(server) as three:
        await until(lambda: ready() == 3)
        group = get_hub()._groups["room"]
        sending = asyncio.create_task(abroadcast("room", News(text="a")))
        await until(lambda: len(group.unwritten) == 2)
        last = connections()[-1]
        write = group.ready[last.subscriptions]
        if meanwhile == "leaves":
            last.subscriptions.stop()
        else:
            event = {"type": "broadcast_message", "data": {"type": "own", "data": {}}}
            last.subscriptions.deliver("another", Event(event))
        assert write not in group.unwritten
        await sending
        await abroadcast("room", News(text="b"))
        assert await texts(one, 3) == await texts(two, 3) == ["welcome", "a", "b"]
        assert await texts(three, 2) == ["welcome", "a"]
        if meanwhile != "leaves":
            assert await texts(three, 2) == ["own", "b"]


async def test_lost_broadcasts_send_a_resync_and_the_next_ones_are_written():
    async with served(FramedConsumer) as server, page(server) as one, page(server) as two:
        await until(lambda: ready() == 2)
        await abroadcast("room", News(text="a"))
        assert await texts(one, 2) == await texts(two, 2) == ["welcome", "a"]
        get_hub()._groups["room"].position = Position("lost", 5)
        await abroadcast("room", News(text="part of the state that is loaded"))
        assert await texts(one, 1) == await texts(two, 1) == ["resync"]
        await abroadcast("room", News(text="b"))
        assert await texts(one, 1) == await texts(two, 1) == ["b"]
        assert ready() == 2


async def test_a_closed_client_is_written_to_no_more():
    async with served(FramedConsumer) as server, page(server) as one, page(server) as two:
        await until(lambda: ready() == 2)
        await two.close()
        await abroadcast("room", News(text="a"))
        await until(lambda: (members(), ready()) == (1, 1))
        assert await texts(one, 2) == ["welcome", "a"]


async def test_a_group_that_is_joined_again_sends_each_event_once():
    async with served(FramedConsumer) as server, page(server) as client:
        await until(lambda: ready() == 1)
        await consumers()[0].join("room")
        assert members() == 1
        raw = {"type": "broadcast_message", "data": {"type": "raw", "data": {}}}
        await get_channel_layer().group_send("room", raw)
        assert await texts(client, 2) == ["welcome", "raw"]
        await abroadcast("room", News(text="a"))
        assert await texts(client, 1) == ["a"]


@asynccontextmanager
async def writing_to_two(server, monkeypatch):
    """While a broadcast is written to one of two members, and not yet to the second: its connection."""
    monkeypatch.setattr(hub, "MEMBERS_AT_ONCE", 1)
    await until(lambda: ready() == 2)
    sending = asyncio.create_task(abroadcast("room", News(text="a")))
    await until(lambda: len(get_hub()._groups["room"].unwritten) == 1)
    yield connections()[-1]
    await sending


@pytest.mark.parametrize("ending", ["the client's", "the consumer's"])
async def test_nothing_follows_a_close_frame(monkeypatch, ending):
    async with served(FramedConsumer) as server, page(server), page(server) as client:
        async with writing_to_two(server, monkeypatch) as connection:
            if ending == "the client's":
                ping = Frame(Opcode.PING, b"").serialize(mask=True)
                close = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
                connection.outbox.frames.data_received(ping + close)
            else:
                await connection.consumer.base_send({"type": "websocket.close", "code": 4000})
        assert await texts(client, 2) == ["welcome", "a"]
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.protocol.parser_exc is None
        await until(lambda: ready() == 1)


async def test_a_write_that_raises_ends_its_client_alone(monkeypatch):
    def broken(frame):
        raise RuntimeError("closed")

    async with served(FramedConsumer) as server, page(server) as one, page(server):
        async with writing_to_two(server, monkeypatch) as connection:
            group = get_hub()._groups["room"]
            group.unwritten, group.ready[connection.subscriptions] = {broken: None}, broken
            await connection.close(4000)
        assert await texts(one, 2) == ["welcome", "a"]
        await until(lambda: (members(), len(connections())) == (1, 1))
        assert group.frame == b""


async def test_who_has_left_meanwhile_is_given_nothing(monkeypatch):
    monkeypatch.setattr(hub, "MEMBERS_AT_ONCE", 1)
    given = []

    class Guest:
        def deliver(self, group, event):
            given.append(event)

    guest = Guest()
    async with served(FramedConsumer) as server, page(server), page(server):
        await until(lambda: ready() == 2)
        await get_hub().join("room", guest)
        sending = asyncio.create_task(abroadcast("room", News(text="a")))
        await until(lambda: len(get_hub()._groups["room"].unwritten) == 1)
        await get_hub().leave("room", guest)
        await sending
        await until(lambda: not get_hub()._groups["room"].unwritten)
    assert given == []


def wrapping(application):
    """Middleware as one that counts what is sent."""

    async def wrapped(scope, receive, send):
        async def counting(message):
            await send(message)

        await application(scope, receive, counting)

    return wrapped


async def test_a_middleware_that_wraps_send_sees_every_message():
    async with served(FramedConsumer, wrapping) as server, page(server) as client:
        await until(lambda: members() == 1)
        await abroadcast("room", News(text="a"))
        assert await texts(client, 2) == ["welcome", "a"]
        assert ready() == 0
        assert asgi_connection_count() == 1


async def test_what_is_compressed_goes_through_asgi():
    async with served(FramedConsumer, ws_per_message_deflate=True) as server, page(server) as client:
        assert client.protocol.extensions
        await until(lambda: members() == 1)
        await abroadcast("room", News(text="a"))
        assert await texts(client, 2) == ["welcome", "a"]
        assert ready() == 0
