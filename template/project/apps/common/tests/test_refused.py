"""A page that was refused or signed out gets nothing more and reaches nothing, whatever its server hands on."""

import asyncio
from socket import gethostname

import pytest
from django.contrib.auth.models import AnonymousUser

from apps.common.testing import Client, connect, sign_in
from apps.common.websockets.access.origin import OriginCheck
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.broadcast import abroadcast, user_group
from apps.common.websockets.messages import Message
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.streams.base import StreamsUnavailable
from apps.common.websockets.streams.memory import MemoryStreams

from .serving import PATH, PublicConsumer, connections, members, serve
from .test_access import set_password, sign_out
from .wire import CONNECT, DISCONNECT, Wire, text, until

pytestmark = pytest.mark.django_db(transaction=True)


class News(Message):
    pass


class Wait(Message):
    pass


class Pay(Message):
    pass


class BankConsumer(BaseWebSocketConsumer):
    group_name = "room"
    paid: list[str]
    is_open = asyncio.Event

    async def handle_wait(self, data: Wait) -> None:
        await self.is_open.wait()

    async def handle_pay(self, data: Pay) -> None:
        self.paid.append(self.user.get_username())


@pytest.fixture
def bank():
    return type("Bank", (BankConsumer,), {"paid": [], "is_open": asyncio.Event()})


class StrictWire(Wire):
    """Refuses to send before the connection is accepted, as uvicorn does."""

    is_accepted = False

    async def send(self, message):
        self.is_accepted |= message["type"] == "websocket.accept"
        if not self.is_accepted:
            raise RuntimeError(f"Expected ASGI message 'websocket.accept', but got {message['type']}")
        await super().send(message)


def scope_of(user):
    return {"type": "websocket", "path": PATH, "query_string": b"", "headers": [], "user": user}


async def test_what_a_refused_page_sends_is_not_handled(bank):
    wire = Wire(CONNECT, text('{"type": "pay"}'))
    running = asyncio.create_task(bank()(scope_of(AnonymousUser()), wire.receive, wire.send))
    await wire.until_sent(2)
    assert wire.sent[-1] == {"type": "websocket.close", "code": 4401}
    wire.push(text('{"type": "pay"}'), DISCONNECT)
    await running
    assert bank.paid == []


async def test_what_an_allowed_page_sends_is(bank, user):
    wire = Wire(CONNECT, text('{"type": "pay"}'))
    running = asyncio.create_task(bank()(scope_of(user), wire.receive, wire.send))
    await until(lambda: bank.paid == [user.get_username()])
    wire.push(DISCONNECT)
    await running


async def test_what_waits_when_the_page_is_signed_out_is_not_handled(bank, user):
    async with connect(PATH, user, application=serve(bank)) as client:
        await client.send("wait")
        await client.send("pay")
        await client.assert_alive()
        await sign_out(client)
        await client.assert_closed(3000)
        bank.is_open.set()
    assert bank.paid == []


async def test_a_logout_while_a_feature_prepares_to_connect_closes_the_page(user):
    asked, answer = asyncio.Event(), asyncio.Event()

    class SlowConsumer(PublicConsumer):
        async def connect(self):
            asked.set()
            await answer.wait()
            await super().connect()

    client = Client(PATH, await sign_in(user), "http://testserver", serve(SlowConsumer))
    opening = asyncio.create_task(client.open())
    await asyncio.wait_for(asked.wait(), 5)
    await sign_out(client)
    answer.set()
    with pytest.raises(AssertionError, match="refused the handshake"):
        await opening
    await client.drop()


class OwnConsumer(BaseWebSocketConsumer):
    async def is_allowed(self):
        return True

    async def connect(self):
        self.group_name = user_group("own", self.user) if self.user.is_authenticated else "everyone"
        await super().connect()


async def test_a_public_page_that_was_signed_out_gets_nothing_that_is_sent_to_the_user(user):
    served = serve(OwnConsumer)
    async with connect(PATH, user, application=served) as client, connect(PATH, user, application=served) as thief:
        await set_password(user, client)
        await client.assert_closed(3000)
        await thief.assert_closed(3000)
        await client.reconnect()
        await thief.reconnect()
        await abroadcast(user_group("own", user), News())
        await client.assert_broadcast("news")
        await thief.assert_silent()


async def test_a_command_before_the_page_is_accepted_harms_no_client(user):
    asked, answer = asyncio.Event(), asyncio.Event()

    class SlowAccessConsumer(PublicConsumer):
        async def is_allowed(self):
            asked.set()
            await answer.wait()
            return True

    wire = StrictWire(CONNECT)
    running = asyncio.create_task(SlowAccessConsumer()(scope_of(user), wire.receive, wire.send))
    await asyncio.wait_for(asked.wait(), 5)
    get_registry().handle_command({"drain": "5", "host": gethostname()})
    answer.set()
    assert [message["type"] for message in await wire.until_sent(2)] == ["websocket.accept", "websocket.send"]
    wire.push(DISCONNECT)
    await running


async def test_a_page_whose_missed_broadcasts_are_unavailable_holds_nothing(monkeypatch, caplog):
    async def since(self, group, position):
        raise StreamsUnavailable("away")

    monkeypatch.setattr(MemoryStreams, "since", since)
    async with connect(f"{PATH}?epoch=a&seq=1", application=serve(PublicConsumer)) as client:
        await client.assert_closed(1013)
        [connection] = connections()
        assert members() == 0
        await abroadcast("room", News())
        assert not connection.subscriptions._held


@pytest.mark.parametrize("code", [code for code in CloseCode if code > 3000])
async def test_a_close_code_is_a_plain_integer(code):
    """Daphne refuses a subclass of it, and leaves the connection open."""

    class ClosingConsumer(PublicConsumer):
        async def connect(self):
            await self.accept()
            await self.close(code)

    wire = Wire(CONNECT)
    serving = asyncio.create_task(ClosingConsumer()(scope_of(AnonymousUser()), wire.receive, wire.send))
    await wire.until_sent(2)
    wire.push(DISCONNECT)  # not before: a page that leaves is sent nothing more
    await serving
    assert (wire.sent[-1]["code"], type(wire.sent[-1]["code"])) == (code, int)


@pytest.mark.parametrize(("origin", "path"), [("http://evil.com", PATH), ("", "/nowhere/")])
async def test_so_is_a_close_of_the_origin_check(origin, path):
    wire = Wire(CONNECT, DISCONNECT)
    headers = [(b"origin", origin.encode())] if origin else []
    served = OriginCheck(serve(PublicConsumer))
    await served({"type": "websocket", "path": path, "headers": headers}, wire.receive, wire.send)
    assert type(wire.sent[-1]["code"]) is int
