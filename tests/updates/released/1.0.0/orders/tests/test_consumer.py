"""The consumer of orders, as its clients see it."""

import pytest

from apps.common.testing import connect

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/ws/orders/1/"
OTHER_PATH = "/ws/orders/2/"


async def test_anonymous_visitors_are_refused():
    async with connect(PATH) as client:
        await client.assert_closed(4401)


async def test_place_order_is_answered_and_broadcast(user):
    async with connect(PATH, user) as client, connect(PATH, user) as other_client:
        answer = await client.request("place_order", text="hello")
        assert answer["type"] == "place_order_result"
        assert answer["data"] == {"text": "hello"}
        await other_client.assert_broadcast("order_placed", text="hello")


async def test_place_order_refuses_an_empty_text(user):
    async with connect(PATH, user) as client:
        answer = await client.request("place_order", text=" ")
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "invalid_message"


async def test_cancel_order_is_answered_and_broadcast(user):
    async with connect(PATH, user) as client, connect(PATH, user) as other_client:
        answer = await client.request("cancel_order", text="hello")
        assert answer["type"] == "cancel_order_result"
        assert answer["data"] == {"text": "hello"}
        await other_client.assert_broadcast("order_cancelled", text="hello")


async def test_cancel_order_refuses_an_empty_text(user):
    async with connect(PATH, user) as client:
        answer = await client.request("cancel_order", text=" ")
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "invalid_message"


async def test_clients_of_another_id_receive_nothing(user):
    async with connect(PATH, user) as client, connect(OTHER_PATH, user) as other_client:
        await client.request("place_order", text="hello")
        await client.assert_broadcast("order_placed", text="hello")
        await other_client.assert_silent()
