"""Changes that end a connection within a second, and others that the periodic re-check finds: the guide lists them."""

import asyncio
from contextlib import AsyncExitStack
from functools import cache

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands.changepassword import Command as ChangePassword
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import transaction
from django.db.models import signals
from django.shortcuts import resolve_url
from django.test import AsyncClient
from django.test.utils import isolate_apps
from django.utils import timezone

from apps.common.testing import connect
from apps.common.testing.users import make_user
from apps.common.websockets.process import registry, revocation

from .serving import PATH, connections, serve
from .test_access import MembersConsumer, recheck_all, session_key, sign_out

__all__ = ["recheck_all"]

pytestmark = pytest.mark.django_db(transaction=True)

ENGINES = ["db", "cache", "cached_db", "file"]


@cache
@isolate_apps("apps.users")
def proxy():
    """A proxy of the user model that is made after Django has started."""
    user = get_user_model()
    meta = type("Meta", (), {"proxy": True, "app_label": user._meta.app_label})
    return type("Member", (user,), {"__module__": __name__, "Meta": meta})


class PermittedConsumer(MembersConsumer):
    """For those who may view users."""

    async def is_allowed(self):
        model = get_user_model()._meta
        permission = f"{model.app_label}.view_{model.model_name}"
        return await sync_to_async(self.user.has_perm)(permission)


def save(user):
    user.is_active = False
    user.save()


def save_a_proxy(user):
    save(proxy().objects.get(pk=user.pk))


def delete(user):
    user.delete()


def delete_a_proxy(user):
    proxy().objects.get(pk=user.pk).delete()


def delete_by_query(user):
    get_user_model().objects.filter(pk=user.pk).delete()


def change_the_password(user):
    user.set_password("another-password")
    user.save(update_fields=["password"])


def changepassword(user):
    command = ChangePassword()
    command._get_pass = lambda *args: "a-new-and-long-password"
    call_command(command, user.get_username(), verbosity=0)


def delete_the_session(user):
    Session.objects.get().delete()


def delete_all_sessions(user):
    Session.objects.all().delete()


def update(user):
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)


def bulk_update(user):
    user.is_active = False
    get_user_model().objects.bulk_update([user], ["is_active"])


def clear_expired_sessions(user):
    Session.objects.update(expire_date=timezone.now())
    call_command("clearsessions")


AT_ONCE = [
    save,
    save_a_proxy,
    delete,
    delete_a_proxy,
    delete_by_query,
    change_the_password,
    changepassword,
    delete_the_session,
    delete_all_sessions,
]
BY_RECHECK = [update, bulk_update, clear_expired_sessions]


@pytest.fixture
def permission(transactional_db):
    model = get_user_model()._meta
    return Permission.objects.get(codename=f"view_{model.model_name}", content_type__app_label=model.app_label)


@pytest.fixture
def no_recheck(monkeypatch):
    """The periodic re-check comes too late to be the reason of anything."""
    monkeypatch.setattr(MembersConsumer, "recheck_seconds", 3_600)


@pytest.fixture
def quick_housekeeping(monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)


@pytest.mark.parametrize("revoke", AT_ONCE)
async def test_is_closed_at_once_after(revoke, user, no_recheck):
    async with connect(PATH, user, application=serve(MembersConsumer)) as client:
        await client.assert_silent()
        await sync_to_async(revoke)(user)
        await client.assert_closed(3000)
        await client.reconnect()
        await client.assert_closed(4401)


@pytest.mark.parametrize("revoke", BY_RECHECK)
async def test_is_closed_by_the_periodic_recheck_after(revoke, user, recheck_all):
    async with connect(PATH, user, application=serve(MembersConsumer)) as client:
        await client.assert_silent()
        await sync_to_async(revoke)(user)
        await client.assert_silent()
        recheck_all()
        await client.assert_closed(3000)
        await client.reconnect()
        await client.assert_closed(4401)


@pytest.mark.parametrize("engine", ENGINES)
async def test_logout_closes_under_every_session_engine(engine, user, settings, no_recheck):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    async with connect(PATH, user, application=serve(MembersConsumer)) as client:
        await client.assert_silent()
        await sign_out(client)
        await client.assert_closed(3000)
        await client.reconnect()
        await client.assert_closed(4401)


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file"])
async def test_a_session_that_is_deleted_without_a_signal_is_found_by_the_recheck(engine, user, settings, recheck_all):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    async with connect(PATH, user, application=serve(MembersConsumer)) as client:
        await client.assert_silent()
        session = connections()[0].scope["session"]
        await type(session)(session_key(client)).adelete()
        recheck_all()
        await client.assert_closed(3000)


async def test_a_user_is_deactivated_in_the_admin(user, no_recheck):
    admin = await sync_to_async(make_user)("root", is_staff=True, is_superuser=True)
    browser = AsyncClient()
    await browser.aforce_login(admin)
    async with connect(PATH, user, application=serve(MembersConsumer)) as client:
        await client.assert_silent()
        page = resolve_url(f"admin:{user._meta.app_label}_{user._meta.model_name}_change", user.pk)
        initial = (await browser.get(page)).context["adminform"].form.initial
        data = {name: initial[name] for name in ("username", "email", "first_name", "last_name")}
        data |= {"date_joined_0": "2000-01-01", "date_joined_1": "00:00:00"}
        response = await browser.post(page, data)  # without is_active, a box that is not ticked
        assert response.status_code == 302, response.context["errors"]
        await client.assert_closed(3000)


@pytest.mark.parametrize("way", ["of the user", "of a group", "all leave it", "it loses it", "it is deleted"])
async def test_a_permission_is_taken_away(way, user, permission, no_recheck, quick_housekeeping):
    group = await Group.objects.acreate(name="clerks")
    if way == "of the user":
        await user.user_permissions.aadd(permission)
    else:
        await group.permissions.aadd(permission)
        await user.groups.aadd(group)
    async with connect(PATH, user, application=serve(PermittedConsumer)) as client:
        await client.assert_silent()
        if way == "of the user":
            await user.user_permissions.aclear()
        elif way == "of a group":
            await user.groups.aremove(group)
        elif way == "all leave it":
            await group.user_set.aclear()
        elif way == "it loses it":
            await group.permissions.aset([])
        else:
            await group.adelete()
        await client.assert_closed(4403)


async def test_a_rolled_back_change_is_not_published(user, monkeypatch):
    published = []
    monkeypatch.setattr(revocation, "publish_command", published.append)

    def roll_back():
        with transaction.atomic():
            user.save()
            transaction.set_rollback(True)

    await sync_to_async(roll_back)()
    assert published == []
    await user.asave()
    assert len(published) == 1


def test_other_models_are_deleted_in_a_single_query():
    """A receiver for all models would make Django load what it deletes."""
    assert not signals.post_delete.has_listeners(ContentType)
    assert signals.post_delete.has_listeners(get_user_model())


async def test_a_recheck_of_all_is_spread(user, monkeypatch):
    monkeypatch.setattr(registry, "CHECKS_PER_SECOND", 2)
    served = serve(MembersConsumer)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            client = await stack.enter_async_context(connect(PATH, user, application=served))
            await client.assert_silent()
        connections()[2].check_at = due = 0
        now = asyncio.get_running_loop().time()
        registry.get_registry().handle_command({"recheck_all": "yes"})
        first, second, third = (connection.check_at for connection in connections())
        assert now <= first < now + 0.4
        assert second == pytest.approx(first + 0.5)
        assert third == due


async def test_another_users_session_under_the_same_key_closes(user, other_user, recheck_all):
    """As a sign-in that neither empties nor renews the session would do."""
    async with connect(PATH, user, application=serve(MembersConsumer)) as client:
        await client.assert_silent()
        browser = AsyncClient()
        browser.cookies[django_settings.SESSION_COOKIE_NAME] = session_key(client)
        session = await sync_to_async(lambda: browser.session)()
        await sync_to_async(session.update)(
            {"_auth_user_id": str(other_user.pk), "_auth_user_hash": other_user.get_session_auth_hash()}
        )
        await session.asave()
        recheck_all()
        await client.assert_closed(3000)
