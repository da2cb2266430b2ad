import asyncio
import gc
import json
import random
import tracemalloc

import pytest
from django.contrib.auth.models import AnonymousUser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.common.testing import connect
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.messages import Message

from .serving import PATH, consumers, members, serve
from .wire import CONNECT, DISCONNECT, Wire, text, until

FRAMES = 10_000
MAX_GROWTH = 64 * 1024  # bytes, for all those frames


class Whisper(Message):
    text: str = ""
    times: int = 1
    loudness: float = 0.5


class VaultConsumer(BaseWebSocketConsumer):
    """For who is signed in; what a forged type must not reach is here."""

    secret = "open sesame"

    async def connect(self):
        self.group_name = "vault"
        await super().connect()

    async def handle_whisper(self, data: Whisper) -> Whisper:
        return data

    async def handle_open_vault(self, data: dict) -> None:
        await self.send_json({"type": "secret", "data": {"secret": self.secret}})

    async def unlock(self, data):
        await self.handle_open_vault(data)


class OwnersConsumer(VaultConsumer):
    async def is_allowed(self):
        return self.user.get_username() == "ann"


class PublicVaultConsumer(VaultConsumer):
    async def is_allowed(self):
        return True


FORGED = [
    "message",
    "handle_message",
    "handle_whisper",
    "open_vault",
    "handle_open_vault",
    "unlock",
    "secret",
    "websocket.disconnect",
    "websocket.receive",
    "websocket_disconnect",
    "disconnect",
    "connect",
    "dispatch",
    "broadcast",
    "broadcast_message",
    "send_json",
    "close",
    "join",
    "recheck",
    "_end",
    "__class__",
    "__init__",
    "__call__",
    "welcome",
    "pong",
    "error",
    "resync",
    "Whisper",
    "whisper ",
    "whisper\x00",
]


async def test_a_page_of_another_site_is_refused(user):
    with pytest.raises(AssertionError, match="refused the handshake"):
        async with connect(PATH, user, origin="https://evil.com", application=serve(VaultConsumer)):
            pass
    async with connect(PATH, user, origin="https://testserver", application=serve(VaultConsumer)) as client:
        await client.assert_silent()


async def test_anonymous_visitors_get_nothing_and_reach_nothing(transactional_db):
    async with connect(PATH, application=serve(VaultConsumer)) as client:
        await client.assert_closed(4401)
        assert client.messages == []
        assert members("vault") == 0


async def test_the_wrong_user_gets_nothing_and_reaches_nothing(other_user):
    async with connect(PATH, other_user, application=serve(OwnersConsumer)) as client:
        await client.assert_closed(4403)
        assert client.messages == []
        assert members("vault") == 0


async def test_the_right_user_gets_in(user):
    async with connect(PATH, user, application=serve(OwnersConsumer)) as client:
        assert (await client.request("whisper", text="hello"))["data"]["text"] == "hello"
        assert members("vault") == 1


@pytest.mark.parametrize("type", FORGED)
async def test_a_forged_type_reaches_nothing(type):
    async with connect(PATH, application=serve(PublicVaultConsumer)) as client:
        answer = await client.request(type, data={}, secret="", code=1000)
        code = "invalid_message" if "\0" in type else "unknown_type"
        assert (answer["type"], answer["data"]["code"]) == ("error", code)
        await client.assert_silent()
        assert (await client.request("whisper"))["type"] == "whisper"


@pytest.mark.parametrize("ref", ["message", "__class__"])
@pytest.mark.parametrize("member", ["content", "user", "scope", "group_name", "message_type", "model_config"])
async def test_a_forged_member_reaches_nothing(member, ref):
    async with connect(PATH, application=serve(PublicVaultConsumer)) as page:
        await page.send_text(json.dumps({"type": "whisper", "ref": ref, member: "forged"}))
        assert (await page.assert_broadcast("whisper"))["ref"] == ref
        assert (await page.request("whisper", **{member: "forged"}))["data"]["code"] == "invalid_message"
        [consumer] = consumers()
        assert (consumer.group_name, consumer.user.is_authenticated) == ("vault", False)


async def test_random_frames_leave_the_socket_alive_and_memory_flat(transactional_db):
    frames = random_frames(FRAMES)
    wire = Wire(CONNECT)
    consumer = type("Patient", (PublicVaultConsumer,), {"rate_per_second": 1e9, "burst": 1e9})()
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": AnonymousUser()}
    running = asyncio.create_task(consumer(scope, wire.receive, wire.send))
    await _send_all(wire, frames)  # without tracing, which makes it several times slower
    tracemalloc.start()
    try:
        before = _memory()
        await _send_all(wire, frames)
        assert _memory() - before < MAX_GROWTH
    finally:
        tracemalloc.stop()
    assert members("vault") == 1
    wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)


async def test_a_leak_would_be_seen():
    tracemalloc.start()
    try:
        before = _memory()
        leak = [object() for _ in range(FRAMES)]
        assert _memory() - before > MAX_GROWTH
        assert leak
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------------------------
# Random frames
# ---------------------------------------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
members_of_frames = ["type", "data", "ref", "seq", "text", "times", "loudness", "x"]


def random_frames(count: int) -> list[dict]:
    """Hypothesis makes the parts, which are put together at random: making each whole message takes it a minute."""
    parts: list = []
    dice = random.Random()  # noqa: S311 - no secret

    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(values, min_size=5, max_size=10))
    def collect(some):
        parts.extend(some)

    collect()
    return [_frame(parts, dice) for _ in range(count)]


def _frame(parts: list, dice: random.Random) -> dict:
    frame = {member: dice.choice(parts) for member in dice.sample(members_of_frames, dice.randrange(5))}
    frame["type"] = dice.choice(["whisper", "whisper", "ping", *FORGED, dice.choice(parts)])
    if dice.random() < 0.5:
        frame["data"] = {member: dice.choice(parts) for member in dice.sample(["text", "times", "loudness"], 2)}
    text = json.dumps(dice.choice([frame, frame, frame, dice.choice(parts)]))
    cut = dice.choice([text, text, text, text[: len(text) // 2], text + text, text.replace('"', "'")])
    return {"bytes": cut.encode()} if dice.random() < 0.05 else {"text": cut}


async def _send_all(wire: Wire, frames: list[dict]) -> None:
    for start in range(0, len(frames), 100):
        wire.push(*({"type": "websocket.receive", **frame} for frame in frames[start : start + 100]))
        wire.push(text('{"type": "whisper", "ref": "the last one"}'))
        await until(lambda: wire.sent and '"ref":"the last one"' in wire.sent[-1].get("text", ""))
        wire.sent.clear()


def _memory() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
