"""A broadcast reaches pages from wherever it is made."""

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import transaction
from django.db.models.signals import post_save
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import re_path

from apps.common.testing import Client, connect
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.broadcast import GROUP_NAME, abroadcast, broadcast, stream_position, user_group
from apps.common.websockets.messages import Message

pytestmark = pytest.mark.django_db(transaction=True)


class News(Message):
    text: str


class NewsConsumer(BaseWebSocketConsumer):
    group_name = "news"


APPLICATION = SessionAuth(URLRouter([re_path(r"^news/$", NewsConsumer.as_asgi())]))


@pytest_asyncio.fixture
async def client(user) -> AsyncIterator[Client]:
    async with connect("/news/", user, application=APPLICATION) as client:
        yield client


async def in_thread(function, *args):
    return await sync_to_async(function, thread_sensitive=True)(*args)


async def test_from_a_consumer_or_any_async_code(client):
    await abroadcast("news", News(text="tea"))
    await client.assert_broadcast("news", text="tea")


async def test_from_a_view(client):
    def view(request):
        broadcast("news", News(text=request.GET["text"]))
        return HttpResponse()

    await in_thread(view, RequestFactory().get("/", {"text": "tea"}))
    await client.assert_broadcast("news", text="tea")


async def test_only_after_the_commit(client):
    heard_before_the_commit = []

    def order():
        with transaction.atomic():
            broadcast("news", News(text="tea"))
            heard_before_the_commit.append(stream_position("news").seq)

    await in_thread(order)
    await client.assert_broadcast("news", text="tea")
    assert heard_before_the_commit == [0]


async def test_never_after_a_rollback(client):
    def fail():
        with transaction.atomic():
            broadcast("news", News(text="lost"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await in_thread(fail)
    await abroadcast("news", News(text="kept"))
    assert (await client.assert_broadcast("news"))["data"] == {"text": "kept"}


async def test_from_a_model_signal(client):
    def notify(instance, **kwargs):
        broadcast("news", News(text=instance.username))

    post_save.connect(notify, sender=get_user_model())
    try:
        await get_user_model().objects.acreate(username="zoe")
    finally:
        post_save.disconnect(notify, sender=get_user_model())
    await client.assert_broadcast("news", text="zoe")


async def test_from_a_management_command(client):
    class Command(BaseCommand):
        def handle(self, *args, **options):
            broadcast("news", News(text="tea"))

    await in_thread(call_command, Command())
    await client.assert_broadcast("news", text="tea")


async def test_from_a_thread(client):
    thread = threading.Thread(target=broadcast, args=("news", News(text="tea")))
    thread.start()
    await client.assert_broadcast("news", text="tea")
    await asyncio.to_thread(thread.join)


class OwnNewsConsumer(BaseWebSocketConsumer):
    async def connect(self) -> None:
        self.group_name = user_group("news", self.user)
        await super().connect()


async def test_to_every_page_of_a_user_and_to_no_other(user, other_user):
    application = SessionAuth(URLRouter([re_path(r"^news/$", OwnNewsConsumer.as_asgi())]))
    async with (
        connect("/news/", user, application=application) as first,
        connect("/news/", user, application=application) as second,
        connect("/news/", other_user, application=application) as stranger,
    ):
        await in_thread(broadcast, user_group("news", user), News(text="tea"))
        await first.assert_broadcast("news", text="tea")
        await first.drop()
        await abroadcast(user_group("news", user), News(text="cake"))
        await first.reconnect()
        for each in (first, second):
            await each.assert_broadcast("news", text="cake")
        await stranger.assert_silent()


def test_the_group_of_a_user_is_a_group(user, other_user):
    assert user_group("news", user) != user_group("news", other_user)
    assert user_group("news", user) != user_group("new", user)
    for each in (user, SimpleNamespace(pk="ü" * 200)):  # the second is a token's, who is in no table
        assert GROUP_NAME.fullmatch(user_group("a" * 40, each))
    with pytest.raises(ValueError, match="An anonymous visitor has no group of 'news'"):
        user_group("news", AnonymousUser())


async def test_a_page_misses_nothing_between_its_rendering_and_its_connection(user):
    position = await in_thread(stream_position, "news")
    await abroadcast("news", News(text="in between"))
    path = f"/news/?epoch={position.epoch}&seq={position.seq}"
    async with connect(path, user, application=APPLICATION) as client:
        await client.assert_broadcast("news", text="in between")
