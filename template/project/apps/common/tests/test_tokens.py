"""Users that a middleware of the owner's put into the scope, such as one that reads a token: no session says who they
are."""

import pytest
from channels.routing import URLRouter
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_out
from django.test import RequestFactory
from django.urls import path

from apps.common.testing import connect
from apps.common.websockets.access.identity import Identity, identify, user_key
from apps.common.websockets.process.registry import get_registry

from .serving import PATH, connections, consumers, serve
from .test_access import MembersConsumer, recheck_all
from .wire import until

__all__ = ["recheck_all"]

pytestmark = pytest.mark.django_db(transaction=True)


class TokenUser(AnonymousUser):
    """Whom no table has."""

    pk = 7
    is_authenticated = True


class WithToken(MembersConsumer):
    """Has its user from a token; whatever the session says."""

    token_user = None

    @classmethod
    def as_asgi(cls, **options):
        application = super().as_asgi(**options)

        async def with_user(scope, receive, send):
            await application({**scope, "user": cls.token_user}, receive, send)

        return with_user


async def rechecked(user) -> None:
    get_registry().handle_command({"recheck": user_key(user)})
    await until(lambda: not get_registry()._tasks)


async def test_they_stay_after_a_recheck(user):
    async with connect(PATH, application=serve(WithToken, token_user=user)) as client:
        await client.assert_silent()
        await rechecked(user)
        user.first_name = "Ann"
        await user.asave()
        await client.assert_silent()
        assert consumers()[0].user == user


async def test_they_stay_also_beside_a_visitors_session(user, other_user):
    served = serve(WithToken, token_user=user)
    async with connect(PATH, other_user, application=served) as client:
        await client.assert_silent()
        assert identify(connections()[0].scope) == Identity("", user_key(user))
        await rechecked(user)
        await client.assert_silent()


async def test_they_need_no_session(user):
    async def application(scope, receive, send):
        await URLRouter([path("ws/1/", MembersConsumer.as_asgi())])({**scope, "user": user}, receive, send)

    async with connect(PATH, application=application) as client:
        await client.assert_silent()
        assert identify(connections()[0].scope) == Identity("", user_key(user))
        await rechecked(user)
        await client.assert_silent()


async def test_a_deactivated_user_is_disconnected(recheck_all, user):
    async with connect(PATH, application=serve(WithToken, token_user=user)) as client:
        await client.assert_silent()
        await get_user_model().objects.filter(pk=user.pk).aupdate(is_active=False)
        recheck_all()
        await client.assert_closed(3000)


async def test_a_user_in_no_table_stays_connected(recheck_all):
    async with connect(PATH, application=serve(WithToken, token_user=TokenUser())) as client:
        await client.assert_silent()
        await rechecked(TokenUser())
        await client.assert_silent()


async def test_a_session_in_the_scope_identifies_the_connection(user):
    async with connect(PATH, user, application=serve(MembersConsumer)) as client:
        await client.assert_silent()
        [connection] = connections()
        assert identify(connection.scope) == Identity(connection.scope["session"].session_key, user_key(user))


def test_a_logout_without_a_session_is_no_error(user):
    user_logged_out.send(sender=type(user), request=RequestFactory().get("/"), user=user)
