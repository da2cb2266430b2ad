"""The page of orders, in a real browser against a real server."""

import pytest

from apps.common.websockets.broadcast import abroadcast

from ..consumers import group_of
from ..messages import OrderPlaced

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/orders/demo/"


async def test_two_pages_show_what_one_of_them_sends(open_page, user):
    pages = [await open_page(PAGE, user) for _ in range(2)]
    for page in pages:
        await page.locator("connection-status").get_by_text("Connected").wait_for()

    await pages[0].locator("[data-action=place-order] input").fill("hello")
    await pages[0].keyboard.press("Enter")

    await pages[0].locator("[data-log] li", has_text="Done").get_by_text("hello").wait_for()
    for page in pages:
        event = page.locator("[data-log] li", has_text="Order placed")
        await event.get_by_text("hello").wait_for()


async def test_a_page_shows_a_broadcast_from_before_it_connected(open_page, user):
    async def broadcast_first(route):
        await abroadcast(group_of("demo"), OrderPlaced(text="in between"))
        await route.continue_()

    page = await open_page(PAGE, user)
    await page.route("**/orders_app.js", broadcast_first)
    await page.reload()
    await page.locator("[data-log] li").get_by_text("in between").wait_for()
