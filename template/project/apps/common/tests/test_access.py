import asyncio
import logging
from contextvars import Context
from http.cookies import SimpleCookie
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model, update_session_auth_hash
from django.contrib.sessions.backends.db import SessionStore
from django.test import AsyncClient

from apps.common.testing import Client, connect, sign_in
from apps.common.websockets.access.origin import is_allowed_origin
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.process import registry

from .serving import PATH, PublicConsumer, connections, consumers, members, serve

pytestmark = pytest.mark.django_db(transaction=True)  # the housekeeping closes database connections

ORIGIN = "http://testserver"


class MembersConsumer(BaseWebSocketConsumer):
    """For who is signed in, as is the default."""

    group_name = "room"


class AccessConsumer(PublicConsumer):
    """Asks the test whether a page may come in."""

    is_open = True

    async def is_allowed(self):
        self.members_when_asked = members()
        return type(self).is_open


class SlowAccessConsumer(PublicConsumer):
    asked = asyncio.Event
    answer = asyncio.Event

    async def is_allowed(self):
        self.asked.set()
        await self.answer.wait()
        return True


class FailingAccessConsumer(PublicConsumer):
    async def is_allowed(self):
        raise ValueError("access is unavailable")


@pytest.fixture
def recheck_all(monkeypatch):
    """Makes the housekeeping run all the time; a call has the access of every connection checked again."""
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)

    def ask_again():
        for connection in connections():
            connection.check_at = 0

    return ask_again


def session_key(page: Client) -> str:
    return SimpleCookie(page.cookie)[django_settings.SESSION_COOKIE_NAME].value


async def sign_out(page: Client) -> None:
    """As the browser of this page does."""
    client = AsyncClient()
    client.cookies[django_settings.SESSION_COOKIE_NAME] = session_key(page)
    await client.alogout()


async def set_password(user, browser: Client) -> None:
    """As the view that changes a password does; the browser of this page stays signed in."""
    user.set_password("another-password")
    await user.asave()
    request = SimpleNamespace(session=SessionStore(session_key(browser)), user=user)
    await sync_to_async(update_session_auth_hash)(request, user)
    await request.session.asave()
    browser.cookie = f"{django_settings.SESSION_COOKIE_NAME}={request.session.session_key}"


# ---------------------------------------------------------------------------------------------------------------------
# Access
# ---------------------------------------------------------------------------------------------------------------------


async def test_anonymous_visitors_are_asked_to_sign_in():
    async with connect(PATH, application=serve(MembersConsumer)) as page:
        await page.assert_closed(4401)


async def test_who_is_signed_in_comes_in(user):
    async with connect(PATH, user, application=serve(MembersConsumer)) as page:
        await page.assert_silent()


async def test_the_wrong_user_is_refused(user, other_user):
    class OwnersConsumer(MembersConsumer):
        async def is_allowed(self):
            return self.user.pk == user.pk

    async with connect(PATH, other_user, application=serve(OwnersConsumer)) as page:
        await page.assert_closed(4403)
    async with connect(PATH, user, application=serve(OwnersConsumer)) as page:
        await page.assert_silent()


async def test_is_allowed_is_asked_before_the_group_is_joined():
    async with connect(PATH, application=serve(AccessConsumer)) as page:
        await page.assert_silent()
        [consumer] = consumers()
        assert (consumer.members_when_asked, members()) == (0, 1)


async def test_who_is_refused_joins_no_group():
    async with connect(PATH, application=serve(AccessConsumer, is_open=False)) as page:
        await page.assert_closed(4401)
        assert members() == 0


async def test_a_check_that_fails_is_no_permission(caplog):
    async with connect(PATH, application=serve(FailingAccessConsumer), raise_exceptions=False) as page:
        await page.assert_closed(1011)
        assert members() == 0
    assert "FailingAccessConsumer.connect() failed" in caplog.text


async def test_a_user_has_so_many_connections_and_no_more(user):
    served = serve(MembersConsumer, max_connections=2)
    async with connect(PATH, user, application=served) as first, connect(PATH, user, application=served):
        async with connect(PATH, user, application=served) as third:
            await third.assert_closed(4429)
        await first.drop()
        async with connect(PATH, user, application=served) as fourth:
            await fourth.assert_silent()


async def test_a_path_without_a_consumer_is_named(caplog):
    async with connect("/ws/nowhere", application=serve(PublicConsumer)) as page:
        await page.assert_closed(4404)
    assert "No consumer for '/ws/nowhere'" in caplog.text


async def test_a_session_is_found_among_cookies_that_are_none(user):
    page = Client(PATH, f'prefs={{"a": 1}}; {await sign_in(user)}', ORIGIN, serve(MembersConsumer))
    await page.open()
    await page.assert_silent()
    await page.drop()


async def test_a_session_of_an_older_secret_key_is_left_as_it_is(user, settings):
    cookie = await sign_in(user)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a-newer-secret-key"
    page = Client(PATH, cookie, ORIGIN, serve(MembersConsumer))
    for _ in range(2):
        await page.open()
        await page.assert_silent()
        await page.drop()


# ---------------------------------------------------------------------------------------------------------------------
# Where from
# ---------------------------------------------------------------------------------------------------------------------


def allows(origin, host="example.com", scheme="ws", **headers):
    sent = [(b"host", host.encode())] if host else []
    sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "path": PATH, "query_string": b"", "headers": sent, "scheme": scheme}
    return is_allowed_origin(origin, scope)


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "allowed"),
    [
        ("http://example.com", "example.com", "ws", True),
        ("https://example.com", "example.com", "wss", True),
        ("https://example.com", "example.com", "ws", True),  # a proxy that does not say that it ends TLS
        ("http://example.com", "example.com", "wss", False),
        ("http://example.com:80", "example.com", "ws", True),
        ("https://example.com", "example.com:443", "wss", True),
        ("http://example.com:8000", "example.com:8000", "ws", True),
        ("http://example.com:8001", "example.com:8000", "ws", False),
        ("http://example.com:8000", "example.com", "ws", False),
        ("http://example.com", "example.com:8000", "ws", False),
        ("HTTP://EXAMPLE.com", "Example.COM", "ws", True),
        ("http://example.com.", "example.com.", "ws", True),
        ("http://example.com.", "example.com", "ws", True),
        ("http://www.example.com", "example.com", "ws", False),  # another site, though both are in ALLOWED_HOSTS
        ("http://www.example.com", "www.example.com", "ws", True),
        ("http://evil.com", "example.com", "ws", False),
        ("http://evil.com", "evil.com", "ws", False),  # not in ALLOWED_HOSTS
        ("http://example.com.evil.com", "example.com", "ws", False),
        ("http://notexample.com", "example.com", "ws", False),
        ("http://[::1]:8000", "[::1]:8000", "ws", True),
        ("http://[::1]", "[::1]:80", "ws", True),
        ("http://[::1]:8001", "[::1]:8000", "ws", False),
        ("http://[::2]:8000", "[::1]:8000", "ws", False),
        ("null", "example.com", "ws", False),
        ("file://", "example.com", "ws", False),
        ("", "example.com", "ws", False),
        ("http://", "example.com", "ws", False),
        ("http://[", "example.com", "ws", False),
        ("http://example.com/path", "example.com", "ws", False),
        ("http://example.com@evil.com", "example.com", "ws", False),
        ("http://user@example.com", "example.com", "ws", False),
        ("ftp://example.com", "example.com", "ws", False),
        ("chrome-extension://example.com", "example.com", "ws", False),
        ("http://münchen.example", "xn--mnchen-3ya.example", "ws", False),  # browsers send the second
        ("http://xn--mnchen-3ya.example", "xn--mnchen-3ya.example", "ws", True),
        ("http://partner.com", "example.com", "ws", False),
        ("https://partner.com", "example.com", "wss", True),
        ("https://partner.com:8443", "example.com", "wss", False),
        ("https://a.apps.partner.com", "example.com", "wss", True),
        ("https://apps.partner.com", "example.com", "wss", True),
        ("https://evilapps.partner.com", "example.com", "wss", False),
    ],
)
def test_an_origin_counts_with_scheme_host_and_port(origin, host, scheme, allowed, settings):
    settings.ALLOWED_HOSTS = [".example.com", "[::1]", "xn--mnchen-3ya.example"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://partner.com", "https://*.apps.partner.com"]
    assert allows(origin, host, scheme) is allowed


def test_the_proxy_that_is_trusted_names_host_and_scheme(settings):
    settings.ALLOWED_HOSTS = ["example.com", "127.0.0.1"]
    settings.USE_X_FORWARDED_HOST = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    proxied = {"x_forwarded_host": "example.com", "x_forwarded_proto": "https"}
    assert allows("https://example.com", "127.0.0.1:8000", **proxied)
    assert not allows("http://example.com", "127.0.0.1:8000", **proxied)
    assert not allows("https://127.0.0.1:8000", "127.0.0.1:8000", **proxied)
    settings.USE_X_FORWARDED_HOST = False
    assert not allows("https://example.com", "127.0.0.1:8000", **proxied)


@pytest.mark.parametrize(("debug", "allowed"), [(True, True), (False, False)])
def test_without_allowed_hosts_local_pages_may_connect_in_development(debug, allowed, settings):
    settings.ALLOWED_HOSTS = []
    settings.DEBUG = debug
    assert allows("http://localhost:8000", "localhost:8000") is allowed
    assert not allows("http://evil.com", "evil.com")


async def test_a_refused_origin_is_explained_in_the_log(user, caplog):
    with pytest.raises(AssertionError, match="refused the handshake"):
        async with connect(PATH, user, origin="https://evil.com", application=serve(MembersConsumer)):
            pass
    assert "from the origin 'https://evil.com' to 'testserver'. A page of another host" in caplog.text


# ---------------------------------------------------------------------------------------------------------------------
# While connected
# ---------------------------------------------------------------------------------------------------------------------


async def test_is_allowed_is_called_again(recheck_all, monkeypatch):
    async with connect(PATH, application=serve(AccessConsumer)) as page:
        await page.assert_silent()
        monkeypatch.setattr(AccessConsumer, "is_open", False)
        recheck_all()
        await page.assert_closed(4401)


async def test_a_user_who_is_still_allowed_stays(recheck_all, user):
    async with connect(PATH, user, application=serve(MembersConsumer)) as page:
        await page.assert_silent()
        [consumer] = consumers()
        asked = asyncio.Event()
        consumer.is_allowed = lambda: asked.set() or _true()
        recheck_all()
        await asyncio.wait_for(asked.wait(), 5)
        await page.assert_silent()


async def test_a_check_that_fails_later_closes_recoverably(recheck_all, monkeypatch, caplog):
    async with connect(PATH, application=serve(AccessConsumer), raise_exceptions=False) as page:
        await page.assert_silent()
        monkeypatch.setattr(AccessConsumer, "is_allowed", FailingAccessConsumer.is_allowed)
        recheck_all()
        await page.assert_closed(1011)
    assert "is_allowed() failed" in caplog.text


async def test_logout_closes_that_session_and_no_other(user):
    served = serve(MembersConsumer)
    async with connect(PATH, user, application=served) as page, connect(PATH, user, application=served) as phone:
        tab = Client(PATH, page.cookie, ORIGIN, served)
        await tab.open()
        await sign_out(page)
        await page.assert_closed(3000)
        await tab.assert_closed(3000)
        await phone.assert_silent()
        await page.reconnect()
        await page.assert_closed(4401)
        await tab.drop()


async def test_logout_while_the_page_connects_closes_it(user):
    asked, answer = asyncio.Event(), asyncio.Event()
    served = serve(SlowAccessConsumer, asked=asked, answer=answer)
    page = Client(PATH, await sign_in(user), ORIGIN, served)
    opening = asyncio.create_task(page.open())
    await asyncio.wait_for(asked.wait(), 5)
    await sign_out(page)
    answer.set()
    with pytest.raises(AssertionError, match="refused the handshake"):
        await opening
    await page.drop()


async def test_logout_reaches_public_pages_too(user):
    async with connect(PATH, user, application=serve(PublicConsumer)) as page:
        await sign_out(page)
        await page.assert_closed(3000)
        await page.reconnect()
        await page.assert_silent()


async def test_who_is_deactivated_is_closed(user, other_user):
    served = serve(MembersConsumer)
    async with connect(PATH, user, application=served) as page, connect(PATH, other_user, application=served) as other:
        user.is_active = False
        await user.asave()
        await page.assert_closed(3000)
        await other.assert_silent()
        await page.reconnect()
        await page.assert_closed(4401)


async def test_who_is_deleted_is_closed(user):
    async with connect(PATH, user, application=serve(MembersConsumer)) as page:
        await user.adelete()
        await page.assert_closed(3000)


async def test_a_changed_password_leaves_only_the_browser_that_changed_it(user):
    served = serve(MembersConsumer)
    async with connect(PATH, user, application=served) as page, connect(PATH, user, application=served) as thief:
        await set_password(user, page)
        await page.assert_closed(3000)
        await page.reconnect()
        await page.assert_silent()
        await thief.assert_closed(3000)
        await thief.reconnect()
        await thief.assert_closed(4401)


async def test_a_login_elsewhere_closes_nothing(user):
    async with connect(PATH, user, application=serve(MembersConsumer)) as page:
        await sign_in(user)
        await page.assert_silent()


async def test_a_change_without_a_signal_is_found_by_the_housekeeping(recheck_all, user):
    async with connect(PATH, user, application=serve(MembersConsumer)) as page:
        await get_user_model().objects.filter(pk=user.pk).aupdate(is_active=False)
        await page.assert_silent()
        recheck_all()
        await page.assert_closed(3000)


async def test_a_check_sees_the_user_as_of_now(recheck_all, user):
    class NamedConsumer(MembersConsumer):
        async def is_allowed(self):
            return self.user.get_username() == "ann"

    async with connect(PATH, user, application=serve(NamedConsumer)) as page:
        await get_user_model().objects.filter(pk=user.pk).aupdate(username="anna")
        await page.assert_silent()
        recheck_all()
        await page.assert_closed(4403)


async def test_a_command_that_fails_is_logged(user, caplog):
    async with connect(PATH, user, application=serve(MembersConsumer), raise_exceptions=False) as page:
        caplog.set_level(logging.ERROR)
        registry.get_registry().spawn(_fail(), Context())
        await page.assert_silent()
    assert "A task of the registry failed" in caplog.text


async def _true():
    return True


async def _fail():
    raise ValueError
