"""Two tenants, each with a database of its own: users with the same primary key are two users everywhere."""

from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connections as databases
from django.db import models, transaction
from django.test.utils import isolate_apps

from apps.common.testing import Client, connect
from apps.common.testing.users import make_user
from apps.common.websockets.access.identity import user_key
from apps.common.websockets.access.page_user import page_user
from apps.common.websockets.broadcast import user_group
from apps.common.websockets.messages import Message
from apps.common.websockets.process import revocation
from apps.common.websockets.process.registry import get_registry

from .serving import PATH, PublicConsumer, connections, consumers, serve
from .test_access import MembersConsumer, recheck_all, sign_out
from .wire import until

__all__ = ["recheck_all"]

pytestmark = pytest.mark.django_db(transaction=True)

tenant: ContextVar[str] = ContextVar("tenant", default="default")


class News(Message):
    text: str


class TenantRouter:
    """Every query goes to the database of the current tenant."""

    def db_for_read(self, model, **hints):
        return tenant.get()

    db_for_write = db_for_read


class ReplicaRouter:
    """Reads from another database than it writes to."""

    def db_for_read(self, model, **hints):
        return "north"

    def db_for_write(self, model, **hints):
        return "default"


def of_tenant(application):
    """A middleware that reads the tenant from the address, as others read it from the host."""

    async def middleware(scope, receive, send):
        tenant.set(scope["query_string"].partition(b"tenant=")[2].partition(b"&")[0].decode() or "default")
        await application(scope, receive, send)

    return middleware


def forget_north():
    """Close this thread's connection."""
    databases["north"].close()
    del databases["north"]


@pytest.fixture
def _north(tmp_path, settings, transactional_db, django_db_blocker):
    """Another database, with the same tables."""
    options = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "north.sqlite3", "OPTIONS": {}}
    databases.settings["north"] = {**databases.settings["default"], **options}
    with django_db_blocker.unblock():
        call_command("migrate", database="north", verbosity=0)
        yield
        forget_north()
        del databases.settings["north"]


@pytest.fixture
def ann(_north, settings):
    """A user of the database "default"."""
    settings.DATABASE_ROUTERS = [f"{__name__}.TenantRouter"]
    return make_user("ann")


@pytest.fixture
def bob(ann):
    """The user with the same key in the database "north"."""
    token = tenant.set("north")
    try:
        return make_user("bob", pk=ann.pk)
    finally:
        tenant.reset(token)


@asynccontextmanager
async def both(ann, bob, consumer=MembersConsumer, **attributes):
    """A client of each."""
    application = of_tenant(serve(consumer, **attributes))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sync_to_async(forget_north))  # in the thread that runs ORM work
        first = await stack.enter_async_context(connect(PATH, ann, application=application))
        token = tenant.set("north")
        second = await stack.enter_async_context(connect(f"{PATH}?tenant=north", bob, application=application))
        tenant.reset(token)
        await first.assert_silent()
        await second.assert_silent()
        yield first, second


async def test_a_session_is_looked_up_in_the_tenants_database(ann, bob):
    async with both(ann, bob):
        assert [consumer.user.get_username() for consumer in consumers()] == ["ann", "bob"]
        assert {user_key(consumer.user) for consumer in consumers()} == {user_key(ann), user_key(bob)}


async def test_a_recheck_looks_there_too(ann, bob, recheck_all):
    async with both(ann, bob) as (first, second):
        await get_user_model().objects.using("north").filter(pk=bob.pk).aupdate(is_active=False)
        recheck_all()
        await second.assert_closed(3000)
        await first.assert_silent()
        assert consumers()[0].user.get_username() == "ann"


async def test_a_recheck_without_a_change_closes_nothing(ann, bob):
    async with both(ann, bob) as (first, second):
        for user in (ann, bob):
            get_registry().handle_command({"recheck": user_key(user)})
        await until(lambda: not get_registry()._tasks)
        await first.assert_silent()
        await second.assert_silent()
        assert [consumer.user.get_username() for consumer in consumers()] == ["ann", "bob"]


def test_a_change_is_published_after_the_commit_of_its_own_database(bob, monkeypatch):
    published = []
    monkeypatch.setattr(revocation, "publish_command", published.append)
    with transaction.atomic(using="north"):
        bob.save(using="north")
        assert published == []
    assert published == [{"recheck": user_key(bob)}]


async def test_a_change_of_one_does_not_reach_the_other(ann, bob):
    async with both(ann, bob) as (first, second):
        asked = [consumer.user for consumer in consumers()]
        bob.is_active = False
        await bob.asave(using="north")
        await second.assert_closed(3000)
        await first.assert_silent()
        assert connections()[0].scope["user"] is asked[0]  # ann was not looked up


def test_the_groups_of_the_two_differ(ann, bob):
    assert user_group("news", ann) != user_group("news", bob)


async def test_each_has_as_many_connections_as_a_user_may_have(ann, bob):
    async with both(ann, bob, max_connections=1) as (first, second):
        await first.assert_silent()
        await second.assert_silent()


async def test_a_page_of_one_is_not_the_others(ann, bob):
    async with both(ann, bob, PublicConsumer) as (first, _):
        assert page_user(ann) != page_user(bob)
        page = Client(f"{PATH}?page_user={page_user(bob)}", first.cookie, "http://testserver", serve(PublicConsumer))
        await page.open()
        await page.assert_closed(4409)
        await page.drop()


async def test_logout_of_one_leaves_the_other(ann, bob):
    async with both(ann, bob) as (first, second):
        await sign_out(first)
        await first.assert_closed(3000)
        await second.assert_silent()
        assert await Session.objects.using("north").acount() == 1


def test_a_user_of_a_replica_is_the_same_user(ann, settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.ReplicaRouter"]
    replicated = get_user_model()(pk=ann.pk)
    replicated._state.db = "north"
    assert user_key(replicated) == user_key(ann)


@isolate_apps("apps.users")
def test_a_child_of_the_user_model_is_the_same_user(ann):
    user = get_user_model()
    meta = type("Meta", (), {"app_label": user._meta.app_label})
    child = type("Clerk", (user,), {"__module__": __name__, "Meta": meta})(pk=ann.pk, id=str(ann.pk))
    child._state.db = ann._state.db
    assert user_key(child) == user_key(ann)


@isolate_apps("apps.users")
def test_a_user_of_another_model_is_another_user(ann):
    class Customer(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "users"

    customer = Customer(pk=ann.pk)
    customer._state.db = ann._state.db
    assert user_key(customer) != user_key(ann)
