"""The consumer of orders, as its clients see it."""

import pytest

from apps.common.testing import connect
from apps.common.websockets.broadcast import abroadcast

from .. import messages
from ..consumers import group_of

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/ws/orders/1/"
OTHER_PATH = "/ws/orders/2/"


PLACE_ORDER = {
    "item": "item",
    "quantity": 1,
}

CANCEL_ORDER = {
    "id": 7,
}

ORDER_PLACED = {
    **PLACE_ORDER,
}

ORDER_CANCELLED = {
    **CANCEL_ORDER,
}


async def test_anonymous_visitors_are_refused():
    async with connect(PATH) as client:
        await client.assert_closed(4401)


async def test_place_order_is_answered_and_broadcast(user):
    async with connect(PATH, user) as client, connect(PATH, user) as other_client:
        answer = await client.request("place_order", **PLACE_ORDER)
        assert answer["type"] == "place_order_result"
        await other_client.assert_broadcast("order_placed", **PLACE_ORDER)


@pytest.mark.parametrize("data", [{"item": "x" * 200}, {"quantity": 99}])
async def test_place_order_accepts(data, user):
    async with connect(PATH, user) as client:
        answer = await client.request("place_order", **(PLACE_ORDER | data))
        assert answer["type"] == "place_order_result"


@pytest.mark.parametrize("data", [{"item": " "}, {"item": "x" * 201}, {"quantity": 100}, {"quantity": "1"}])
async def test_place_order_refuses(data, user):
    async with connect(PATH, user) as client:
        answer = await client.request("place_order", **(PLACE_ORDER | data))
        assert answer["data"]["code"] == "invalid_message"
        assert answer["data"]["fields"].keys() == data.keys()


async def test_cancel_order_is_answered_and_broadcast(user):
    async with connect(PATH, user) as client, connect(PATH, user) as other_client:
        answer = await client.request("cancel_order", **CANCEL_ORDER)
        assert answer["type"] == "cancel_order_result"
        await other_client.assert_broadcast("order_cancelled", **CANCEL_ORDER)


@pytest.mark.parametrize("data", [{"id": 2**53 - 1}])
async def test_cancel_order_accepts(data, user):
    async with connect(PATH, user) as client:
        answer = await client.request("cancel_order", **(CANCEL_ORDER | data))
        assert answer["type"] == "cancel_order_result"


@pytest.mark.parametrize("data", [{"id": 2**53}, {"id": 1.5}])
async def test_cancel_order_refuses(data, user):
    async with connect(PATH, user) as client:
        answer = await client.request("cancel_order", **(CANCEL_ORDER | data))
        assert answer["data"]["code"] == "invalid_message"
        assert answer["data"]["fields"].keys() == data.keys()


async def test_clients_of_another_id_receive_nothing(user):
    async with connect(PATH, user) as client, connect(OTHER_PATH, user) as other_client:
        await abroadcast(group_of("1"), messages.OrderPlaced(**ORDER_PLACED))
        await client.assert_broadcast("order_placed", **ORDER_PLACED)
        await other_client.assert_silent()
