"""With a database in a file: Django never closes a connection to one in memory."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.db import connections as databases

from apps.common.testing import connect
from apps.common.websockets.messages import Message
from apps.common.websockets.process import registry

from .serving import PATH, PublicConsumer, serve
from .wire import until


class Ask(Message):
    pass


class Answer(Message):
    number: int


class Block(Message):
    pass


class AskingConsumer(PublicConsumer):
    started = threading.Event()
    go_on = threading.Event()

    async def handle_ask(self, data: Ask) -> Answer:
        # As Django's own async methods do, which unlike database_sync_to_async do not check the connection.
        return Answer(number=await sync_to_async(query)())

    async def handle_block(self, data: Block) -> Answer:
        return Answer(number=await database_sync_to_async(self.block)())

    def block(self) -> int:
        self.started.set()
        assert self.go_on.wait(5)
        return 0


class EchoConsumer(PublicConsumer):
    async def handle_answer(self, data: Answer) -> Answer:
        return data


def query() -> int:
    with databases["file"].cursor() as cursor:
        cursor.execute("SELECT 42")
        number: int = cursor.fetchone()[0]
        return number


def break_connection() -> None:
    databases["file"].connection.close()
    databases["file"].is_usable = lambda: False  # as other databases find out; for SQLite it is always True


@pytest.fixture(autouse=True)
def _file_database(tmp_path, django_db_blocker):
    """The alias "file": a connection that is kept open, as in production."""
    databases.settings["file"] = {
        **databases.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": tmp_path / "db.sqlite3",
        "CONN_MAX_AGE": None,
        "OPTIONS": {},  # the default's may be another database's
    }
    with django_db_blocker.unblock():
        yield
    del databases.settings["file"]


async def in_orm_thread(function):
    return await sync_to_async(function)()


@pytest.fixture
def asking():
    return serve(AskingConsumer)


async def test_a_broken_connection_costs_one_request(asking):
    async with connect(PATH, application=asking, raise_exceptions=False) as client:
        assert (await client.request("ask"))["data"] == {"number": 42}
        await in_orm_thread(break_connection)
        assert (await client.request("ask"))["data"]["code"] == "internal_error"
        assert (await client.request("ask"))["data"] == {"number": 42}
        await in_orm_thread(lambda: databases["file"].close())


async def test_a_connection_that_is_too_old_is_closed_by_the_housekeeping(asking, monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)
    swept = asyncio.Event()
    loop = asyncio.get_running_loop()
    close = registry.close_old_connections

    def close_and_tell():
        close()
        loop.call_soon_threadsafe(swept.set)

    monkeypatch.setattr(registry, "close_old_connections", close_and_tell)
    async with connect(PATH, application=asking) as client:
        await client.request("ask")
        swept.clear()
        await asyncio.wait_for(swept.wait(), 5)
        assert await in_orm_thread(lambda: databases["file"].connection is not None)
        await in_orm_thread(lambda: setattr(databases["file"], "close_at", 0))
        for _ in range(2):  # the first may have been under way
            swept.clear()
            await asyncio.wait_for(swept.wait(), 5)
        assert await in_orm_thread(lambda: databases["file"].connection is None)
        assert (await client.request("ask"))["data"] == {"number": 42}
        await in_orm_thread(lambda: databases["file"].close())


async def test_who_needs_no_database_does_not_wait_for_it(asking):
    async with connect(PATH, application=asking) as busy, connect(PATH, application=serve(EchoConsumer)) as idle:
        await idle.assert_silent()
        AskingConsumer.started.clear()
        AskingConsumer.go_on.clear()
        await busy.send("block")
        await until(AskingConsumer.started.is_set)
        assert (await idle.request("answer", number=7))["data"] == {"number": 7}
        await idle.assert_alive()
        await busy.assert_silent()
        AskingConsumer.go_on.set()
        await busy.assert_broadcast("answer", number=0)
