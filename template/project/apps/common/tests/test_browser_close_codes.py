"""The reactions of a page that is accepted and then closed, by the code of the close."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAST = {"minDelay": 2, "maxDelay": 4}


@pytest.mark.parametrize("code", [1008, 4401, 4403])
async def test_after_a_final_code_it_does_not_reconnect(visitor, code):
    await visitor.start(f"/ws/close/{code}/", **FAST)

    details = await visitor.status("error")
    assert (details["code"], details["reason"]) == (code, "As you wish.")
    assert await visitor.event("error") == ({"code": code},)

    await visitor.page.evaluate("dispatchEvent(new Event('online'))")
    assert visitor.statuses == ["connecting", "connected", "error"]
    assert len(visitor.sockets) == 1


@pytest.mark.parametrize("code", [1000, 1012, 1013, 4429])
async def test_after_another_code_it_retries_five_times(visitor, code):
    await visitor.page.evaluate("Math.random = () => 0")  # 1012 spreads the pages over ten seconds
    await visitor.start(f"/ws/close/{code}/", **FAST)

    assert (await visitor.status("error"))["code"] == code
    assert await visitor.event("error") == ({"code": "gave_up"},)

    assert visitor.statuses == [*["connecting", "connected", "disconnected"] * 5, "connecting", "connected", "error"]
    assert len(visitor.sockets) == 6


async def test_a_visitor_who_must_sign_in_is_asked_to(visitor):
    await visitor.start("/ws/members/1/")
    assert (await visitor.status("error"))["code"] == 4401


async def test_a_path_that_nothing_serves_is_shown_as_an_error(visitor):
    await visitor.start("/ws/nothing/1/")
    assert (await visitor.status("error"))["code"] == 4404


async def test_a_page_that_sends_too_fast_reconnects(visitor):
    await visitor.connect(**FAST)
    await visitor.page.evaluate("for (let i = 0; i < 1_000; i += 1) service.send({ type: 'work' })")
    assert (await visitor.status("disconnected"))["code"] == 4429
    await visitor.status("connected")
