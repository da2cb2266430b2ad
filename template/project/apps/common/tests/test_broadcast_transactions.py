"""When a broadcast is sent, with transactions of several databases; and what refuses one at the call."""

import sys
from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.db.transaction import atomic

from apps.common.websockets.broadcast import abroadcast, broadcast, stream_position
from apps.common.websockets.messages import Message
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import StreamsUnavailable
from apps.common.websockets.streams.memory import MemoryStreams

pytestmark = pytest.mark.django_db(transaction=True)


class Note(Message):
    text: str = "tea"


@pytest.fixture(autouse=True)
def is_served(monkeypatch, settings):
    settings.REDIS_URL = ""
    get_streams.cache_clear()
    monkeypatch.setattr(sys.modules[broadcast.__module__], "is_serving", lambda: True)


@pytest.fixture
def other(tmp_path) -> Iterator[str]:
    """The alias of a second database."""
    connections.databases["other"] = {**connections.databases["default"], "NAME": tmp_path / "other.sqlite3"}
    connections.databases["other"]["ENGINE"] = "django.db.backends.sqlite3"
    connections.databases["other"]["OPTIONS"] = {}
    connections["other"].connect()
    yield "other"
    connections["other"].close()
    del connections["other"]
    del connections.databases["other"]


def sent() -> int:
    position = stream_position("notes")
    assert position
    return position.seq


def test_without_a_transaction_it_is_sent_at_once():
    broadcast("notes", Note())
    assert sent() == 1


def test_waits_for_the_transaction_of_another_database(other):
    with atomic(using=other):
        broadcast("notes", Note())
        assert sent() == 0
    assert sent() == 1


@pytest.mark.parametrize("outer", ["default", "other"])
def test_waits_for_all_transactions(other, outer):
    inner = {"default": "other", "other": "default"}[outer]
    with atomic(using=outer):
        with atomic(using=inner):
            broadcast("notes", Note())
        assert sent() == 0
    assert sent() == 1


@pytest.mark.parametrize("failing", ["default", "other"])
@pytest.mark.parametrize("outer", ["default", "other"])
def test_is_dropped_if_any_transaction_is_rolled_back(other, outer, failing):
    inner = {"default": "other", "other": "default"}[outer]
    with atomic(using=outer):
        with atomic(using=inner):
            broadcast("notes", Note())
            transaction.set_rollback(failing == inner, using=inner)
        transaction.set_rollback(failing == outer, using=outer)
    assert sent() == 0


def test_is_dropped_with_its_savepoint(other):
    with atomic(), atomic(using=other):
        with atomic(using=other):
            broadcast("notes", Note())
            transaction.set_rollback(True, using=other)
        broadcast("notes", Note())
    assert sent() == 1


def test_using_names_one_database(other):
    with atomic():
        with atomic(using=other):
            broadcast("notes", Note(), using=other)
        assert sent() == 1


def test_an_error_takes_no_hook_of_the_owner_with_it(monkeypatch):
    called = []
    with atomic():
        broadcast("notes", Note())
        transaction.on_commit(lambda: called.append(True))
        monkeypatch.setattr(MemoryStreams, "append", lambda *arguments: 1 / 0)
    assert called


def test_a_robust_hook_of_the_owner_that_fails_takes_no_broadcast_with_it():
    with atomic():
        transaction.on_commit(lambda: 1 / 0, robust=True)
        broadcast("notes", Note())
    assert sent() == 1


def unavailable(*arguments):
    raise StreamsUnavailable("down")


def test_strict_raises_what_was_not_accepted(monkeypatch, caplog):
    monkeypatch.setattr(MemoryStreams, "append", unavailable)
    broadcast("notes", Note())
    with pytest.raises(StreamsUnavailable), atomic():
        broadcast("notes", Note(), strict=True)
    with pytest.raises(StreamsUnavailable):
        async_to_sync(abroadcast)("notes", Note(), strict=True)
    assert caplog.text.count("A broadcast to notes failed") == 3


@pytest.mark.parametrize("group", ["", "a b", "a" * 100, "notes\n", "nötes", 7])
def test_a_name_that_no_consumer_can_join_is_refused(group):
    with pytest.raises(ValueError, match="1 to 99 of A-Z"):
        broadcast(group, Note())
    with pytest.raises(ValueError, match="1 to 99 of A-Z"):
        async_to_sync(abroadcast)(group, Note())
    broadcast("a" * 99, Note())


@pytest.mark.parametrize("message", [{"type": "note"}, "text", Note, None])
def test_what_is_no_message_is_refused(message):
    with pytest.raises(TypeError, match=r"pass an instance of a class of messages.py"):
        broadcast("notes", message)
