"""A page whose server comes and goes: killed, restarted, silent, replaced by a deploy."""

import pytest

from apps.common.tests.browser_client import PATIENT, Client, operator

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_reconnects_when_the_server_was_killed(visitor, server):
    await visitor.connect(**PATIENT)
    await visitor.say("hello")
    await visitor.event("said")

    server.kill()
    assert (await visitor.status("disconnected"))["code"] == 1006
    server.start()
    await visitor.status("connected")

    first, last = visitor.statuses[:3], visitor.statuses[-2:]
    assert first == ["connecting", "connected", "disconnected"]
    assert last == ["connecting", "connected"]
    between = visitor.statuses[3:-2]
    assert between == ["connecting", "disconnected"] * (len(between) // 2)
    assert visitor.position["seq"] == "1"


async def test_recovers_from_a_long_outage_by_itself_when_it_probes(visitor, server):
    await visitor.connect(minDelay=2, maxDelay=4, maxAttempts=2, probeDelay=200)
    server.kill()
    for _ in range(3):
        _, details = await visitor.event("connectionStatus", lambda status, details: details.get("delay", 0) >= 100)
        assert details["attempt"] == 2
    server.start()
    assert await visitor.status("connected") == {"attempt": 2}
    assert "error" not in visitor.statuses


async def test_reconnects_when_the_server_was_restarted(visitor, server):
    await visitor.connect(**PATIENT)
    await visitor.page.evaluate("Math.random = () => 0")  # the first to return

    server.terminate()
    details = await visitor.status("disconnected")
    assert (details["code"], details["delay"], details["attempt"]) == (1012, 10, 1)
    server.start()
    await visitor.status("connected")


async def test_pages_return_to_a_restarted_server_over_ten_seconds(visitor, server):
    await visitor.page.evaluate("""async () => {
        const services = Array.from({ length: 20 }, () => new BaseWebSocketService({ endpoint: '/ws/room/1/' }));
        await Promise.all(services.map((service) => service.connect()));
        window.delays = Promise.all(services.map((service) => new Promise((resolve) => {
            service.on('connectionStatus', (status, { delay }) => resolve(delay));
        })));
    }""")

    server.terminate()
    delays = await visitor.page.evaluate("window.delays")

    assert min(delays) >= 500
    assert max(delays) <= 10_500
    assert max(delays) - min(delays) > 3_000


async def test_finds_a_server_that_is_silent_and_one_that_speaks_again(visitor, server):
    # Long enough for a server that answers, on a busy machine too.
    await visitor.connect(**PATIENT, pongTimeout=2_000, connectTimeout=2_000)

    server.suspend()
    details = await visitor.status("disconnected")
    assert (details["code"], details["reason"]) == (1006, "The server is silent.")
    assert (await visitor.status("disconnected"))["reason"] == "No connection in time."
    server.resume()
    await visitor.status("connected")


async def test_messages_sent_while_the_server_was_stopped_arrive_once_and_in_order(visitor, server):
    await visitor.connect(**PATIENT)

    server.kill()
    await visitor.status("disconnected")
    await visitor.page.evaluate("""for (const text of ['one', 'two', 'three']) {
        service.send({ type: 'say', data: { text } });
    }""")
    server.start()
    await visitor.event("said", lambda frame: frame["data"]["text"] == "three")

    assert visitor.texts == ["one", "two", "three"]


async def test_a_request_is_rejected_when_the_server_is_killed_and_not_repeated(visitor, server):
    await visitor.connect(**PATIENT)
    await visitor.page.evaluate("""() => {
        window.failure = new Promise((resolve) => {
            service.request({ type: 'work', data: { seconds: 60 } }).catch(({ code }) => resolve(code));
        });
    }""")
    server.kill()
    assert await visitor.page.evaluate("window.failure") == "connection_lost"


async def test_a_deploy_loses_no_request(shared_browser, server, other_server):
    """The old server says that it drains; the new one takes the connections; the old one ends."""
    # The new one has another address here, which the policy forbids.
    context = await shared_browser.new_context(bypass_csp=True)
    visitor = await Client.open(context, server.url)
    other_server.start(CSRF_TRUSTED_ORIGINS=server.url)
    await visitor.connect(queueLimit=1_000)
    await visitor.page.evaluate("""() => {
        window.answers = [service.request({ type: 'work', data: { seconds: 0.5 } })];
        window.timer = setInterval(() => {
            answers.push(service.request({ type: 'work', data: { seconds: 0 } }));
        }, 50);
    }""")

    await visitor.page.evaluate("(url) => { endpoint = url + endpoint; }", other_server.url)
    async with operator(server.url, visitor.path) as somebody:
        await somebody.request("drain", within=1)
    await visitor.status("connecting")
    await visitor.status("connected")
    server.terminate()
    await visitor.event("latency")
    answers = await visitor.page.evaluate("clearInterval(timer) ?? Promise.all(answers)")

    assert len(answers) > 10
    assert {answer["type"] for answer in answers} == {"work_result"}
    assert visitor.statuses == ["connecting", "connected"] * 2
    assert visitor.sockets[-1].startswith(other_server.url.replace("http", "ws"))
    await context.close()
