"""The sessions of many clients are read together, and each result is the one that Django gives."""

import asyncio
from contextvars import ContextVar, copy_context

import pytest
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import UserManager
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session
from django.db import OperationalError, ProgrammingError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.common.testing.users import make_user
from apps.common.websockets.access import sessions

pytestmark = pytest.mark.django_db(transaction=True)

COLOUR: ContextVar[str] = ContextVar("COLOUR")


class SessionStore(DatabaseStore):
    """An owner's engine."""

    def load(self):
        return {**super().load(), "own": True}


class Backend(ModelBackend):
    """An owner's backend, which knows one user."""

    def get_user(self, user_id):
        user = super().get_user(user_id)
        return user if user and user.get_username() == "user0" else None


class Manager(UserManager):
    """An owner's manager."""

    def get(self, *args, **kwargs):
        user = super().get(*args, **kwargs)
        user.own = True
        return user


def keys(number=4, **options):
    made = []
    for each in range(number):
        client = Client()
        client.force_login(make_user(f"user{each}"), **options)
        made.append(client.session.session_key)
    return made


def load(made, contexts=None):
    """The results, and the number of queries."""
    contexts = contexts or [copy_context() for _ in made]
    with CaptureQueriesContext(connection) as queries:
        return sessions.load_sessions(list(zip(made, contexts, strict=True))), len(queries)


def facts(result):
    """All that a consumer sees of a session and its user."""
    session, user = result
    own = getattr(user, "own", None)
    return type(session), session.session_key, dict(session), session.accessed, session.modified, type(user), user, own


def assert_as_one_by_one(made):
    """Returns the number of queries."""
    results, queries = load(made)
    assert [facts(each) for each in results] == [facts(sessions.load_session(key)) for key in made]
    return queries


def test_two_queries_read_the_sessions_of_all():
    made = keys()
    assert assert_as_one_by_one(made) == 2
    assert [user.get_username() for _, user in load(made)[0]] == ["user0", "user1", "user2", "user3"]


def test_connections_of_one_session_share_no_object():
    [key] = keys(1)
    [(session, user), (other_session, other)], queries = load([key, key])
    assert queries == 2
    assert (user, dict(session)) == (other, dict(other_session))
    assert user is not other
    assert user._state is not other._state
    session["colour"] = "red"
    assert "colour" not in other_session


def test_each_is_anonymous_where_django_says_so():
    made = keys(8)
    users = [auth.get_user_model().objects.get(username=f"user{each}") for each in range(8)]
    users[0].is_active = False
    users[1].set_password("another")
    for user in users[:2]:
        user.save()
    users[2].delete()
    Session.objects.filter(pk=made[3]).update(expire_date=timezone.now())
    Session.objects.filter(pk=made[4]).delete()
    for key, name in zip(made[5:7], [auth.HASH_SESSION_KEY, auth.SESSION_KEY], strict=True):
        session = DatabaseStore(key)
        del session[name]
        session.save()
    assert_as_one_by_one([*made, "short", "x" * 32])
    assert [user.is_authenticated for _, user in load(made)[0]] == [False] * 7 + [True]


def test_a_session_of_an_older_secret_key_is_valid(settings):
    made = keys()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 8, [settings.SECRET_KEY]
    assert_as_one_by_one(made)
    assert all(user.is_authenticated for _, user in load(made)[0])


def test_a_backend_that_is_no_longer_in_the_settings_is_not_asked(settings):
    made = keys()
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Backend"]
    assert_as_one_by_one(made)
    assert not any(user.is_authenticated for _, user in load(made)[0])


def test_an_owners_engine_reads_each_session(settings):
    settings.SESSION_ENGINE = __name__
    made = keys()
    assert assert_as_one_by_one(made) == 5  # the users are read together
    assert all(session["own"] for session, _ in load(made)[0])


def test_an_owners_backend_finds_each_user(settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Backend"]
    assert assert_as_one_by_one(made := keys()) == 6
    assert [user.is_authenticated for _, user in load(made)[0]] == [True, False, False, False]


def test_an_owners_manager_finds_each_user(monkeypatch):
    made = keys()
    manager = Manager()
    manager.model = auth.get_user_model()
    monkeypatch.setattr(auth.get_user_model()._meta, "default_manager", manager)
    assert assert_as_one_by_one(made) == 5
    assert all(user.own for _, user in load(made)[0])


def test_one_that_cannot_be_read_fails_alone():
    made = keys(3)
    session = DatabaseStore(made[1])
    session[auth.SESSION_KEY] = "no number"
    session.save()
    first, broken, last = load(made)[0]
    assert first[1].is_authenticated
    assert last[1].is_authenticated
    with pytest.raises(type(broken)):
        sessions.load_session(made[1])


@pytest.mark.parametrize("read", ["_read_data", "_read_users"])
def test_where_they_cannot_be_read_together_each_is_read(monkeypatch, read):
    def fail(of):
        raise ProgrammingError

    made = keys()
    monkeypatch.setattr(sessions, read, fail)
    assert assert_as_one_by_one(made) == 5


async def test_an_unavailable_database_fails_those_that_wait_and_no_later_ones(monkeypatch):
    def fail(of):
        raise OperationalError

    loader = sessions.BatchLoader()
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "_read_data", fail)
        results = await asyncio.gather(loader.load("a" * 32), loader.load("b" * 32), return_exceptions=True)
    assert [type(each) for each in results] == [OperationalError] * 2
    (_, first), (_, other) = await asyncio.gather(loader.load("a" * 32), loader.load("b" * 32))
    assert (first.is_authenticated, other.is_authenticated) == (False, False)
    await loader.close()


async def test_those_that_come_meanwhile_are_read_together(monkeypatch):
    read = []
    load_sessions = sessions.load_sessions
    monkeypatch.setattr(sessions, "load_sessions", lambda of: read.append(len(of)) or load_sessions(of))
    monkeypatch.setattr(sessions, "SESSIONS_AT_ONCE", 4)
    loader = sessions.BatchLoader()
    await asyncio.gather(*(loader.load(f"{each:032}") for each in range(10)))
    assert read == [4, 4, 2]
    await loader.close()


def test_a_key_that_the_database_refuses_slows_no_other_down(monkeypatch):
    made = keys()
    read = sessions._load_data
    monkeypatch.setattr(sessions, "_load_data", lambda key, data: 1 / 0 if "\0" in key else read(key, data))
    [*results, refused], queries = load([*made, "\0" * 32])
    assert queries == 2
    assert all(user.is_authenticated for _, user in results)
    assert isinstance(refused, ZeroDivisionError)


def test_those_of_different_contexts_are_read_apart():
    made = keys()
    contexts = [copy_context() for _ in made]
    contexts[0].run(COLOUR.set, "red")
    assert load(made, contexts)[1] == 4
