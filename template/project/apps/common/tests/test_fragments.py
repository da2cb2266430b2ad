"""HTML that is rendered once and sent to every client of a group."""

import pytest
from django.db import transaction

from apps.common.fragments import abroadcast_html, broadcast_html
from apps.common.testing import connect
from apps.common.websockets.streams import get_streams

from .serving import PATH, PublicConsumer, serve

pytestmark = pytest.mark.django_db(transaction=True)

TEMPLATES = {"order.html": "<li id='order-{{ id }}'>{{ item }}</li>"}


@pytest.fixture(autouse=True)
def templates(settings):
    loaders = [("django.template.loaders.locmem.Loader", TEMPLATES)]
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {"loaders": loaders}},
    ]


async def test_a_client_gets_the_html_escaped_by_django_and_numbered():
    async with connect(PATH, application=serve(PublicConsumer)) as client:
        await abroadcast_html("room", "order.html", {"id": 1, "item": "<b>"}, target="orders", action="append")
        html = "<li id='order-1'>&lt;b&gt;</li>"
        message = await client.assert_broadcast("fragment", action="append", target="orders", html=html)
    assert message["seq"] == 1


async def test_a_client_that_reconnects_gets_those_that_it_missed():
    async with connect(PATH, application=serve(PublicConsumer)) as client:
        await client.drop()
        await abroadcast_html("room", target="order-1", action="remove")
        await client.open()
        await client.assert_broadcast("fragment", action="remove", target="order-1", html="")


def test_what_is_rolled_back_is_not_sent(monkeypatch):
    sent = []
    monkeypatch.setattr(get_streams(), "append", lambda group, body: sent.append(body))
    with transaction.atomic():
        broadcast_html("room", "order.html", target="orders")
        transaction.set_rollback(True)
    broadcast_html("room", target="order-1", action="remove")
    assert ["remove" in body for body in sent] == [True]


@pytest.mark.parametrize("arguments", [{}, {"template": "order.html", "action": "remove"}, {"action": "explode"}])
def test_what_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match=r"template|action"):
        broadcast_html("room", target="orders", **arguments)
