"""A page connects as the user for whom it was rendered, or not at all."""

import json

import pytest
from channels.routing import URLRouter
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser
from django.shortcuts import resolve_url
from django.test import AsyncClient, RequestFactory
from django.urls import path

from apps.common.testing import Client, connect, sign_in
from apps.common.websockets.page_data import page_data
from apps.common.websockets.protocol import parse_page_user
from apps.common.websockets.streams.base import StreamsUnavailable
from apps.common.websockets.streams.memory import MemoryStreams

from .serving import PATH, PublicConsumer, consumers, serve
from .test_access import MembersConsumer, session_key

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "http://testserver"


def page_of(user) -> str:
    """The text that is rendered into this user's page."""
    request = RequestFactory().get("/")
    request.user = user
    return page_data(request, "room")


async def sign_in_as(user, browser: Client) -> None:
    """Sign in in another tab of this client's browser."""
    client = AsyncClient()
    client.cookies[django_settings.SESSION_COOKIE_NAME] = session_key(browser)
    credentials = {"username": user.get_username(), "password": f"{user.get_username()}-password"}
    response = await client.post(resolve_url(django_settings.LOGIN_URL), credentials)
    assert response.status_code == 302
    browser.cookie = client.cookies[django_settings.SESSION_COOKIE_NAME].OutputString(attrs=[])


@pytest.mark.parametrize("consumer", [MembersConsumer, PublicConsumer])
async def test_a_page_connects_as_its_own_user(consumer, user):
    async with connect(PATH, user, application=serve(consumer), page_data=page_of(user)) as client:
        await client.assert_silent()
        await client.reconnect()
        await client.assert_silent()


@pytest.mark.parametrize("consumer", [MembersConsumer, PublicConsumer])
async def test_a_page_of_another_user_is_refused(consumer, user, other_user):
    async with connect(PATH, other_user, application=serve(consumer), page_data=page_of(user)) as client:
        await client.assert_closed(4409)
        assert client.received == []


async def test_a_page_whose_user_has_signed_out_does_not_go_on(user):
    async with connect(PATH, application=serve(PublicConsumer), page_data=page_of(user)) as client:
        await client.assert_closed(4409)
    async with connect(PATH, application=serve(MembersConsumer), page_data=page_of(user)) as client:
        await client.assert_closed(4401)


async def test_an_anonymous_page_stays_anonymous(user):
    async with connect(PATH, user, application=serve(PublicConsumer), page_data=page_of(AnonymousUser())) as client:
        await client.assert_silent()
        [consumer] = consumers()
        assert consumer.user.is_anonymous
        assert list(consumer.scope["session"].keys()) == []


async def test_an_anonymous_page_has_no_access_as_the_user_who_signed_in_meanwhile(user):
    async with connect(PATH, user, application=serve(MembersConsumer), page_data=page_of(AnonymousUser())) as client:
        await client.assert_closed(4401)


async def test_connect_sees_the_anonymous_visitor(user):
    class SeeingConsumer(PublicConsumer):
        async def connect(self):
            seen.append(self.user)
            await super().connect()

    seen = []
    async with connect(PATH, user, application=serve(SeeingConsumer), page_data=page_of(AnonymousUser())):
        assert [each.is_anonymous for each in seen] == [True]


async def test_a_client_without_a_token_is_not_checked(user):
    assert "page_user" not in page_data(None, "room")
    async with connect(PATH, user, application=serve(MembersConsumer), page_data=page_data(None, "room")) as client:
        await client.assert_silent()


@pytest.mark.parametrize("token", ["", "x", "é", "x" * 43, "ann:"])
async def test_a_damaged_token_is_refused(token, user):
    page = json.dumps({"page_user": token})
    async with connect(PATH, user, application=serve(PublicConsumer), page_data=page) as client:
        await client.assert_closed(4409)


async def test_a_token_of_an_older_secret_key_holds(user, settings):
    page = page_of(user)
    cookie = await sign_in(user)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a-newer-secret-key"
    client = Client(PATH, cookie, ORIGIN, serve(MembersConsumer))
    client.page = {"page_user": json.loads(page)["page_user"]}
    await client.open()
    await client.assert_silent()
    await client.drop()
    settings.SECRET_KEY_FALLBACKS = []
    client.cookie = await sign_in(user)
    await client.open()
    await client.assert_closed(4409)
    await client.drop()


async def test_a_token_holds_for_a_new_session_of_the_same_user(user):
    async with connect(PATH, user, application=serve(MembersConsumer), page_data=page_of(user)) as client:
        client.cookie = await sign_in(user)
        await client.reconnect()
        await client.assert_silent()


async def test_a_token_is_no_session(user):
    async with connect(PATH, application=serve(MembersConsumer), page_data=page_of(user)) as client:
        await client.assert_closed(4401)


def test_a_token_does_not_show_its_user_and_is_short(user):
    token = json.loads(page_of(user))["page_user"]
    assert token == json.loads(page_of(user))["page_user"]
    assert len(token) < 50
    assert "users" not in token


async def test_a_user_from_a_middleware_is_compared_too(user, other_user):
    async def application(scope, receive, send):
        await URLRouter([path("ws/1/", MembersConsumer.as_asgi())])({**scope, "user": other_user}, receive, send)

    async with connect(PATH, application=application, page_data=page_of(user)) as client:
        await client.assert_closed(4409)
    async with connect(PATH, application=application, page_data=page_of(other_user)) as client:
        await client.assert_silent()


@pytest.mark.parametrize("engine", ["db", "cache", "cached_db", "file"])
async def test_signing_in_as_another_user_closes_the_first_ones_connections(engine, user, other_user, settings):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    served = serve(PublicConsumer)
    async with (
        connect(PATH, user, application=served, page_data=page_of(user)) as client,
        connect(PATH, user, application=served) as phone,
    ):
        await client.assert_silent()
        await sign_in_as(other_user, client)
        await client.assert_closed(3000)
        await phone.assert_silent()
        await client.reconnect()
        await client.assert_closed(4409)


async def test_signing_in_again_closes_nothing(user):
    async with connect(PATH, user, application=serve(MembersConsumer), page_data=page_of(user)) as client:
        await sign_in_as(user, client)
        await client.assert_silent()


async def test_an_anonymous_page_stays_open_after_signing_in_and_out(user):
    async with connect(PATH, application=serve(PublicConsumer), page_data=page_of(AnonymousUser())) as client:
        client.cookie = await sign_in(user)
        await client.assert_silent()
        await client.reconnect()
        await client.assert_silent()
        browser = AsyncClient()
        browser.cookies[django_settings.SESSION_COOKIE_NAME] = session_key(client)
        await browser.alogout()
        await client.assert_silent()


def test_a_view_renders_the_position_and_the_user(user):
    assert set(json.loads(page_of(user))) == {"epoch", "seq", "page_user"}


def test_a_page_that_is_rendered_during_an_outage_has_no_position(user, monkeypatch):
    def fail(self, group):
        raise StreamsUnavailable("no store")

    monkeypatch.setattr(MemoryStreams, "top", fail)
    assert page_data(None, "room") == "{}"
    assert set(json.loads(page_of(user))) == {"page_user"}


@pytest.mark.parametrize(
    ("query", "token"),
    [
        (b"", None),
        (b"epoch=k3x&seq=1", None),
        (b"page_user=", ""),
        (b"page_user", ""),
        (b"page_user=a-b_c&seq=1", "a-b_c"),
        (b"page_user=a%2Bb", "a+b"),
        (b"page_user=a&page_user=b", "b"),
        (b"x=page_user", None),
    ],
)
def test_the_token_is_read_from_the_address(query, token):
    assert parse_page_user(query) == token
