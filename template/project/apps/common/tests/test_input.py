import json
import re

import pytest

from apps.common.testing import connect
from apps.common.websockets.messages import Message

from .serving import PATH, PublicConsumer, connections, serve

# Housekeeping closes old database connections once a second; those of earlier tests may be open.
pytestmark = pytest.mark.django_db(transaction=True)


class Weigh(Message):
    kilos: float = 0
    count: int = 0


class Explode(Message):
    pass


class ScaleConsumer(PublicConsumer):
    async def handle_weigh(self, data: Weigh) -> Weigh:
        return data

    async def handle_explode(self, data: Explode) -> None:
        raise ZeroDivisionError("secret")


def frame(data: str, type: str = "weigh") -> str:
    return f'{{"type": "{type}", "data": {data}}}'


def page(raise_exceptions=True, **attributes):
    return connect(PATH, application=serve(ScaleConsumer, **attributes), raise_exceptions=raise_exceptions)


async def assert_works(one) -> None:
    answer = await one.request("weigh", kilos=1.5)
    assert answer["data"] == {"kilos": 1.5, "count": 0}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("{}x", "invalid_json"),
        ("{'type': 'weigh'}", "invalid_json"),
        ("\ufeff{}", "invalid_json"),
        ("\x00", "invalid_json"),
        ("[" * 5_000 + "]" * 5_000, "invalid_json"),
        (frame('{"a":' * 1_000 + "1" + "}" * 1_000), "invalid_json"),
        ("[" * 30_000 + "]" * 30_000, "too_large"),
        (frame('{"a":' * 10_000 + "1" + "}" * 10_000), "too_large"),
        (frame("[" + "{}," * 21_000 + "0]"), "too_large"),
        (frame('{"kilos": NaN}'), "invalid_json"),
        (frame('{"kilos": -Infinity}'), "invalid_json"),
        (frame('{"count": ' + "9" * 5_000 + "}"), "invalid_json"),
        (frame('"\\ud800"'), "invalid_json"),
        (frame('"\ud800"'), "invalid_json"),  # no server hands this on
        ("null", "invalid_message"),
        ("[]", "invalid_message"),
        ('"weigh"', "invalid_message"),
        ("{}", "invalid_message"),
        ('{"type": ""}', "invalid_message"),
        ('{"type": null}', "invalid_message"),
        ('{"type": ["weigh"]}', "invalid_message"),
        ('{"type": {"weigh": 1}}', "invalid_message"),
        ('{"type": "weigh", "data": null}', "invalid_message"),
        ('{"type": "weigh", "data": []}', "invalid_message"),
        (frame('{"kilos": 1e400}'), "invalid_message"),
        (frame('{"kilos": "Infinity"}'), "invalid_message"),
        (frame('{"count": 1.5}'), "invalid_message"),
        (frame('{"kilos": "heavy"}'), "invalid_message"),
        (frame('{"tons": 1}'), "invalid_message"),
        ('{"type": "measure"}', "unknown_type"),
        ('{"type": "pong"}', "unknown_type"),
        ('{"type": "' + "x" * 60_000 + '"}', "unknown_type"),
    ],
    ids=lambda value: ascii(value[:40]),
)
async def test_bad_input_is_refused_and_changes_nothing(text, code):
    async with page() as one:
        await one.send_text(text)
        await one.assert_error(code)
        await assert_works(one)


async def test_binary_is_refused():
    async with page() as one:
        await one.send_event({"type": "websocket.receive", "bytes": b"\xff\x00"})
        await one.assert_error("invalid_message")
        await one.send_event({"type": "websocket.receive", "bytes": frame("{}").encode(), "text": None})
        await one.assert_error("invalid_message")
        await assert_works(one)


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
async def test_size_is_counted_in_bytes(letter):
    size = len(letter.encode())
    async with page(max_bytes=1000) as one:
        fits, exceeds = letter * (998 // size), letter * (998 // size + 1)
        await one.send_text(f'"{fits}"')
        await one.assert_error("invalid_message")
        await one.send_text(f'"{exceeds}"')
        refusal = await one.assert_error("too_large")
        assert refusal["data"]["message"] == "a message may have 1000 bytes"
        await assert_works(one)


async def test_the_last_of_duplicate_keys_counts():
    async with page() as one:
        await one.send_text('{"type": "measure", "type": "weigh", "data": {"count": 1, "count": 2}}')
        await one.assert_broadcast("weigh", count=2)


async def test_the_largest_number_that_javascript_knows_exactly_can_be_answered():
    async with page() as one:
        await one.send("weigh", count=1 - 2**53)
        await one.assert_broadcast("weigh", count=1 - 2**53)
        await one.send("weigh", count=-(2**53))
        await one.assert_error("invalid_message")


@pytest.mark.parametrize(
    "ref",
    ['"a"', "7", '"' + "é" * 64 + '"', "-" + "9" * 4_000, '"\\"quoted\\""'],
    ids=["text", "number", "long", "huge", "quoted"],
)
async def test_a_ref_is_returned_as_it_was(ref):
    async with page() as one:
        await one.send_text(f'{{"type": "weigh", "ref": {ref}}}')
        assert (await one.assert_broadcast("weigh"))["ref"] == json.loads(ref)
        await one.send_text(f'{{"type": "measure", "ref": {ref}}}')
        assert (await one.assert_error("unknown_type"))["ref"] == json.loads(ref)


@pytest.mark.parametrize(
    "ref", ["{}", "[]", "1.5", '"' + "é" * 65 + '"', "null"], ids=["object", "list", "fraction", "too long", "null"]
)
async def test_what_is_no_ref_is_left_out(ref):
    async with page() as one:
        await one.send_text(f'{{"type": "weigh", "ref": {ref}}}')
        assert "ref" not in await one.assert_broadcast("weigh")


async def test_a_client_that_is_too_fast_is_sent_a_time_after_which_it_may_continue():
    async with page(rate_per_second=2, burst=3) as one:
        for _ in range(3):
            await one.assert_alive()
        await one.send_text('{"type": "ping"}')
        refusal = await one.assert_error("rate_limited")
        assert 0 < refusal["data"]["retry_after"] <= 1
        _pass_time(refusal["data"]["retry_after"])
        await one.assert_alive()


async def test_a_request_that_comes_too_fast_is_answered():
    async with page(rate_per_second=0.001, burst=1) as one:
        await one.assert_alive()
        assert (await one.request("weigh"))["data"]["code"] == "rate_limited"


async def test_who_floods_is_closed():
    async with page(rate_per_second=0.001, burst=3) as one:
        for _ in range(7):
            await one.send_text('{"type": "ping"}')
        await one.assert_closed(4429)
        assert [each["type"] for each in one.messages] == ["welcome", *["pong"] * 3, *["error"] * 3]


async def test_a_flood_of_nonsense_counts_too():
    async with page(rate_per_second=0.001, burst=3) as one:
        for _ in range(7):
            await one.send_text("nonsense")
        await one.assert_closed(4429)


async def test_a_handler_that_raised_is_logged_with_the_incident_that_the_page_is_sent(caplog):
    async with page(raise_exceptions=False) as one:
        answer = await one.request("explode")
        assert answer["data"]["code"] == "internal_error"
        [incident] = re.findall(r"incident (\w+)", answer["data"]["message"])
        assert f"ScaleConsumer failed to handle 'explode' (incident {incident})" in caplog.text
        assert "ZeroDivisionError: secret" in caplog.text
        assert "secret" not in json.dumps(answer)
        await assert_works(one)


async def test_a_validation_error_does_not_repeat_what_was_sent():
    async with page() as one:
        answer = await one.request("weigh", kilos="s3cret")
        assert "kilos" in answer["data"]["message"]
        assert "s3cret" not in json.dumps(answer)


def _pass_time(seconds: float) -> None:
    [connection] = connections()
    now = connection._dispatcher._clock
    connection._dispatcher._clock = lambda: now() + seconds
