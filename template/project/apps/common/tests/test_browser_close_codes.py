"""What a page does when the server accepts it and then closes, by the code of the close."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAST = {"minDelay": 2, "maxDelay": 4}


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 4400, 4401, 4403, 4404])
async def test_a_final_code_is_not_asked_again(client, code):
    await client.start(f"/ws/close/{code}/", **FAST)

    details = await client.status("error")
    assert (details["code"], details["reason"]) == (code, "As you wish.")
    assert await client.event("error") == ({"code": code},)

    await client.page.evaluate("dispatchEvent(new Event('online'))")
    assert client.statuses == ["connecting", "connected", "error"]
    assert len(client.sockets) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 3000, 4408, 4429])
async def test_another_code_is_asked_again_five_times(client, code):
    await client.page.evaluate("Math.random = () => 0")  # 1012 spreads the pages over ten seconds
    await client.start(f"/ws/close/{code}/", **FAST)

    assert (await client.status("error"))["code"] == code
    assert await client.event("error") == ({"code": "gave_up"},)

    assert client.statuses == [*["connecting", "connected", "disconnected"] * 5, "connecting", "connected", "error"]
    assert len(client.sockets) == 6


async def test_a_visitor_who_must_sign_in_is_told(client):
    await client.start("/ws/members/1/")
    assert (await client.status("error"))["code"] == 4401


async def test_a_path_that_nothing_serves_is_told(client):
    await client.start("/ws/nothing/1/")
    assert (await client.status("error"))["code"] == 4404


async def test_a_page_that_sends_too_fast_comes_back(client):
    await client.connect(**FAST)
    await client.page.evaluate("for (let i = 0; i < 1_000; i += 1) service.send({ type: 'work' })")
    assert (await client.status("disconnected"))["code"] == 4429
    await client.status("connected")
