"""The page of orders, in a real browser against a real server."""

import pytest

from apps.common.websockets.broadcast import abroadcast

from .. import messages
from ..consumers import group_of
from .test_consumer import ORDER_PLACED

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/orders/demo/"


async def test_place_order_works_from_the_keyboard(open_page, user):
    page = await open_page(PAGE, user)
    form = page.locator("[data-action=place-order]")
    await form.locator("[name=item]").fill("item")
    await form.locator("[name=quantity]").fill("1")
    await form.locator("button").press("Enter")
    await form.get_by_role("status").get_by_text("Done").wait_for()
    event = page.locator("[data-events] li", has_text="Order placed")
    await event.locator("[data-field=item]", has_text="item").wait_for()


async def test_cancel_order_works_from_the_keyboard(open_page, user):
    page = await open_page(PAGE, user)
    form = page.locator("[data-action=cancel-order]")
    await form.locator("[name=id]").fill("7")
    await form.locator("button").press("Enter")
    await form.get_by_role("status").get_by_text("Done").wait_for()
    event = page.locator("[data-events] li", has_text="Order cancelled")
    await event.wait_for()


async def test_a_page_shows_a_broadcast_from_before_it_connected(open_page, user):
    async def broadcast_first(route):
        await abroadcast(group_of("demo"), messages.OrderPlaced(**ORDER_PLACED))
        await route.continue_()

    page = await open_page(PAGE, user)
    await page.route("**/orders_app.js", broadcast_first)
    await page.reload()
    await page.locator("[data-events] li", has_text="Order placed").wait_for()
