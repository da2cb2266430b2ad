"""Frames that are written past ASGI: by whom, in which order, and what sends a client back to ASGI."""

import asyncio
import json

import pytest
from channels.layers import get_channel_layer
from websockets.frames import Frame, Opcode

from apps.common.websockets import protocol
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process import hub
from apps.common.websockets.process.events import Event
from apps.common.websockets.process.hub import get_hub
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
        self.gate = asyncio.Event()
        await super().connect()

    async def nudge(self, event):
        await self.gate.wait()
        await self.send_json({"type": "nudged", "data": {}})


def ready() -> int:
    """How many members of the group the hub writes to."""
    group = get_hub()._groups.get("room")
    return len(group.ready) if group else 0


async def texts(client, number):
    """What the next messages say, or their types."""
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
        assert (members(), ready()) == (2, 2)


async def test_all_that_a_client_is_sent_keeps_its_order():
    async with served(FramedConsumer) as server, page(server) as client:
        await until(lambda: ready() == 1)
        expected = ["welcome"]
        for number in range(20):
            await abroadcast("room", News(text=f"news {number}"))
            await client.send(json.dumps({"type": "say", "data": {"text": f"answer {number}"}}))
            expected += [f"news {number}", f"answer {number}"]
            received = await texts(client, len(expected) if number == 0 else 2)
            assert received == (expected if number == 0 else expected[-2:])
        layer = get_channel_layer()
        await layer.group_send("room", {"type": "nudge"})
        await layer.group_send("room", {"type": "broadcast_message", "data": {"type": "raw", "data": {"text": "raw"}}})
        await until(lambda: ready() == 0)  # while the event is handled
        await abroadcast("room", News(text="last"))
        [consumer] = consumers()
        consumer.gate.set()
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
        if meanwhile == "leaves":
            last.subscriptions.stop()
        else:
            event = {"type": "broadcast_message", "data": {"type": "own", "data": {}}}
            last.subscriptions.deliver("another", Event(event))
        assert last.subscriptions not in group.unwritten
        await sending
        await abroadcast("room", News(text="b"))
        assert await texts(one, 3) == await texts(two, 3) == ["welcome", "a", "b"]
        assert await texts(three, 2) == ["welcome", "a"]
        if meanwhile != "leaves":
            assert await texts(three, 2) == ["own", "b"]


async def test_lost_broadcasts_are_told_and_what_follows_is_written():
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
        assert connections()[0].outbox.frames is None


async def test_what_is_compressed_goes_through_asgi():
    async with served(FramedConsumer, ws_per_message_deflate=True) as server, page(server) as client:
        assert client.protocol.extensions
        await abroadcast("room", News(text="a"))
        assert await texts(client, 2) == ["welcome", "a"]
        assert ready() == 0
