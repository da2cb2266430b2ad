"""The same value arrives at the other end of the wire, and what is refused is refused at its field."""

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from django.utils import translation
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from apps.common.testing import connect
from apps.common.websockets import protocol
from apps.common.websockets.fields import Date, DateTime, Digits, Email, Json, Slug, Text, Time, Url, Uuid
from apps.common.websockets.messages import Message, MessageError
from apps.common.websockets.problems import MAX_FIELDS, explain

from .serving import PATH, PublicConsumer, serve

plain_date, plain_datetime, plain_time = date, datetime, time
briefly = settings(max_examples=30, deadline=None, database=None)  # for each of twenty fields


class State(StrEnum):
    NEW = "new"
    PAID = "paid"


class Everything(Message):
    """Each type under its own name, too, but for those that are attributes of BaseModel or builtins."""

    text: Annotated[str, Text(20)] | None = None
    slug: Annotated[str, Slug(50)] | None = None
    email: Annotated[str, Email(254)] | None = None
    url: Annotated[str, Url(500)] | None = None
    integer: int | None = None
    number: float | None = None
    decimal: Annotated[Decimal, Digits(10, 2)] | None = None
    share: Annotated[Decimal, Digits(4, 4)] | None = None
    huge: Annotated[Decimal, Digits(60, 30)] | None = None
    whole: Annotated[Decimal, Digits(3, 0)] | None = None
    boolean: bool | None = None
    date: Date | None = None
    datetime: DateTime | None = None
    time: Time | None = None
    uuid: Uuid | None = None
    data: Json | None = None
    enum: Literal["new", "paid"] | None = None
    state: State | None = None
    prices: Annotated[list[Annotated[Decimal, Digits(10, 2)]], Field(max_length=3)] | None = None
    dates: Annotated[list[Date], Field(max_length=3)] | None = None


class Line(Message, abstract=True):
    count: int
    ready: plain_date | None = None
    weight: float = 0
    below: "Line | None" = None


class Plain(Message):
    """As an owner may annotate without the types of `fields`."""

    day: plain_date | None = None
    at: plain_datetime | None = None
    clock: plain_time | None = None
    key: UUID | None = None
    price: Decimal | None = None
    cost: Annotated[Decimal, Field(gt=0, max_digits=5)] | None = None
    count: int = 0
    positive: Annotated[int, Field(gt=0)] = 1
    lines: list[Line] = []
    times: dict[str, list[plain_time]] = {}


def over_the_wire(message: Message) -> Any:
    return type(message).from_wire(protocol.parse(message.encode()).data)


def sent(message: Message) -> Any:
    return json.loads(message.encode())["data"]


def refused(message: type[Message], **data: Any) -> dict[str, str]:
    """The type of error at each field."""
    with pytest.raises(ValidationError) as raised:
        message.from_wire(data)
    return {".".join(map(str, problem["loc"])): problem["type"] for problem in raised.value.errors()}


CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(CHARACTERS),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(CHARACTERS), values, max_size=3),
    max_leaves=8,
)


def decimals(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    bound = 10**digits - 1
    return st.integers(-bound, bound).map(lambda number: Decimal(f"{number}E-{places}"))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(CHARACTERS, min_size=1, max_size=20).filter(Text().has_pattern),
    "slug": st.from_regex(r"\A[A-Za-z0-9_-]{1,50}\Z"),
    "email": st.sampled_from(["a@b.co", "o'hara+x@müller.example", "a@localhost", "a@xn--p1ai.xn--p1ai"]),
    "url": st.sampled_from(["http://a", "HTTPS://例え.jp:8000/ä?q=🍵#x", "https://[::1]/", "http://a_b?x=%20"]),
    "integer": st.integers(1 - 2**53, 2**53 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "decimal": decimals(10, 2),
    "share": decimals(4, 4),
    "huge": decimals(60, 30),
    "whole": decimals(3, 0),
    "boolean": st.booleans(),
    "date": st.dates(),
    "datetime": st.datetimes(timezones=OFFSETS),
    "time": st.times(),
    "uuid": st.uuids(),
    "data": JSON_VALUES,
    "enum": st.sampled_from(["new", "paid"]),
    "state": st.sampled_from(State),
    "prices": st.lists(decimals(10, 2), max_size=3),
    "dates": st.lists(st.dates(), max_size=3),
}


def test_each_field_has_values() -> None:
    assert VALUES.keys() == Everything.model_fields.keys()


def is_utc_a_date(value: Any) -> bool:
    try:
        return not isinstance(value, datetime) or bool(value.astimezone(UTC))
    except OverflowError:
        return False


@pytest.mark.parametrize("name", VALUES)
@briefly
@given(data=st.data())
def test_a_value_of_python_arrives_as_it_was(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    assume(is_utc_a_date(value))
    message = Everything(**{name: value})
    back = over_the_wire(message)
    assert back == message
    assert getattr(back, name) == getattr(message, name) == value
    assert sent(back) == sent(message)


@briefly
@given(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items() if name != "datetime"}))
def test_values_of_all_types_arrive_together(values: dict[str, Any]) -> None:
    assert over_the_wire(Everything(**values)) == Everything(**values)


@pytest.mark.parametrize("name", VALUES)
@briefly
@given(data=st.data())
def test_what_a_client_sends_goes_out_the_same(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    assume(is_utc_a_date(value))
    wire = sent(Everything(**{name: value}))
    assert sent(Everything.from_wire(json.loads(json.dumps(wire)))) == wire


@briefly
@given(decimals(10, 2))
@example(Decimal("-0"))
@example(Decimal("1E+2"))
@example(Decimal("99999999.99"))
def test_exactly_the_places_go_out(value: Decimal) -> None:
    assert sent(Everything(decimal=value))["decimal"] == f"{value + 0:.2f}"


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Everything(datetime=datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))), "2024-01-01T00:00:00Z"),
        (Everything(time=time(9)), "09:00:00"),
        (Everything(share=Decimal("0.1")), "0.1000"),
        (Everything(huge=Decimal("1E-30")), "0." + "0" * 29 + "1"),
        (Everything(data=({"at": date(2024, 1, 1)}, Decimal(1))), [{"at": "2024-01-01"}, "1"]),
        (Plain(price=Decimal("1E+2")), "100"),
        (Plain(at=datetime(2024, 1, 1, tzinfo=UTC)), "2024-01-01T00:00:00Z"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_goes_out_as(message: Message, data: Any) -> None:
    [name] = message.model_fields_set
    assert sent(message)[name] == data
    assert message.to_wire()["data"][name] == data
    assert over_the_wire(message) == message


@pytest.mark.parametrize(
    "values",
    [
        {"datetime": datetime(2024, 1, 1)},
        {"datetime": date(2024, 1, 1)},
        {"date": datetime(2024, 1, 1, tzinfo=UTC)},
        {"time": time(9, tzinfo=UTC)},
        {"decimal": Decimal("1.001")},
        {"decimal": Decimal("100000000")},
        {"decimal": Decimal("NaN")},
        {"decimal": Decimal("Infinity")},
        {"decimal": 1.5},
        {"number": float("inf")},
        {"data": float("nan")},
        {"data": [object()]},
        {"data": "\ud800"},
        {"integer": 2**53},
        {"decimal": 1},
        {"text": " \u3000\x85\ufeff"},
        {"text": "x" * 21},
        {"url": "javascript:alert(1)"},
        {"url": "https://trusted.example@evil.example/"},
        {"email": "a@b"},
    ],
    ids=str,
)
def test_python_cannot_make(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Everything(**values)


def test_python_is_given_the_reason() -> None:
    with pytest.raises(ValidationError, match=r"a datetime without a zone; django\.utils\.timezone\.now\(\) has one"):
        Everything(datetime=datetime(2024, 1, 1))
    with pytest.raises(ValidationError, match="more than 2 digits after the point; round it"):
        Everything(decimal=Decimal("1.005"))
    with pytest.raises(ValidationError, match="more than 8 digits before the point"):
        Everything(decimal=Decimal("1E+8"))
    with pytest.raises(ValidationError, match="not a date, nor a string of the pattern"):
        Everything(date=0)


def test_plain_annotations_are_as_strict() -> None:
    assert refused(Plain, day="1704067200", at="2024-01-01T00:00:00", clock="10:00:00Z", key="{" + "0" * 32 + "}") == {
        "day": "date",
        "at": "datetime",
        "clock": "time",
        "key": "uuid",
    }
    assert refused(Plain, price=1.5, cost="1e2", count=True, positive=2**53) == {
        "price": "decimal",
        "cost": "decimal",
        "count": "int_type",
        "positive": "less_than_equal",
    }
    assert refused(Plain, cost="0", positive=0) == {"cost": "greater_than", "positive": "greater_than"}
    below = {"count": 2**53, "ready": 1, "weight": "1"}
    assert refused(Plain, lines=[{"count": 1, "below": below}], times={"x": ["9"]}) == {
        "lines.0.below.count": "less_than_equal",
        "lines.0.below.ready": "date",
        "lines.0.below.weight": "float_type",
        "times.x.0": "time",
    }
    works = Plain.from_wire({"lines": [{"count": 1, "ready": "2024-02-29"}], "times": {"x": ["09:00"]}})
    assert (works.lines[0].ready, works.times) == (date(2024, 2, 29), {"x": [time(9)]})


TRIES: dict[str, list[Any]] = {
    "boolean": ["on", "true", 1, 0],
    "integer": [True, "1", "1_000", 1.5, 2**53, -(2**53)],
    "number": ["1", True],
    "decimal": [1, 1.5, "1e2", "١٢", "1.001", "123456789", ".5", "1.", "+1", "1_0", "NaN", "1\n", ""],
    "share": ["1", "0.00001"],
    "date": [
        0,
        "1704067200",
        "2024-1-1",
        "20240101",
        "2024-W01-1",
        "2024-02-30",
        "2024-01-01\n",
        "2024-01-01T00:00:00",
    ],
    "datetime": ["2024-01-01", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "2024-01-01T24:00:00Z", 1704067200],
    "time": ["9:00", "24:00", "09:00Z", "09:00:00+01:00", "09", 3600, "09:00:60"],
    "uuid": ["0" * 32, "{00000000-0000-0000-0000-000000000000}", "A" * 8 + "-0000-0000-0000-000000000000"],
    "text": ["", " ", "\u3000", 1, ["a"]],
    "slug": ["", "é", "a b", "a\n"],
    "email": ["a", "a@b", "a@b.c\n", '"a b"@example.org', "a@[127.0.0.1]"],
    "url": ["//a", "ftp://a", "javascript:alert(1)", "https://", "https://a b", "https://a\n", "https://u:p@a"],
    "enum": ["old", "NEW", ["new"]],
    "state": ["old", 1],
    "prices": [["1", 1], ["1"] * 4, "1", {}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in TRIES.items() for value in values])
def test_refuses(name: str, value: Any) -> None:
    assert {place.partition(".")[0] for place in refused(Everything, **{name: value})} == {name}


class Asks(PublicConsumer):
    async def handle_everything(self, data: Everything) -> Everything:
        return data

    async def handle_plain(self, data: Plain) -> None:
        raise MessageError("sold_out", "No tea.", 3, fields={"lines.0": "There is none left."})


def page(**attributes: Any) -> Any:
    return connect(PATH, application=serve(Asks, **attributes))


async def test_an_error_names_its_fields() -> None:
    async with page() as one:
        answer = await one.request("everything", integer="1", prices=["1", "x"])
        assert answer["data"]["code"] == "invalid_message"
        assert answer["data"]["fields"] == {
            "integer": "Enter a whole number.",
            "prices.1": "Enter a number of at most 8 digits before the point and 2 after it.",
        }
        assert answer["data"]["message"].startswith("integer: Enter a whole number.; prices.1: Enter")
        await one.send("everything", boolean=1)
        await one.assert_error("invalid_message", fields={"boolean"})
        await one.send("plain")
        error = await one.assert_error("sold_out", fields={"lines.0"})
        assert error["data"]["fields"] == {"lines.0": "There is none left."}
        await one.send("everything", boolean=1)
        with pytest.raises(AssertionError, match=r"should name \{'item'\}, not \{'boolean'"):
            await one.assert_error("invalid_message", fields={"item"})


async def test_an_error_without_fields_has_none() -> None:
    async with page() as one:
        await one.send("unknown")
        error = await one.assert_error("unknown_type", fields=())
        assert "fields" not in error["data"]


def test_a_fields_text_is_in_the_language_of_the_connection() -> None:
    with pytest.raises(ValidationError) as raised:
        Everything.from_wire({"date": "x", "text": "x" * 21})
    assert explain(raised.value)[1]["date"] == "Enter a valid date."
    with translation.override("de"):
        texts = explain(raised.value)[1]
    assert texts == {
        "text": "Bitte sicherstellen, dass der Wert aus höchstens 20 Zeichen besteht. (Er besteht aus 21 Zeichen.)",
        "date": "Bitte ein gültiges Datum eingeben.",
    }


def test_an_error_is_bounded() -> None:
    with pytest.raises(ValidationError) as raised:
        Everything.from_wire({"x" * 1_000 + str(number): 1 for number in range(300)})
    message, fields = explain(raised.value)
    assert len(message) < 1_000
    assert len(fields) <= MAX_FIELDS
    assert max(map(len, fields)) <= 64
    with pytest.raises(ValidationError) as raised:
        Everything.from_wire({str(number): 1 for number in range(30_000)})
    assert explain(raised.value) == ("More than 500 values are wrong.", {})


@pytest.mark.parametrize("data", [{"text": "a\0b"}, {"data": [{"a": "\0"}]}, {"data": {"\0": 1}}, {"data": "\\\0"}])
async def test_u_0000_is_refused_with_the_ref(data: dict[str, Any]) -> None:
    async with page() as one:
        answer = await one.request("everything", **data)
        assert answer["data"] == {
            "code": "invalid_message",
            "message": "a text may not contain the character U+0000",
        }
        await one.send_text('{"type": "everything", "ref": "a\\u0000b"}')
        error = await one.assert_error("invalid_message")
        assert error["ref"] == "a\0b"
        answer = await one.request("everything", text="\\u0000", data={"\\u0000": "\\\\u0000"})
        assert (answer["data"]["text"], answer["data"]["data"]) == ("\\u0000", {"\\u0000": "\\\\u0000"})


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\udfff": 1}', '["\\ud83d\\u0041"]'])
async def test_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    async with page() as one:
        await one.send_text(f'{{"type": "everything", "data": {{"data": {text}}}}}')
        await one.assert_error("invalid_json")
        answer = await one.request("everything", data="\U0001f375")
        assert answer["data"]["data"] == "\U0001f375"


@pytest.mark.parametrize("text", ["\0", "\ud800"], ids=["U+0000", "half of a pair"])
def test_no_message_with_it_is_encoded(text: str) -> None:
    class Loose(Message):
        note: str = ""
        data: dict[str, str] = {}

    for message in (Loose(note=text), Loose(data={text: "x"})):
        with pytest.raises(ValueError, match=r"U\+0000|surrogate"):
            message.encode()
    with pytest.raises(ValueError, match=r"U\+0000|surrogate"):
        protocol.encode({"note": text})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
@pytest.mark.parametrize("name", ["integer", "number", "data"])
async def test_no_number_that_json_cannot_carry(text: str, name: str) -> None:
    async with page() as one:
        await one.send_text(f'{{"type": "everything", "data": {{"{name}": {text}}}}}')
        await one.next_message("an error", lambda message: message["type"] == "error")
        assert (await one.request("everything", number=1))["data"]["number"] == 1
