"""What was broadcast while a page was away."""

import pytest

from apps.common.tests.browser_client import PATIENT, operator

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The page is away until the test says `back()`.
LEAVE = """() => {
    const { endpoint } = window;
    window.endpoint = new Promise((resolve) => { window.back = () => resolve(endpoint); });
    dispatchEvent(new Event('pagehide'));
    service.retry();
}"""


async def test_arrives_once_and_in_order_after_the_reconnect(client, server):
    await client.connect()
    async with operator(server.url, client.path) as somebody:
        await somebody.request("say", text="before")
        await client.event("said")
        await client.page.evaluate(LEAVE)
        for text in ["one", "two", "three"]:
            await somebody.request("say", text=text)
        await client.page.evaluate("back()")
        await client.status("connected")
        await somebody.request("say", text="after")
        await client.event("said", lambda frame: frame["data"]["text"] == "after")

    assert client.texts == ["before", "one", "two", "three", "after"]
    assert [args[0]["seq"] for name, *args in client.events if name == "said"] == [1, 2, 3, 4, 5]
    assert client.position["seq"] == "1"
    assert "resync" not in [name for name, *_ in client.events]


async def test_arrives_at_a_page_that_saw_no_broadcast_before(client, server):
    await client.connect()
    await client.page.evaluate(LEAVE)
    async with operator(server.url, client.path) as somebody:
        await somebody.request("say", text="hello")
        await client.page.evaluate("back()")
        await client.event("said")
    assert client.texts == ["hello"]


async def test_between_rendering_and_connecting_arrives_too(client, server):
    async with operator(server.url, client.path) as somebody:
        position = await somebody.position()  # as a view would render it into the page
        await somebody.request("say", text="hello")
        await client.start(position=position)
        await client.event("said")
    assert client.texts == ["hello"]


async def test_is_announced_as_lost_when_the_history_is_gone(client, server):
    await client.connect(**PATIENT)
    await client.say("hello")
    server.kill()  # with all that it kept in memory
    await client.status("disconnected")
    server.start()

    [position] = await client.event("resync")
    assert position["seq"] == 0
    assert client.position["epoch"] != position["epoch"]

    await client.say("again")
    await client.event("said")
    assert client.texts == ["hello", "again"]
