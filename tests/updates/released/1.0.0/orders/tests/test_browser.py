"""The live page of orders, in a real browser against a real server."""

import pytest

from apps.common.websockets.broadcast import abroadcast

from ..consumers import group_of
from ..messages import OrderPlaced

pytestmark = pytest.mark.django_db(transaction=True)


async def test_two_pages_see_what_one_of_them_sends(open_page, user):
    page, other = [await open_page("/orders/demo/", user) for _ in range(2)]
    for opened in (page, other):
        await opened.locator("connection-status").get_by_text("Connected").wait_for()

    await page.locator("[data-action=placeOrder] input").fill("hello")
    await page.keyboard.press("Enter")

    await page.locator("[data-log] li", has_text="Done").get_by_text("hello").wait_for()
    for opened in (page, other):
        event = opened.locator("[data-log] li", has_text="Order placed")
        await event.get_by_text("hello").wait_for()


async def test_a_page_shows_what_happens_before_it_has_connected(open_page, user):
    async def broadcast_first(route):
        await abroadcast(group_of("demo"), OrderPlaced(text="in between"))
        await route.continue_()

    page = await open_page("/orders/demo/", user)
    await page.route("**/orders_app.js", broadcast_first)
    await page.reload()
    await page.locator("[data-log] li").get_by_text("in between").wait_for()
