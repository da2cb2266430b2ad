"""Access belongs to accepting, and only methods that are declared can be called."""

import asyncio
import logging

import pytest
from channels.layers import get_channel_layer

from apps.common.testing import connect
from apps.common.websockets.base_consumer import REFUSED, BaseWebSocketConsumer
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message

from .serving import PATH, PublicConsumer, consumers, members, serve
from .wire import CONNECT, DISCONNECT, Wire, until

pytestmark = pytest.mark.django_db(transaction=True)


class DeleteAll(Message):
    pass


class Noted(Message):
    pass


DONE: list = []


@pytest.fixture(autouse=True)
def done():
    DONE.clear()
    return DONE


class MembersConsumer(BaseWebSocketConsumer):
    async def handle_delete_all(self, data: DeleteAll) -> None:
        DONE.append("deleted")


class Tutorial(MembersConsumer):
    """As Channels' tutorial has it."""

    async def connect(self):
        self.group_name = "room"
        await self.accept()
        DONE.append("went on")
        await self.join("hall")
        await self.send_message(Noted())


class Super(MembersConsumer):
    async def connect(self):
        self.group_name = "room"
        await super().connect()
        DONE.append("went on")
        await self.join("hall")


class Joining(MembersConsumer):
    """Joins before it is accepted."""

    async def connect(self):
        await self.join("hall")
        await super().connect()


class Swallowing(MembersConsumer):
    async def connect(self):
        self.group_name = "room"
        try:
            await self.accept()
        except BaseException:
            DONE.append("swallowed")
        await self.join("hall")
        await self.send_message(Noted())


@pytest.mark.parametrize("consumer", [Tutorial, Super, Joining, Swallowing])
async def test_a_client_that_is_not_allowed_reaches_nothing(consumer, done):
    async with connect(PATH, application=serve(consumer)) as client:
        await client.send("delete_all")
        await client.assert_closed(4401)
        assert not client.received
        assert (members("room"), members("hall")) == (0, 0)
    assert done in ([], ["swallowed"])


async def test_a_connect_that_accepts_is_served_as_any_other(user, done):
    async with connect(PATH, user, application=serve(Tutorial)) as client:
        await client.assert_broadcast("noted")
        assert (await client.request("delete_all"))["type"] == "delete_all_result"
        await abroadcast("room", Noted())
        message = await client.assert_broadcast("noted")
        assert message["seq"] == 1
        assert (members("room"), members("hall"), done) == (1, 1, ["went on", "deleted"])


async def test_a_connect_that_accepts_twice_is_accepted_once(user):
    class Twice(MembersConsumer):
        async def connect(self):
            await super().connect()
            await self.accept()

    async with connect(PATH, user, application=serve(Twice)) as client:
        await client.assert_silent()


async def test_a_subprotocol_is_accepted(user):
    class Protocol(MembersConsumer):
        async def connect(self):
            await self.accept(subprotocol="v1", headers=[(b"x", b"y")])

    wire = Wire(CONNECT)
    running = asyncio.create_task(
        Protocol()({"path": PATH, "query_string": b"", "headers": [], "user": user}, wire.receive, wire.send)
    )
    sent = await wire.until_sent(1)
    assert sent[0] == {"type": "websocket.accept", "subprotocol": "v1", "headers": [(b"x", b"y")]}
    wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)


@pytest.mark.parametrize(
    ("statements", "reason"),
    [("pass", "without `await super().connect()`"), ("await super().connect(); self.group_name = 'x'", "too late")],
)
async def test_a_connect_that_forgets_something_is_an_error(user, caplog, statements, reason):
    names: dict = {"BaseWebSocketConsumer": BaseWebSocketConsumer}
    source = f"class Forgetful(BaseWebSocketConsumer):\n async def connect(self):\n  {statements}"
    exec(source, names)  # noqa: S102 - the source is above
    async with connect(PATH, user, application=serve(names["Forgetful"]), raise_exceptions=False) as client:
        await client.assert_closed(1011)
    assert reason in caplog.text


# ---------------------------------------------------------------------------------------------------------------------
# Names of Channels' consumers that have no effect here
# ---------------------------------------------------------------------------------------------------------------------


async def method(self, *arguments, **more):
    """Any."""


@pytest.mark.parametrize("name", [*REFUSED, "channel_name"])
@pytest.mark.parametrize("of_mixin", [False, True])
def test_what_has_no_effect_is_refused_when_the_class_is_made(name, of_mixin):
    value = ["room"] if name == "groups" else method
    bases = (type("Mixin", (), {name: value}), BaseWebSocketConsumer) if of_mixin else (BaseWebSocketConsumer,)
    with pytest.raises(TypeError, match=f"{name} has no effect here. Instead: "):
        type("Stock", bases, {} if of_mixin else {name: value})


async def test_what_has_no_effect_is_refused_where_it_is_read_or_set(user):
    async with connect(PATH, user, application=serve(MembersConsumer)):
        [consumer] = consumers()
        with pytest.raises(AttributeError, match=r"channel_name has no effect here. Instead: `await self.join"):
            consumer.channel_name  # noqa: B018
        with pytest.raises(AttributeError, match="groups has no effect here"):
            consumer.groups = ["room"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("silent_seconds", None),
        ("silent_seconds", 0),
        ("recheck_seconds", -1),
        ("max_bytes", "64k"),
        ("rate_per_second", float("nan")),
        ("burst", float("inf")),
        ("max_connections", True),
        ("linger_seconds", method),
        ("replay", 1),
        ("group_name", 7),
        ("group_name", b"room"),
    ],
)
def test_a_limit_of_a_wrong_kind_is_refused_when_the_class_is_made(name, value):
    with pytest.raises(TypeError, match=rf"Wrong\.{name} is .*not "):
        type("Wrong", (BaseWebSocketConsumer,), {name: value})


def test_limits_may_be_fractions():
    assert type("Right", (BaseWebSocketConsumer,), {"recheck_seconds": 0.5, "replay": False}).recheck_seconds == 0.5


# ---------------------------------------------------------------------------------------------------------------------
# Events
# ---------------------------------------------------------------------------------------------------------------------


class EventConsumer(PublicConsumer):
    async def noted(self, event):
        DONE.append(event)
        await self.send_message(Noted())

    async def _private(self, event):
        DONE.append("private")

    async def handle_delete_all(self, data: DeleteAll) -> None:
        DONE.append("deleted")

    async def handle_helper(self, event):
        DONE.append("helper")

    def sync(self, event):
        DONE.append("sync")

    async def of_two(self, event, more):
        DONE.append("of two")

    attribute = "x"


FORBIDDEN = ["_private", "__class__", "handle_delete_all", "handle.delete.all", "handle_helper", "sync", "of_two"]
FORBIDDEN += ["attribute", "close", "send_text", "send.json", "disconnect", "is_allowed", "accept", "join", "dispatch"]
FORBIDDEN += ["websocket.connect", "websocket_receive", "handle_message", "resync", "welcome", "unknown"]
FORBIDDEN += ["x\n\x1b[31m", ""]


@pytest.mark.parametrize("type_", FORBIDDEN)
async def test_an_event_reaches_what_is_declared_and_nothing_else(type_, done, caplog):
    caplog.set_level(logging.ERROR)
    async with connect(PATH, application=serve(EventConsumer), raise_exceptions=False) as client:
        layer = get_channel_layer()
        await layer.group_send("room", {"type": type_, "code": 4000, "group": "hall", "data": {}})
        await layer.group_send("room", {"type": "noted"})
        await client.assert_broadcast("noted")
        assert (done, members(), members("hall")) == ([{"type": "noted"}], 1, 0)
        await client.assert_silent()
    assert all("\n" not in record.getMessage() and "\x1b" not in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("event", [{}, {"type": None}, {"type": 7}, {"type": "broadcast_message"}, {"data": {}}])
async def test_an_event_that_is_none_is_refused_and_the_next_arrives(event, done):
    async with connect(PATH, application=serve(EventConsumer), raise_exceptions=False) as client:
        await get_channel_layer().group_send("room", event)
        await get_channel_layer().group_send("room", {"type": "noted"})
        await client.assert_broadcast("noted")
        await until(lambda: done)


def test_a_handler_of_a_private_message_is_refused():
    class _Secret(Message):
        pass

    async def handle__secret(self, data: _Secret) -> None:
        """Never called."""

    with pytest.raises(TypeError, match="public name"):
        type("C", (BaseWebSocketConsumer,), {"handle__secret": handle__secret})
