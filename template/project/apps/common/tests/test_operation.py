"""Operation of a process: health, readiness, draining, and counts; and browsers that leave early."""

import asyncio
import gc
import os
from urllib.parse import urlsplit

import pytest
from channels.routing import URLRouter
from django.core.management import CommandError, call_command
from django.templatetags.static import static
from django.test import Client
from django.test.utils import override_script_prefix
from django.urls import re_path

from apps.common.testing import connect
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.asgi import lifespan
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process import metrics
from apps.common.websockets.process.registry import get_registry


class Tick(Message):
    n: int


class TickConsumer(BaseWebSocketConsumer):
    group_name = "ticks"

    async def is_allowed(self) -> bool:
        return True


APPLICATION = SessionAuth(URLRouter([re_path(r"^ticks/$", TickConsumer.as_asgi())]))


def test_a_process_is_healthy_and_ready(client):
    assert client.get("/health/").content == b"ok\n"
    assert client.get("/ready/").content == b"ready\n"


def test_a_load_balancer_asks_a_process_below_a_prefix_without_it(settings, client):
    settings.FORCE_SCRIPT_NAME = "/shop"
    with override_script_prefix("/shop/"):
        assert client.get("/health/", headers={"host": "10.0.0.1"}).content == b"ok\n"


async def test_draining_tells_pages_and_the_load_balancer(monkeypatch):
    monkeypatch.setattr("apps.common.websockets.process.registry.gethostname", lambda: "this")
    async with connect("/ticks/", application=APPLICATION) as page:
        get_registry().handle_command({"drain": "30", "host": "that"})
        await page.assert_silent()
        assert (await asyncio.to_thread(Client().get, "/ready/")).status_code == 200
        get_registry().handle_command({"drain": "30", "host": "this"})
        draining = await page.next_message("draining", lambda frame: frame["type"] == "draining")
        assert draining["data"] == {"within": 30}
        assert (await asyncio.to_thread(Client().get, "/ready/")).status_code == 503


@pytest.fixture
def _gc():
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("_gc")
@pytest.mark.parametrize(("before", "after"), [(700, 5_000), (50_000, 50_000), (0, 0)])
async def test_what_a_server_has_loaded_is_no_garbage(before, after):
    gc.unfreeze()
    gc.set_threshold(before)
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(events)

    async def send(event):
        sent.append((event["type"], gc.get_freeze_count() > 10_000, gc.get_threshold()[0]))

    await lifespan({"type": "lifespan"}, receive, send)
    assert sent == [("lifespan.startup.complete", True, after), ("lifespan.shutdown.complete", True, after)]


def test_a_single_process_is_not_drained(settings):
    settings.REDIS_URL = ""
    with pytest.raises(CommandError, match="restart it"):
        call_command("drain")


@pytest.mark.django_db
def test_counts_are_for_staff(client, staff_user, user):
    assert client.get("/metrics/").status_code == 403
    client.force_login(user)
    assert client.get("/metrics/").status_code == 403
    client.force_login(staff_user)
    assert client.get("/metrics/").status_code == 200


@pytest.mark.django_db
def test_counts_are_readable_with_the_token(client, settings):
    settings.METRICS_TOKEN = "secret"
    assert client.get("/metrics/", headers={"Authorization": "Bearer wrong"}).status_code == 403
    assert client.get("/metrics/", headers={"Authorization": "Bearer secret"}).status_code == 200


@pytest.mark.django_db
def test_an_empty_token_is_none(client, settings):
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics/", headers={"Authorization": "Bearer "}).status_code == 403


async def test_counts_what_was_sent_refused_and_replayed(settings):
    settings.METRICS_TOKEN = "secret"
    before = metrics.counts()
    async with connect("/ticks/", application=APPLICATION) as page:
        greeting = await page.next_message("welcome")
        await abroadcast("ticks", Tick(n=1))
        await page.assert_broadcast("tick", n=1)
        await page.send("nonsense")
        await page.assert_error("unknown_type")
        response = await asyncio.to_thread(Client().get, "/metrics/", headers={"Authorization": "Bearer secret"})
        pid = f'pid="{os.getpid()}"'
        assert f'websockets_members{{{pid},group="ticks"}} 1\n' in response.text
        assert f"websockets_connections{{{pid}}} 1\n" in response.text
    async with connect(f"/ticks/?epoch={greeting['data']['epoch']}&seq=0", application=APPLICATION) as page:
        await page.assert_broadcast("tick", n=1)
    async with connect("/ticks/?epoch=other&seq=0", application=APPLICATION) as page:
        await page.assert_silent()
    after = metrics.counts()
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert changed == {"sent": 1, "refused_messages": 1, "replayed": 1, "replays_refused": 1}


def test_a_mistyped_count_is_refused():
    with pytest.raises(KeyError, match="sennt"):
        metrics.count("sennt")


async def test_browsers_that_leave_before_a_file_is_sent_do_no_harm(site):
    address = urlsplit(site)
    request = f"GET {static('common/img/icon.svg')} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()

    async def leave():
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request)
        await writer.drain()
        writer.transport.abort()

    await asyncio.gather(*(leave() for _ in range(100)))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()
