"""A page that goes offline, into the background, to sleep, and away."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from apps.common.tests.browser_client import DEADLINE, PATIENT, operator

pytestmark = pytest.mark.asyncio(loop_scope="session")

GIVES_UP = {"maxAttempts": 0}
QUIET = "/ws/quiet/1/"  # nothing but the page itself asks for a ping
HIDDEN = """new Promise((resolve) => {
    const check = () => document.visibilityState === 'hidden' && resolve();
    document.addEventListener('visibilitychange', check);
    check();
})"""


@asynccontextmanager
async def behind_another(tab):
    """Hidden by another tab, meanwhile."""
    other = await tab.page.context.new_page()
    await other.bring_to_front()
    async with asyncio.timeout(DEADLINE):
        await tab.page.evaluate(HIDDEN)
    yield
    await tab.page.bring_to_front()
    await other.close()


@asynccontextmanager
async def frozen(tab):
    """Asleep, meanwhile, as a tab is that was hidden for long."""
    session = await tab.page.context.new_cdp_session(tab.page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    yield
    await session.send("Page.setWebLifecycleState", {"state": "active"})


async def test_offline_it_gives_up_and_online_it_starts_afresh(visitor):
    await visitor.connect(**GIVES_UP, pongTimeout=2_000)
    await visitor.page.context.set_offline(True)
    assert (await visitor.status("error"))["code"] == 1006
    await visitor.page.context.set_offline(False)
    assert await visitor.status("connected") == {"attempt": 0}


async def test_offline_for_a_moment_it_keeps_its_connection_and_misses_nothing(visitor, server):
    await visitor.start(QUIET)
    await visitor.event("latency")
    async with operator(server.url, QUIET) as somebody:
        await visitor.page.context.set_offline(True)
        await somebody.request("say", text="hello")
        await visitor.page.context.set_offline(False)
        # The missed broadcast, and the answer to the ping that it sends when it is online: nothing orders the two.
        await visitor.each("said", "latency")
    assert visitor.statuses == ["connecting", "connected"]


async def test_shown_again_it_asks_whether_the_server_is_still_there(tab):
    await tab.start(QUIET)
    await tab.event("latency")
    async with behind_another(tab):
        pass
    await tab.event("latency")
    assert tab.statuses == ["connecting", "connected"]


async def test_shown_again_it_starts_afresh(tab, server):
    await tab.connect(**GIVES_UP)
    async with behind_another(tab):
        server.kill()
        await tab.status("error")
        server.start()
    assert await tab.status("connected") == {"attempt": 0}


async def test_woken_it_starts_afresh_though_it_is_hidden(tab, server):
    await tab.connect(**GIVES_UP)
    async with behind_another(tab):
        server.kill()
        await tab.status("error")
        async with frozen(tab):
            server.start()
        assert await tab.status("connected") == {"attempt": 0}


async def test_woken_it_has_missed_nothing(tab, server):
    await tab.connect(**PATIENT)
    async with behind_another(tab), operator(server.url, tab.path) as somebody:
        async with frozen(tab):
            await somebody.request("say", text="hello")
        await tab.event("said")
        await somebody.request("say", text="more")
        await tab.event("said")
    assert tab.texts == ["hello", "more"]


async def test_a_page_restored_from_the_back_forward_cache_has_missed_nothing(tab, server):
    await tab.connect()
    await tab.page.evaluate("addEventListener('pageshow', ({ persisted }) => { window.wasKept = persisted; })")
    await tab.page.goto(server.url)
    async with operator(server.url, tab.path) as somebody:
        await somebody.request("say", text="hello")

    # page.go_back() waits for a load, which a kept page has no more.
    await tab.page.evaluate("history.back()")
    await tab.event("said")

    assert await tab.page.evaluate("wasKept")
    assert tab.texts == ["hello"]
    assert tab.statuses[-2:] == ["connecting", "connected"]
