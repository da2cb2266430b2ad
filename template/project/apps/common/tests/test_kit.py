"""The test kit keeps what its docstrings promise."""

import asyncio
import socket
import uuid
from contextlib import contextmanager

import pytest
from channels.layers import get_channel_layer
from channels.routing import get_default_application
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models

from apps.common.testing import Client, chromium, connect, fixtures, users
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message

from . import process
from .serving import PATH, PublicConsumer, connections, serve

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.django_db(transaction=True)


class Tick(Message):
    n: int


class Explode(Message):
    pass


class ExplodingConsumer(PublicConsumer):
    async def handle_explode(self, data: Explode) -> None:
        raise ZeroDivisionError("of a handler")

    async def handle_tick(self, data: Tick) -> None:
        await self.broadcast(data)

    async def explode(self, event):
        raise ZeroDivisionError("of an event")


class FailingConnectConsumer(PublicConsumer):
    async def connect(self):
        raise ZeroDivisionError("of connect")


class EndlessDisconnectConsumer(PublicConsumer):
    async def disconnect(self, code):
        await asyncio.Event().wait()


class FailingDisconnectConsumer(PublicConsumer):
    async def disconnect(self, code):
        raise ZeroDivisionError("of disconnect")


def client(consumer=ExplodingConsumer, **options):
    return connect(PATH, application=serve(consumer), **options)


# ---------------------------------------------------------------------------------------------------------------------
# The client
# ---------------------------------------------------------------------------------------------------------------------


async def test_the_application_is_the_projects_own():
    assert Client(PATH)._application is get_default_application()


async def test_a_client_that_reconnects_receives_what_it_missed_once():
    async with client() as one:
        await abroadcast("room", Tick(n=1))
        await one.assert_broadcast("tick", n=1)
        await one.drop()
        for n in (2, 3):
            await abroadcast("room", Tick(n=n))
        await one.reconnect()
        assert [(await one.assert_broadcast("tick"))["data"]["n"] for _ in range(2)] == [2, 3]
        await one.assert_silent()


async def test_a_message_that_arrived_before_the_drop_is_not_sent_again():
    async with client() as one:
        await one.request("tick", n=1)
        await one.reconnect()
        await one.assert_broadcast("tick", n=1)
        await one.assert_silent()


async def test_a_client_without_a_position_connects_as_a_new_page():
    async with client() as one:
        await one.drop()
        await abroadcast("room", Tick(n=1))
        one.position = None
        await one.open()
        await one.assert_silent()


async def test_a_failure_shows_what_arrived():
    async with client() as one:
        await one.request("tick", n=7)
        with pytest.raises(AssertionError, match="should have been silent") as failure:
            await one.assert_silent()
        [connection] = connections()
        await connection.close()
        with pytest.raises(AssertionError, match="was closed with 1000, not 4403") as wrong_code:
            await one.assert_closed(4403)
    for error in (failure.value, wrong_code.value):
        assert '"data": {"n": 7}' in str(error)


async def test_a_wait_that_fails_shows_what_arrived(monkeypatch):
    monkeypatch.setattr("apps.common.testing.client.DEADLINE", 0.05)
    async with client() as one:
        with pytest.raises(AssertionError, match=r"waited 0.05 s for tock with \{'n': 1\}") as failure:
            await one.assert_broadcast("tock", n=1)
    assert '"welcome"' in str(failure.value)


async def test_a_connection_that_the_server_does_not_end_fails_the_test(monkeypatch):
    one = Client(PATH, application=serve(EndlessDisconnectConsumer))
    await one.open()
    monkeypatch.setattr("apps.common.testing.client.DEADLINE", 0.05)
    with pytest.raises(AssertionError, match=r"waited 0.05 s for the server to end the connection"):
        await one.drop()


# ---------------------------------------------------------------------------------------------------------------------
# Exceptions
# ---------------------------------------------------------------------------------------------------------------------


async def test_an_exception_in_a_handler_fails_the_request():
    async with client() as one:
        with pytest.raises(ZeroDivisionError, match="of a handler"):
            await one.request("explode")


@pytest.mark.parametrize(
    ("consumer", "where"), [(FailingConnectConsumer, "connect"), (FailingDisconnectConsumer, "disconnect")]
)
async def test_an_exception_in_a_hook_fails_the_test(consumer, where):
    with pytest.raises(ZeroDivisionError, match=f"of {where}"):
        async with client(consumer):
            pass


async def test_an_exception_without_a_wait_fails_the_test_at_the_end():
    async with client() as one:
        await one.send("explode")
        with pytest.raises(ZeroDivisionError, match="of a handler"):
            await one.drop()


async def test_an_exception_in_an_event_handler_fails_the_test():
    async with client() as one:
        await get_channel_layer().group_send("room", {"type": "explode"})
        with pytest.raises(ZeroDivisionError, match="of an event"):
            await one.assert_broadcast("tick")


async def test_an_exception_fails_only_the_client_whose_consumer_raised_it():
    async with client() as other:
        async with client(raise_exceptions=False) as one:
            assert (await one.request("explode"))["data"]["code"] == "internal_error"
        await other.assert_silent()


# ---------------------------------------------------------------------------------------------------------------------
# Users
# ---------------------------------------------------------------------------------------------------------------------


async def test_the_users_of_the_fixtures_differ(user, other_user, staff_user):
    assert len({user.pk, other_user.pk, staff_user.pk}) == 3
    assert (user.is_staff, staff_user.is_staff) == (False, True)
    assert user.check_password("ann-password")
    async with connect(PATH, user, application=serve(PublicConsumer)):
        [connection] = connections()
        assert connection.scope["user"] == user


class Member(AbstractBaseUser):
    """A user model that shares nothing with Django's own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    born = models.DateField()
    plan = models.CharField(max_length=4, choices=[("free", "Free"), ("paid", "Paid")])
    number = models.PositiveIntegerField(unique=True)
    nickname = models.CharField(max_length=2)
    note = models.TextField(blank=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ("born",)

    class Meta:
        app_label = "kit"
        managed = False

    def save(self, *args, **kwargs):
        self.full_clean(validate_unique=False)


class Point(models.Field):
    pass


class Employee(Member):
    desk = Point()

    class Meta:
        app_label = "kit"
        managed = False


def test_a_user_has_what_its_model_requires(monkeypatch):
    monkeypatch.setattr(users, "get_user_model", lambda: Member)
    ann, bob = users.make_user("ann"), users.make_user("bob")
    assert (ann.email, ann.plan, ann.nickname, ann.note) == ("ann@example.com", "free", "an", "")
    assert ann.number != bob.number


def test_a_field_that_cannot_be_made_up_is_named(monkeypatch):
    monkeypatch.setattr(users, "get_user_model", lambda: Employee)
    with pytest.raises(pytest.fail.Exception, match=r"kit.Employee.desk.*Override the fixture make_user in"):
        users.make_user("ann")
    with pytest.raises(pytest.fail.Exception, match=r"no field of kit.Employee that makes is_staff true.*Override"):
        users.make_user("ann", is_staff=True)


def test_the_model_of_the_project_is_used(user):
    assert isinstance(user, get_user_model())


# ---------------------------------------------------------------------------------------------------------------------
# Ports and names that several runs share
# ---------------------------------------------------------------------------------------------------------------------


def test_a_port_is_given_to_one_test_alone(monkeypatch):
    port = process.free_port()
    monkeypatch.setattr(process, "PORTS", [port])
    with pytest.raises(OSError, match="No port is free"):
        process.free_port()
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1/3"])
def test_each_test_has_a_prefix_of_its_own_in_redis(url, settings):
    settings.REDIS_URL = url
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "", "CONFIG": {"prefix": "mine"}}, "other": {"BACKEND": ""}}
    prefixes = set()
    for _ in range(2):
        with contextmanager(fixtures._fresh_streams.__wrapped__)(settings):
            prefixes.add((settings.WEBSOCKET_PREFIX, settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"]))
    assert len(prefixes) == (2 if url else 1)


# ---------------------------------------------------------------------------------------------------------------------
# Tests in a browser
# ---------------------------------------------------------------------------------------------------------------------

BROWSER_TESTS = """
def test_in_a_browser(chromium_path): pass
def test_elsewhere(): pass
"""


@pytest.fixture
def run(pytester):
    pytester.makepyfile(BROWSER_TESTS)

    def run(*arguments):
        # Nothing is executed: Django is set up by the run that this test belongs to.
        options = ["-p", "apps.common.testing.fixtures", "-o", "asyncio_default_fixture_loop_scope=function"]
        return pytester.runpytest_inprocess(*options, "--setup-plan", *arguments)

    return run


def test_browser_tests_can_be_left_out_and_the_summary_says_so(run, monkeypatch):
    monkeypatch.setattr(chromium, "find", lambda: None)
    result = run("-m", "not browser")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["1 browser tests were left out on purpose: -m 'not browser'"])


def test_a_missing_chromium_is_said_once_and_fails_the_run(run, monkeypatch):
    monkeypatch.setattr(chromium, "find", lambda: None)
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {chromium.MISSING}"])
    result.stdout.no_fnmatch_line("*test_elsewhere*")
