import asyncio
import gc
import threading
import time
import weakref

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection as database
from django.db.utils import ConnectionHandler

from apps.common.testing import Client, connect, sign_in
from apps.common.websockets import readers
from apps.common.websockets.access import identity, sessions
from apps.common.websockets.connection.connection import Connection
from apps.common.websockets.process import registry
from apps.common.websockets.process.registry import get_registry

from .serving import PATH, PublicConsumer, connections, serve
from .test_access import MembersConsumer
from .wire import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fast_housekeeping(monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)


@pytest.fixture
def loads(monkeypatch):
    """Every list of sessions that was looked up."""
    loads = []
    load = registry.load_users
    monkeypatch.setattr(registry, "load_users", lambda keys: loads.append(keys) or load(keys))
    return loads


def page(**options):
    return connect(PATH, application=serve(PublicConsumer), **options)


async def test_a_silent_connection_is_closed_and_another_is_not():
    async with page() as silent, page() as lively:
        await silent.assert_silent()
        await lively.assert_silent()
        one, other = connections()
        one.last_message_at -= one.silent_seconds + 1
        other.last_message_at -= other.silent_seconds - 10
        await silent.assert_closed(4408)
        await lively.assert_silent()


async def test_any_frame_breaks_the_silence():
    async with page() as one:
        await one.assert_silent()
        [connection] = connections()
        connection.last_message_at = 0
        await one.send_text("nonsense")
        await one.assert_error("invalid_json")
        assert connection.last_message_at > 0


async def test_a_silent_connection_that_cannot_be_closed_is_not_tried_again_at_once(monkeypatch):
    async with page() as one:
        await one.assert_silent()
        [connection] = connections()
        closes = []
        monkeypatch.setattr(Connection, "close", lambda self, code: _note(closes, code))
        rounds = _count_rounds()
        connection.last_message_at -= connection.silent_seconds + 1
        await asyncio.wait_for(rounds(3), 5)
        assert closes == [4408]


async def test_the_housekeeping_continues_after_a_failure(monkeypatch, caplog):
    async with page(raise_exceptions=False) as one:
        await one.assert_silent()
        [connection] = connections()
        monkeypatch.setattr(registry, "load_users", lambda keys: 1 / 0)
        rounds = _count_rounds()
        connection.check_at = 0
        await asyncio.wait_for(rounds(2), 5)
        connection.last_message_at -= connection.silent_seconds + 1
        await one.assert_closed(4408)
    assert "ZeroDivisionError" in caplog.text


async def test_no_task_is_left_when_the_last_connection_has_gone():
    before = asyncio.all_tasks()
    async with page() as one, page() as other:
        await one.assert_silent()
        await other.assert_silent()
        rounds = _count_rounds()
        await asyncio.wait_for(rounds(1), 5)
        assert {task.get_name() for task in asyncio.all_tasks() - before} >= {
            "The housekeeping of connections",
            "The receiving of a group's events",
        }
    async with asyncio.timeout(5):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)
    assert get_registry().connections == {}


async def test_the_housekeeping_starts_again_with_the_next_connection():
    for _ in range(2):
        async with page() as one:
            await one.assert_silent()
            connections()[0].last_message_at -= 1_000
            await one.assert_closed(4408)


async def test_one_look_up_serves_all_connections_of_a_session(user, loads, monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 60)  # it would look up too
    served = serve(MembersConsumer)
    async with connect(PATH, user, application=served) as first, connect(PATH, user, application=served):
        tabs = [Client(PATH, first.cookie, "http://testserver", served) for _ in range(9)]
        for tab in tabs:
            await tab.open()
        await until(lambda: len(connections()) == 11)
        asked = []
        monkeypatch.setattr(Connection, "recheck", lambda self, user: _note(asked, user))
        get_registry().handle_command({"recheck": identity.user_key(user)})
        await until(lambda: len(asked) == 11)
        assert [len(keys) for keys in loads] == [2]
        for tab in tabs:
            await tab.drop()


async def test_a_visitor_without_a_session_costs_no_query(loads):
    queries = []

    def count(execute, *arguments):
        queries.append(arguments)
        return execute(*arguments)

    with database.execute_wrapper(count):
        async with page() as one:
            await one.assert_silent()
    assert queries == []


async def test_a_connection_that_goes_in_the_same_moment_keeps_no_other_from_being_asked(user):
    served = serve(MembersConsumer)
    async with connect(PATH, user, application=served) as one, connect(PATH, user, application=served) as other:
        await one.assert_silent()
        await other.assert_silent()
        await get_user_model().objects.filter(pk=user.pk).aupdate(is_active=False)
        get_registry().handle_command({"recheck": identity.user_key(user)})
        await get_registry().remove(connections()[0])
        await other.assert_closed(3000)


async def test_who_cannot_be_looked_up_keeps_no_other_from_being_asked(user, other_user, monkeypatch, caplog):
    served = {"application": serve(MembersConsumer), "raise_exceptions": False}
    async with connect(PATH, user, **served) as one, connect(PATH, other_user, **served) as other:
        await one.assert_silent()
        await other.assert_silent()
        load, broken = sessions._load_data, identity.identify(connections()[0].scope).session_key
        monkeypatch.setattr(sessions, "_load_data", lambda key, data: 1 / 0 if key == broken else load(key, data))
        await get_user_model().objects.filter(pk=other_user.pk).aupdate(is_active=False)
        for connection in connections():
            connection.check_at = 0
        await other.assert_closed(3000)
        await one.assert_silent()
    assert f"The user {identity.user_key(user)} could not be looked up" in caplog.text


async def test_a_session_that_cannot_be_read_keeps_no_other_from_connecting(user, monkeypatch):
    load = sessions._load_data
    monkeypatch.setattr(sessions, "_load_data", lambda key, data: 1 / 0 if key == "broken" else load(key, data))
    key = (await sign_in(user)).partition("=")[2]
    loader = sessions.BatchLoader()
    good, broken = await asyncio.gather(loader.load(key), loader.load("broken"), return_exceptions=True)
    assert good[1] == user
    assert isinstance(broken, ZeroDivisionError)


async def test_a_handlers_query_delays_no_session(user, monkeypatch):
    monkeypatch.setattr(sessions, "load_session", lambda key: (key, user))
    monkeypatch.setattr(readers, "connections", ConnectionHandler({}))  # as with a database that is not in memory
    running, go_on = threading.Event(), threading.Event()

    def query():
        running.set()
        assert go_on.wait(5)

    querying = asyncio.create_task(database_sync_to_async(query)())
    await until(running.is_set)
    loader = sessions.BatchLoader()
    assert await loader.load("key") == ("key", user)
    await loader.close()
    go_on.set()
    await querying


@pytest.mark.parametrize("goes", [True, False])
async def test_a_connection_that_has_gone_meanwhile_is_not_asked(goes, user, monkeypatch):
    looked, go_on = threading.Event(), threading.Event()
    load = registry.load_users

    def load_slowly(keys):
        looked.set()
        go_on.wait(5)
        return load(keys)

    async with connect(PATH, user, application=serve(MembersConsumer)) as one:
        await one.assert_silent()
        [connection] = connections()
        asked = []
        monkeypatch.setattr(Connection, "recheck", lambda self, user: _note(asked, user))
        monkeypatch.setattr(registry, "load_users", load_slowly)
        asking = asyncio.create_task(get_registry()._recheck([connection]))
        await until(looked.is_set)
        if goes:
            await one.drop()
        go_on.set()
        await asking
        await until(lambda: not get_registry()._tasks)
    assert asked == ([] if goes else [user])


async def test_an_order_that_makes_no_sense_changes_nothing(user):
    async with connect(PATH, user, application=serve(MembersConsumer)) as one:
        await one.assert_silent()
        for order in ({}, {"sign_out": "no such session"}, {"recheck": "0"}, {"sign_out": ""}, {"recheck": ""}):
            get_registry().handle_command(order)
        await one.assert_silent()


def test_the_registry_of_a_loop_goes_with_the_loop():
    async def visit():
        async with page() as one:
            await one.assert_silent()
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(visit())
    deadline = time.monotonic() + 5
    while loop() and time.monotonic() < deadline:  # a thread of the housekeeping may be about to end
        gc.collect()
    assert loop() is None


def _count_rounds():
    """Returns a function that waits for so many rounds."""
    one = get_registry()
    done = asyncio.Condition()
    counted = 0
    close = one.close_old_connections

    async def close_and_count():
        nonlocal counted
        await close()
        counted += 1
        async with done:
            done.notify_all()

    async def rounds(count):
        async with done:
            await done.wait_for(lambda: counted >= count)

    one.close_old_connections = close_and_count
    return rounds


async def _note(notes, note):
    notes.append(note)
