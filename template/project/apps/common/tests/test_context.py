"""All that belongs to a connection runs in its own context; a task that serves several inherits no context."""

import asyncio
import threading
from contextvars import Context, ContextVar

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.utils import translation

from apps.common.testing import connect
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process import registry
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.service import fork

from .serving import PATH, PublicConsumer, connections, consumers, serve
from .wire import CONNECT, DISCONNECT, Wire, text, until

pytestmark = pytest.mark.django_db(transaction=True)

ACTOR: ContextVar[str] = ContextVar("ACTOR", default="no actor")
SENDING: ContextVar[str] = ContextVar("SENDING", default="")


class Ask(Message):
    pass


class Rest(Message):
    pass


class Noted(Message):
    pass


SEEN: list[tuple[str, str, str]] = []


@pytest.fixture(autouse=True)
def seen(monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)
    SEEN.clear()
    return SEEN


class TracingConsumer(PublicConsumer):
    """Notes in which context each of its hooks runs."""

    def note(self, hook: str) -> None:
        SEEN.append((hook, ACTOR.get(), translation.get_language()))

    async def connect(self):
        self.note("connect")
        await super().connect()

    async def is_allowed(self):
        self.note("is_allowed")
        return True

    async def handle_ask(self, data: Ask) -> None:
        self.note("handle")

    async def handle_rest(self, data: Rest) -> None:
        await asyncio.sleep(0.02)  # until another task reads
        self.note("handle slowly")

    async def broadcast_message(self, event):
        self.note("broadcast")
        await super().broadcast_message(event)

    async def noted(self, event):
        self.note("event")
        await self.send_message(Noted())

    async def disconnect(self, code):
        self.note("disconnect")


HOOKS = {"connect", "is_allowed", "handle", "handle slowly", "broadcast", "event", "disconnect"}


def with_actor(application):
    """ASGI middleware that names the actor and the language, as audit logs and multi-tenant projects have it."""

    async def middleware(scope, receive, send):
        ACTOR.set(scope["path"])
        translation.activate("de")
        await application(scope, receive, send)

    return middleware


async def test_every_hook_runs_in_the_context_of_its_connection(seen):
    application = with_actor(serve(TracingConsumer, recheck_seconds=0.01))
    async with connect("/ws/1/", application=application) as one, connect("/ws/2/", application=application) as other:
        for client in (one, other):
            await client.request("ask")
            await client.request("rest")
            await client.request("ask")
        await abroadcast("room", Noted())
        await get_channel_layer().group_send("room", {"type": "noted"})
        for client in (one, other):
            await client.assert_broadcast("noted")
            await client.assert_broadcast("noted")
        checks = seen.count(("is_allowed", "/ws/1/", "de"))
        await until(lambda: seen.count(("is_allowed", "/ws/1/", "de")) > checks)
    assert set(seen) == {(hook, path, "de") for hook in HOOKS for path in ("/ws/1/", "/ws/2/")}


class ActivatingConsumer(TracingConsumer):
    async def connect(self):
        ACTOR.set("set in connect()")
        await super().connect()


async def test_what_connect_sets_stays_for_the_whole_connection(seen):
    async with connect(PATH, application=serve(ActivatingConsumer)) as client:
        await abroadcast("room", Noted())
        await client.assert_broadcast("noted")
    assert {(hook, actor) for hook, actor, _ in seen} == {
        (hook, "set in connect()") for hook in ("connect", "is_allowed", "broadcast", "disconnect")
    }


async def test_a_handler_an_event_and_a_check_may_use_the_database_at_one_time(seen, user):
    waiting, may_end, checks, done = asyncio.Event(), threading.Event(), [], []
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(waiting.set)
        assert may_end.wait(10)

    class WorkingConsumer(PublicConsumer):
        async def is_allowed(self):
            checks.append(1)
            await database_sync_to_async(self.user.refresh_from_db)()
            done.append(1)
            return True

        async def handle_ask(self, data: Ask) -> None:
            await database_sync_to_async(work)()

        async def noted(self, event):
            seen.append("noted")
            await database_sync_to_async(self.user.refresh_from_db)()
            await self.send_message(Noted())

    async with connect(PATH, user, application=serve(WorkingConsumer)) as client:
        await client.send("ask")
        await waiting.wait()
        [one] = connections()
        await get_channel_layer().group_send("room", {"type": "noted"})
        get_registry().spawn(get_registry()._recheck([one]), Context())
        get_registry().spawn(one.recheck(user), fork(one.context))
        await until(lambda: seen and len(checks) > 1)
        may_end.set()
        await client.assert_broadcast("noted")
        await client.assert_alive()
        await until(lambda: len(done) == 3)  # the last of what uses the database


class Wrapped:
    """A server whose `send` a middleware has wrapped: it sets a context variable, and resets it."""

    def __init__(self, *messages):
        self.wire = Wire(*messages)
        self.seen = []

    async def send(self, message):
        token = SENDING.set(ACTOR.get())
        try:
            await self.wire.send(message)
        finally:
            self.seen.append(SENDING.get())
            SENDING.reset(token)


@pytest.mark.parametrize("stalls", [False, True])
async def test_a_middleware_may_set_and_reset_a_variable_around_send(stalls, caplog):
    ACTOR.set("ann")
    wrapped = Wrapped(CONNECT)
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": Anonymous()}
    running = asyncio.create_task(TracingConsumer()(scope, wrapped.wire.receive, wrapped.send))
    await wrapped.wire.until_sent(2)
    ACTOR.set("the publisher")
    if stalls:
        wrapped.wire.stall()
    await abroadcast("room", Noted())  # sent by the hub, or, while the client is slow, by a task
    await get_channel_layer().group_send("room", {"type": "noted"})  # sent by an event's handler
    wrapped.wire.push(text('{"type": "ask", "ref": 1}'))  # answered by the connection
    [consumer] = consumers()
    await asyncio.create_task(asyncio.sleep(0.01))
    wrapped.wire.resume()
    await consumer.send_message(Noted())  # sent by somebody else
    await wrapped.wire.until_sent(6)
    wrapped.wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)
    assert wrapped.seen == ["ann"] * 6
    assert "ERROR" not in caplog.text


class Anonymous:
    pk = None
    is_authenticated = False


async def test_what_serves_several_inherits_no_context():
    ACTOR.set("the first one")
    async with connect(PATH, application=serve(TracingConsumer)) as client:
        await client.assert_silent()
        tasks = [get_registry()._housekeeper._task, *(group._pump._task for group in _groups())]
        found = []
        for task in tasks:
            assert task is not None
            found.append(_context_of(task).get(ACTOR, "no actor"))
        assert found == ["no actor"] * 2


def _groups():
    from apps.common.websockets.process.hub import get_hub

    return list(get_hub()._groups.values())


def _context_of(task):
    import gc
    from contextvars import Context

    return next(each for each in gc.get_referents(task) if isinstance(each, Context))
