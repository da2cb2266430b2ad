"""What a page of orders may expect of the server."""

import pytest

from apps.common.websockets.testing import connect

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/ws/orders/1/"
OTHER_PATH = "/ws/orders/2/"


async def test_refuses_anonymous_visitors():
    async with connect(PATH) as page:
        await page.assert_closed(4401)


async def test_place_order_is_answered_and_broadcast(user):
    async with connect(PATH, user) as page, connect(PATH, user) as other:
        answer = await page.request("place_order", text="hello")
        assert answer["type"] == "place_order_result"
        assert answer["data"] == {"text": "hello"}
        await other.assert_broadcast("order_placed", text="hello")


async def test_place_order_refuses_an_empty_text(user):
    async with connect(PATH, user) as page:
        answer = await page.request("place_order", text=" ")
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "invalid_message"


async def test_cancel_order_is_answered_and_broadcast(user):
    async with connect(PATH, user) as page, connect(PATH, user) as other:
        answer = await page.request("cancel_order", text="hello")
        assert answer["type"] == "cancel_order_result"
        assert answer["data"] == {"text": "hello"}
        await other.assert_broadcast("order_cancelled", text="hello")


async def test_cancel_order_refuses_an_empty_text(user):
    async with connect(PATH, user) as page:
        answer = await page.request("cancel_order", text=" ")
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "invalid_message"


async def test_pages_of_another_orders_id_hear_nothing(user):
    async with connect(PATH, user) as page, connect(OTHER_PATH, user) as stranger:
        await page.request("place_order", text="hello")
        await page.assert_broadcast("order_placed", text="hello")
        await stranger.assert_silent()
