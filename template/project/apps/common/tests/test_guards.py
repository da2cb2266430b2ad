"""Nothing that one connection, group, hook or callback raises ends a task that serves others."""

import asyncio
import sys

import pytest
from channels.layers import get_channel_layer

from apps.common.testing import connect
from apps.common.websockets import service
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process import registry
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.service import Service

from .serving import PATH, PublicConsumer, connections, members, serve
from .wire import CONNECT, Wire, text, until

pytestmark = pytest.mark.django_db(transaction=True)


class Fail(Message):
    pass


class Noted(Message):
    pass


def recurse():
    return recurse()


def exit_process():
    sys.exit(3)


def cancel():
    raise asyncio.CancelledError


def group():
    raise BaseExceptionGroup("several", [SystemExit(), ValueError()])


def fail():
    raise ZeroDivisionError


class Odd(BaseException):
    pass


def odd():
    raise Odd


KINDS = [fail, recurse, exit_process, cancel, group, odd]


class FailingConsumer(PublicConsumer):
    """Fails in one hook."""

    where = ""
    how = staticmethod(fail)

    def perhaps(self, hook):
        if hook == self.where:
            type(self).how()

    async def connect(self):
        self.perhaps("connect")
        await super().connect()

    async def is_allowed(self):
        self.perhaps("is_allowed")
        if hasattr(self, "was_checked"):
            self.perhaps("recheck")
        self.was_checked = True
        return True

    async def handle_fail(self, data: Fail) -> None:
        self.perhaps("handle")

    async def broadcast_message(self, event):
        self.perhaps("broadcast")
        await super().broadcast_message(event)

    async def noted(self, event):
        self.perhaps("event")

    async def disconnect(self, code):
        self.perhaps("disconnect")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr(service, "RESTART_SECONDS", 0.01)
    yield
    service.broken.clear()
    service.restarts.clear()


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("where", ["connect", "is_allowed", "recheck", "handle", "broadcast", "event", "disconnect"])
async def test_whatever_a_hook_raises_the_others_are_served(where, how):
    failing = serve(FailingConsumer, where=where, how=staticmethod(how), recheck_seconds=0.01)
    async with connect(PATH, application=serve(PublicConsumer)) as other:
        async with connect(PATH, application=failing, raise_exceptions=False) as one:
            if where == "handle":
                assert (await one.request("fail"))["data"]["code"] == "internal_error"
                await one.assert_alive()
            elif where in ("connect", "is_allowed", "recheck"):
                await one.assert_closed(1011)
            await get_channel_layer().group_send("room", {"type": "noted"})
            await abroadcast("room", Noted())
            await other.assert_broadcast("noted")
        await until(lambda: members() == 1 and len(connections()) == 1)
        await abroadcast("room", Noted())
        await other.assert_broadcast("noted")
        await other.assert_alive()
    assert not service.restarts


async def test_a_connection_with_a_bad_attribute_is_closed_and_the_others_are_still_checked(caplog):
    class Bad(PublicConsumer):
        async def connect(self):
            self.silent_seconds = None
            await super().connect()

    watched = serve(PublicConsumer, silent_seconds=0.2)
    async with connect(PATH, application=watched, raise_exceptions=False) as other:
        async with connect(PATH, application=serve(Bad), raise_exceptions=False) as one:
            await one.assert_closed(1011)
        await other.assert_closed(4408)  # which the same task does
    assert "could not be looked at" in caplog.text


@pytest.mark.parametrize("failure", [RuntimeError("after sending 'websocket.close'"), ValueError(), OSError()])
async def test_a_peer_to_whom_the_server_cannot_send_is_no_member(failure):
    wire = Wire(CONNECT)
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": Anonymous()}
    running = asyncio.create_task(PublicConsumer()(scope, wire.receive, wire.send))
    await wire.until_sent(2)
    wire.failure = failure
    await abroadcast("room", Noted())
    if isinstance(failure, OSError):  # as ASGI says that the peer has gone; a disconnect follows
        wire.push({"type": "websocket.disconnect", "code": 1006})
    await until(lambda: not members() and not connections())
    running.cancel()
    await asyncio.wait([running])


async def test_a_close_that_a_server_does_not_answer_ends_by_force(monkeypatch):
    monkeypatch.setattr("apps.common.websockets.connection.connection.END_SECONDS", 0.02)
    wire = Wire(CONNECT)
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": Anonymous()}
    running = asyncio.create_task(PublicConsumer()(scope, wire.receive, wire.send))
    await wire.until_sent(2)
    [connection] = connections()
    await connection.close(4403)
    await asyncio.wait([running], timeout=5)
    assert running.done()
    assert (members(), connections(), wire.transport.aborted.is_set()) == (0, [], True)


async def test_a_message_after_a_close_is_not_handled():
    handled = []

    class Closing(PublicConsumer):
        async def handle_fail(self, data: Fail) -> None:
            handled.append(data)

    wire = Wire(CONNECT)
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": Anonymous()}
    running = asyncio.create_task(Closing()(scope, wire.receive, wire.send))
    await wire.until_sent(2)
    [connection] = connections()
    await connection.close(4403)
    wire.push(text('{"type": "fail"}'), {"type": "websocket.disconnect", "code": 4403})
    await asyncio.wait_for(running, 5)
    assert not handled


# ---------------------------------------------------------------------------------------------------------------------
# Services
# ---------------------------------------------------------------------------------------------------------------------


def tasks_of_all():
    """The tasks that serve several connections, by what they do."""
    [only] = get_hub()._groups.values()
    return {"housekeeping": get_registry()._housekeeper, "events": only._pump}


@pytest.mark.parametrize("which", ["housekeeping", "events"])
async def test_a_task_that_serves_others_and_is_ended_is_restarted_and_counted(which):
    async with connect(PATH, application=serve(PublicConsumer)) as client:
        await client.assert_silent()
        served = tasks_of_all()[which]
        served._task.cancel()  # by any code
        await until(lambda: service.restarts[served.name] == 1 and served._task)
        await get_channel_layer().group_send("room", {"type": "broadcast_message", "data": Noted().to_wire()})
        await client.assert_broadcast("noted")
        [connection] = connections()
        connection.last_message_at -= connection.silent_seconds + 1
        await client.assert_closed(4408)


@pytest.mark.parametrize("how", KINDS)
async def test_a_service_that_cannot_stay_up_makes_the_process_not_ready(how, client):
    async def run():
        how()

    one = Service("a service", run)
    one.start()
    await until(lambda: service.broken)
    response = client.get("/ready/")
    assert (response.status_code, response.content) == (503, b"failing: a service\n")
    await until(lambda: service.restarts["a service"] > 3)  # it is tried again all the same
    one.stop()
    assert client.get("/ready/").status_code == 200


class Anonymous:
    pk = None
    is_authenticated = False
