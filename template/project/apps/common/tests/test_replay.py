"""A page that was disconnected for a moment misses nothing, or is notified to reload its state."""

import asyncio

import pytest
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import re_path

from apps.common.testing import Client, connect
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.streams import base as streams
from apps.common.websockets.streams import get_streams


class Tick(Message):
    n: int


class RoomConsumer(BaseWebSocketConsumer):
    group_name = "room"

    async def is_allowed(self) -> bool:
        return True


class EvenConsumer(RoomConsumer):
    async def broadcast_message(self, event):
        if event["data"]["data"]["n"] % 2 == 0:
            await self.send_json(event["data"])


class ForgetfulConsumer(RoomConsumer):
    replay = False


class TwoGroupsConsumer(RoomConsumer):
    async def connect(self):
        await super().connect()
        await self.join("hall")


CONSUMERS = {"room": RoomConsumer, "even": EvenConsumer, "forgetful": ForgetfulConsumer, "two": TwoGroupsConsumer}
APPLICATION = SessionAuth(URLRouter([re_path(rf"^{name}/$", each.as_asgi()) for name, each in CONSUMERS.items()]))


def open_page(path: str = "room/"):
    return connect(f"/{path}", application=APPLICATION)


async def welcome(client: Client):
    return (await client.next_message("welcome", lambda frame: frame["type"] == "welcome"))["data"]


async def ticks(client: Client, count: int) -> list[int]:
    return [(await client.assert_broadcast("tick"))["data"]["n"] for _ in range(count)]


def query(epoch: str, seq: int) -> str:
    return f"room/?epoch={epoch}&seq={seq}"


async def test_the_greeting_has_the_position_before_anything_was_sent():
    async with open_page() as client:
        greeting = await welcome(client)
        assert greeting["epoch"]
        assert (greeting["seq"], greeting["recovered"]) == (0, None)


@pytest.mark.parametrize(("behind", "calls"), [(0, 0), (1, 1)])
async def test_a_client_that_missed_nothing_costs_the_store_no_call(monkeypatch, behind, calls):
    asked = []
    since = get_streams().since

    async def counted(group, position):
        asked.append(position)
        return await since(group, position)

    monkeypatch.setattr(get_streams(), "since", counted)
    async with open_page() as client:
        epoch = (await welcome(client))["epoch"]
        await abroadcast("room", Tick(n=1))
        assert await ticks(client, 1) == [1]
        async with open_page(query(epoch, 1 - behind)) as other:
            greeting = await welcome(other)
            assert (greeting["seq"], greeting["recovered"], len(asked)) == (1, True, calls)
            await abroadcast("room", Tick(n=2))
            assert await ticks(other, behind + 1) == [1, 2][1 - behind :]


async def test_broadcasts_carry_their_numbers():
    async with open_page() as client:
        for n in range(3):
            await abroadcast("room", Tick(n=n))
        assert [(await client.assert_broadcast("tick"))["seq"] for _ in range(3)] == [1, 2, 3]


async def test_a_page_that_reconnects_receives_the_missed_and_then_the_new_broadcasts():
    async with open_page() as client:
        epoch = (await welcome(client))["epoch"]
        await abroadcast("room", Tick(n=0))
        await ticks(client, 1)
    for n in range(1, 4):
        await abroadcast("room", Tick(n=n))
    async with open_page(query(epoch, 1)) as client:
        greeting = await welcome(client)
        assert (greeting["recovered"], greeting["seq"]) == (True, 4)
        await abroadcast("room", Tick(n=4))
        assert await ticks(client, 4) == [1, 2, 3, 4]
        await client.assert_silent()


async def test_what_is_broadcast_while_a_page_connects_comes_once_and_in_order():
    async with open_page() as client:
        epoch = (await welcome(client))["epoch"]

    async def publish():
        for n in range(300):
            await abroadcast("room", Tick(n=n))
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish())
    clients = []
    for _ in range(10):
        client = Client("/" + query(epoch, 0), "", "http://testserver", APPLICATION)
        await client.open()
        clients.append(client)
        await asyncio.sleep(0)
    await publishing
    for client in clients:
        assert await ticks(client, 300) == list(range(300))
        await client.drop()


@pytest.mark.parametrize("position", [("other", 0), (None, 7)])
async def test_a_position_that_cannot_be_continued_is_not_recovered(position):
    async with open_page() as client:
        epoch = (await welcome(client))["epoch"]
    await abroadcast("room", Tick(n=0))
    async with open_page(query(position[0] or epoch, position[1])) as client:
        greeting = await welcome(client)
        assert (greeting["recovered"], greeting["epoch"], greeting["seq"]) == (False, epoch, 1)
        await client.assert_silent()
        await abroadcast("room", Tick(n=1))
        assert await ticks(client, 1) == [1]


async def test_a_replay_is_never_partial(monkeypatch):
    monkeypatch.setattr(streams, "MAX_MESSAGES", 3)
    async with open_page() as page:
        epoch = (await welcome(page))["epoch"]
    for n in range(5):
        await abroadcast("room", Tick(n=n))
    async with open_page(query(epoch, 1)) as client:
        assert (await welcome(client))["recovered"] is False
        await client.assert_silent()
    async with open_page(query(epoch, 2)) as client:
        assert (await welcome(client))["recovered"] is True
        assert await ticks(client, 3) == [2, 3, 4]


@pytest.mark.parametrize("text", ["epoch=x", "seq=1", "epoch=x&seq=-1", "epoch=x&seq=" + "9" * 5000, "epoch=x&seq=²"])
async def test_a_position_that_is_none_is_ignored(text):
    async with open_page(f"room/?{text}") as client:
        assert (await welcome(client))["recovered"] is None


async def test_a_consumer_that_filters_live_broadcasts_filters_the_replay_too():
    async with open_page("even/") as client:
        epoch = (await welcome(client))["epoch"]
        for n in range(4):
            await abroadcast("room", Tick(n=n))
        assert await ticks(client, 2) == [0, 2]
    async with open_page(f"even/?epoch={epoch}&seq=0") as client:
        assert await ticks(client, 2) == [0, 2]
        await client.assert_silent()


async def test_a_long_replay_fits_a_consumer_that_filters():
    async with open_page("even/") as page:
        epoch = (await welcome(page))["epoch"]
    for n in range(streams.MAX_MESSAGES):
        await abroadcast("room", Tick(n=n))
    async with open_page(f"even/?epoch={epoch}&seq=0") as page:
        assert await ticks(page, streams.MAX_MESSAGES // 2) == list(range(0, streams.MAX_MESSAGES, 2))


async def test_a_burst_fits_a_consumer_that_filters():
    async with open_page("even/") as page:
        await welcome(page)
        for n in range(streams.MAX_MESSAGES):
            await abroadcast("room", Tick(n=n))
        assert await ticks(page, streams.MAX_MESSAGES // 2) == list(range(0, streams.MAX_MESSAGES, 2))


async def test_without_replay_nothing_is_numbered_and_nothing_is_replayed():
    async with open_page("forgetful/") as client:
        greeting = await welcome(client)
        await abroadcast("room", Tick(n=0))
        assert "seq" not in await client.assert_broadcast("tick")
    async with open_page(f"forgetful/?epoch={greeting['epoch']}&seq=0") as client:
        assert (await welcome(client))["recovered"] is None
        await client.assert_silent()


async def test_another_group_than_group_name_is_live_and_without_numbers():
    async with open_page("two/") as client:
        await welcome(client)
        await abroadcast("hall", Tick(n=1))
        assert "seq" not in await client.assert_broadcast("tick", n=1)
        await abroadcast("room", Tick(n=2))
        assert (await client.assert_broadcast("tick", n=2))["seq"] == 1


async def test_a_raw_group_send_reaches_every_member_without_a_number():
    async with open_page() as client, open_page() as other:
        frame = {"type": "status_update", "data": {"text": "tea"}}
        await get_channel_layer().group_send("room", {"type": "broadcast_message", "data": frame})
        assert await client.assert_broadcast("status_update") == await other.assert_broadcast("status_update") == frame


async def test_pages_are_notified_when_the_history_is_lost_while_they_are_connected():
    async with open_page() as client:
        epoch = (await welcome(client))["epoch"]
        await abroadcast("room", Tick(n=0))
        await ticks(client, 1)
        get_streams()._streams["room"].epoch = "another"  # as when a server was flushed
        await abroadcast("room", Tick(n=1))
        resync = await client.next_message("resync", lambda frame: frame["type"] == "resync")
        assert resync["data"]["epoch"] == "another" != epoch


async def test_a_gap_is_recovered_once_for_all_members():
    async with open_page() as client, open_page() as other:
        await welcome(client)
        [subscriber] = get_streams()._streams["room"].subscribers.values()
        on_broadcast = subscriber.on_broadcast
        subscriber.on_broadcast = lambda broadcast: None  # the process receives nothing for a moment
        await abroadcast("room", Tick(n=0))
        await abroadcast("room", Tick(n=1))
        subscriber.on_broadcast = on_broadcast
        await abroadcast("room", Tick(n=2))
        assert await ticks(client, 3) == await ticks(other, 3) == [0, 1, 2]


async def test_no_task_is_left_when_the_last_page_is_gone():
    before = asyncio.all_tasks()
    async with open_page() as client:
        await welcome(client)
        assert asyncio.all_tasks() - before
    async with asyncio.timeout(5):
        while left := asyncio.all_tasks() - before:  # a thread of one may be about to end
            await asyncio.wait(left)
