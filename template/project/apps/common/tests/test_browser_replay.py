"""Broadcasts that were published while a page was disconnected."""

import json

import pytest

from apps.common.tests.browser_client import PATIENT, operator

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The page is disconnected until the test calls `back()`.
LEAVE = """() => {
    const { endpoint } = window;
    window.endpoint = new Promise((resolve) => { window.back = () => resolve(endpoint); });
    dispatchEvent(new Event('pagehide'));
    service.retry();
}"""


async def test_arrives_once_and_in_order_after_the_reconnect(visitor, server):
    await visitor.connect()
    async with operator(server.url, visitor.path) as somebody:
        await somebody.request("say", text="before")
        await visitor.event("said")
        await visitor.page.evaluate(LEAVE)
        for text in ["one", "two", "three"]:
            await somebody.request("say", text=text)
        await visitor.page.evaluate("back()")
        await visitor.status("connected")
        await somebody.request("say", text="after")
        await visitor.event("said", lambda frame: frame["data"]["text"] == "after")

    assert visitor.texts == ["before", "one", "two", "three", "after"]
    assert [args[0]["seq"] for name, *args in visitor.events if name == "said"] == [1, 2, 3, 4, 5]
    assert visitor.position["seq"] == "1"
    assert "resync" not in [name for name, *_ in visitor.events]


async def test_arrives_at_a_page_that_saw_no_broadcast_before(visitor, server):
    await visitor.connect()
    await visitor.page.evaluate(LEAVE)
    async with operator(server.url, visitor.path) as somebody:
        await somebody.request("say", text="hello")
        await visitor.page.evaluate("back()")
        await visitor.event("said")
    assert visitor.texts == ["hello"]


async def test_between_rendering_and_connecting_arrives_too(visitor, server):
    async with operator(server.url, visitor.path) as somebody:
        position = await somebody.position()  # as a view would render it into the page
        await somebody.request("say", text="hello")
        await visitor.start(pageData=json.dumps(position))
        await visitor.event("said")
    assert visitor.texts == ["hello"]


async def test_is_announced_as_lost_when_the_history_is_gone(visitor, server):
    await visitor.connect(**PATIENT)
    await visitor.say("hello")
    await visitor.event("said")
    server.kill()  # with all that it kept in memory
    await visitor.status("disconnected")
    server.start()

    [position] = await visitor.event("resync")
    assert position["seq"] == 0
    assert visitor.position["epoch"] != position["epoch"]

    await visitor.say("again")
    await visitor.event("said")
    assert visitor.texts == ["hello", "again"]
