"""The contract file: normal form, compatibility, refreshing, and the lines that differ from messages.py."""

import re
import subprocess
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, StrEnum
from types import SimpleNamespace
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, JsonValue, StringConstraints, computed_field, create_model

from apps.common.contract import drift, features
from apps.common.contract.compatibility import breaking_changes
from apps.common.contract.contract_file import ContractFile, Version, refresh, render
from apps.common.contract.normal_form import fields_of
from apps.common.websockets.fields import Date, DateTime, Digits, Email, Json, Slug, Text, Time, Url, Uuid
from apps.common.websockets.messages import Message

from .serving import PublicConsumer


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Level(Enum):
    LOW = 1


class Address(BaseModel):
    city: str
    lines: list[Annotated[str, Field(max_length=40)]] = []


class Tree(BaseModel):
    children: list["Tree"] = []


class Pair(NamedTuple):
    left: int
    right: int


def form_of(annotation, default=...):
    return fields_of(create_model("Sent", value=(annotation, default)), received=False)["value"]


@pytest.mark.parametrize(
    ("annotation", "form"),
    [
        (str, {"kind": "str"}),
        (Annotated[str, Text(200)], {"kind": "text", "max": 200}),
        (Annotated[str, Slug(50)], {"kind": "slug", "max": 50}),
        (Annotated[str, Email(254)], {"kind": "email", "max": 254}),
        (Annotated[str, Url(500)], {"kind": "url", "max": 500}),
        (Annotated[str, StringConstraints(min_length=1, pattern="^a")], {"kind": "str", "min": 1, "pattern": "^a"}),
        (Annotated[str, Field(pattern=re.compile("^a"), min_length=0)], {"kind": "str", "pattern": "^a"}),
        (int, {"kind": "int"}),
        (Annotated[int, Field(gt=0, lt=100)], {"kind": "int", "min": 1, "max": 99}),
        (Annotated[float, Field(gt=0.5, le=9.0)], {"kind": "float", "above": 0.5, "max": 9}),
        (Annotated[Decimal, Digits(10, 2)], {"kind": "decimal", "digits": 10, "places": 2}),
        (Annotated[Decimal, Field(max_digits=5, ge=Decimal("0.50"))], {"kind": "decimal", "min": 0.5, "digits": 5}),
        (Annotated[Decimal, Digits(2, 2)], {"kind": "decimal", "digits": 2, "places": 2}),
        (bool, {"kind": "bool"}),
        *((each, {"kind": "date"}) for each in (date, Date)),
        *((each, {"kind": "datetime"}) for each in (datetime, DateTime)),
        *((each, {"kind": "time"}) for each in (time, Time)),
        *((each, {"kind": "uuid"}) for each in (UUID, Uuid)),
        (Json, {"kind": "json"}),
        (JsonValue, {"kind": "json"}),
        (Any, {"kind": "json"}),
        (Literal["new", "paid"], {"kind": "enum", "of": ["new", "paid"]}),
        (Size, {"kind": "enum", "of": ["small", "large"]}),
        (Level, {"kind": "enum", "of": [1]}),
        (
            Annotated[list[Annotated[str, Text(5)]], Field(max_length=50)],
            {"kind": "list", "of": {"kind": "text", "max": 5}, "max": 50},
        ),
        (Sequence[int], {"kind": "list", "of": {"kind": "int"}}),
        (tuple[int, ...], {"kind": "list", "of": {"kind": "int"}}),
        (list, {"kind": "list", "of": {"kind": "json"}}),
        (dict[str, int], {"kind": "map", "of": {"kind": "int"}}),
        (int | str, {"kind": "union", "of": [{"kind": "int"}, {"kind": "str"}]}),
        (
            Address,
            {
                "kind": "object",
                "of": {
                    "city": {"kind": "str"},
                    "lines": {"kind": "list", "of": {"kind": "str", "max": 40}, "optional": True},
                },
            },
        ),
        (
            Tree,
            {"kind": "object", "of": {"children": {"kind": "list", "of": {"kind": "json"}, "optional": True}}},
        ),
        (Annotated[str, Text(9)] | None, {"kind": "text", "max": 9, "null": True}),
    ],
    ids=str,
)
def test_the_normal_form_of_an_annotation(annotation, form):
    assert form_of(annotation) == form
    assert form_of(annotation, None) == {**form, "optional": True}


def test_what_is_unknown_has_the_form_of_its_json_schema():
    form = form_of(Pair)
    assert form["kind"] == "schema"
    assert form["of"]["minItems"] == form["of"]["maxItems"] == 2
    assert "title" not in str(form)


def test_what_has_no_json_schema_is_any_value():
    assert form_of(Annotated[type, Field()]) == {"kind": "json"}


def test_clients_send_aliases_and_receive_computed_fields():
    class Sum(BaseModel):
        first: int = Field(alias="firstNumber")

        @computed_field
        def double(self) -> int:
            return 2 * self.first

    assert list(fields_of(Sum, received=False)) == ["firstNumber"]
    assert list(fields_of(Sum, received=True)) == ["first", "double"]


# The file


def contract(role="action", /, type_="place_order", **annotations):
    """The messages of a contract with one message; a field is an annotation, or one with its default."""
    pairs = {name: each if isinstance(each, tuple) else (each, ...) for name, each in annotations.items()}
    fields = fields_of(create_model("Sent", **pairs), received=role != "action")
    return {type_: {"is": role, "fields": fields}}


ORDER: dict[str, Any] = {
    "item": Annotated[str, Text(200)],
    "quantity": Annotated[int, Field(ge=1, le=99)],
    "price": Annotated[Decimal, Digits(10, 2)],
    "note": (Annotated[str, Text(2000)] | None, None),
    "tags": Annotated[list[Annotated[str, Text(200)]], Field(max_length=50)],
    "status": Literal["new", "paid"],
    "data": (JsonValue | None, None),
}
WRITTEN = """\
// The contract of orders: `manage.py contract orders` writes this file from messages.py.
// number 1

/** action place_order -> place_order_result */
export interface PlaceOrder {
    item: string; // {"kind": "text", "max": 200}
    quantity: number; // {"kind": "int", "min": 1, "max": 99}
    price: string; // {"kind": "decimal", "digits": 10, "places": 2}
    note?: string | null; // {"kind": "text", "max": 2000, "null": true, "optional": true}
    tags: string[]; // {"kind": "list", "of": {"kind": "text", "max": 200}, "max": 50}
    status: 'new' | 'paid'; // {"kind": "enum", "of": ["new", "paid"]}
    data?: unknown; // {"kind": "json", "null": true, "optional": true}
}

/** action close_shop */
export interface CloseShop {}

/** answer place_order_result */
export interface PlaceOrderResult {
    number: number; // {"kind": "int"}
}

/** event order_placed */
export interface OrderPlaced {
    note: string | null; // {"kind": "text", "max": 2000, "null": true, "optional": true}
    at: { city: string; lines: string[] }[]; // """
WRITTEN += """{"kind": "list", "of": {"kind": "object", "of": {"city": {"kind": "str"}, \
"lines": {"kind": "list", "of": {"kind": "str", "max": 40}, "optional": true}}}}
}

/** The arguments that listeners of the service's events receive. */
export interface Events {
    orderPlaced: [message: { type: 'order_placed'; data: OrderPlaced; seq?: number }];
}
"""


def test_the_file_as_it_is_written():
    messages = {
        **contract("event", "order_placed", note=ORDER["note"], at=list[Address]),
        **contract("action", **ORDER),
        **contract("action", "close_shop"),
        **contract("answer", "place_order_result", number=int),
    }
    messages["place_order"]["answer"] = "place_order_result"
    text = render("orders", Version(1, messages))
    assert text == WRITTEN
    file = ContractFile(text)
    assert file.current == Version(1, messages)
    assert file.is_current(messages)


@pytest.mark.parametrize("value", ["it's", 'a "quote"', "*/ // }", "; // {", "ü\u2028", "\\", 1, True])
def test_any_value_of_an_enum_can_be_read_again(value):
    messages = {"place_order": {"is": "action", "fields": {"my-field": {"kind": "enum", "of": [value]}}}}
    assert ContractFile(render("orders", Version(1, messages))).current.messages == messages


def test_the_hash_is_that_of_the_content():
    ordered, turned = {"a": {"kind": "int", "min": 9}}, {"a": {"min": 9, "kind": "int"}}
    assert Version(1, ordered).hash == Version(2, turned).hash != Version(1, {"a": {"kind": "int"}}).hash
    text = render("orders", Version(1, contract(value=Annotated[float, Field(le=9)])))
    assert ContractFile(text.replace("9}", "9.0}")).hashes == ContractFile(text).hashes


@pytest.mark.parametrize("text", ["", "// number", "// number 1\n<<<<<<< a\n=======\n>>>>>>> b\n"])
def test_a_damaged_file_is_refused(text):
    with pytest.raises(ValueError, match="it has"):
        ContractFile(text)


# Compatibility

OPTIONAL = (int | None, None)


@pytest.mark.parametrize(
    ("role", "old", "new", "breaks"),
    [
        ("action", {"a": int}, {"a": int, "b": OPTIONAL}, False),
        ("action", {"a": int}, {"a": int, "b": int}, True),
        ("action", {"a": int, "b": OPTIONAL}, {"a": int}, True),
        ("action", {"a": int}, {"b": int}, True),
        ("action", {"a": int}, {"a": OPTIONAL}, False),
        ("action", {"a": OPTIONAL}, {"a": int}, True),
        ("action", {"a": (int, 1)}, {"a": int}, True),
        ("action", {"a": int | None}, {"a": int}, True),
        ("action", {"a": int}, {"a": str}, True),
        ("action", {"a": int}, {"a": JsonValue}, False),
        ("action", {"a": Literal["x"]}, {"a": Literal["x", "y"]}, False),
        ("action", {"a": Literal["x", "y"]}, {"a": Literal["x"]}, True),
        ("action", {"a": Annotated[int, Field(le=9)]}, {"a": Annotated[int, Field(le=10)]}, False),
        ("action", {"a": Annotated[int, Field(le=9)]}, {"a": Annotated[int, Field(le=8)]}, True),
        ("action", {"a": Annotated[int, Field(ge=1)]}, {"a": int}, False),
        ("action", {"a": int}, {"a": Annotated[int, Field(ge=1)]}, True),
        ("action", {"a": Annotated[Decimal, Digits(5, 2)]}, {"a": Annotated[Decimal, Digits(6, 2)]}, False),
        ("action", {"a": Annotated[Decimal, Digits(5, 2)]}, {"a": Annotated[Decimal, Digits(5, 3)]}, True),
        ("action", {"a": str}, {"a": Annotated[str, Field(pattern="x")]}, True),
        ("action", {"a": list[Literal["x"]]}, {"a": list[Literal["x", "y"]]}, False),
        ("action", {"a": list[int | str]}, {"a": list[int]}, True),
        ("action", {"a": int | str}, {"a": int | str | bool}, False),
        ("action", {"a": Pair}, {"a": Pair}, False),
        ("event", {"a": int}, {"a": int, "b": OPTIONAL}, False),
        ("event", {"a": int}, {"a": int, "b": int}, True),
        ("event", {"a": int, "b": int}, {"a": int}, True),
        ("event", {"a": int}, {"a": int | None}, True),
        ("event", {"a": int | None}, {"a": int}, False),
        ("event", {"a": Literal["x"]}, {"a": Literal["x", "y"]}, True),
        ("event", {"a": Literal["x", "y"]}, {"a": Literal["x"]}, False),
        ("event", {"a": Annotated[str, Text(9)]}, {"a": Annotated[str, Text(10)]}, True),
        ("event", {"a": Annotated[str, Text(9)]}, {"a": Annotated[str, Text(8)]}, False),
        ("answer", {"a": int}, {"a": int, "b": int}, False),
        ("answer", {"a": int}, {}, True),
    ],
)
def test_what_breaks(role, old, new, breaks):
    found = list(breaking_changes(contract(role, **old), contract(role, **new)))
    assert bool(found) is breaks
    assert all(re.match(r"place_order\.[ab]: ", change) for change in found)


def test_what_breaks_in_a_nested_object_is_named_by_its_path():
    old, new = create_model("Old", x=(int, ...)), create_model("New", y=(int, ...))
    changes = list(breaking_changes(contract(a=old), contract(a=new)))
    assert changes == ["place_order.a.x: removed", "place_order.a.y: new, and without a default"]
    assert list(breaking_changes(contract(a=list[old]), contract(a=list[new])))
    assert not list(breaking_changes(contract(a=list[old]), contract(a=list[old])))


def test_messages_may_be_added_and_not_removed():
    action, event = contract("action"), contract("event", "order_placed")
    assert not list(breaking_changes(action, action | event))
    assert list(breaking_changes(action | event, action)) == ["order_placed: removed"]
    assert list(breaking_changes(action, contract("event"))) == ["place_order: removed"]


def test_another_answer_breaks():
    old = {"a": {"is": "action", "fields": {}, "answer": "a_result"}}
    assert list(breaking_changes(old, {"a": {"is": "action", "fields": {}}})) == ["a: no longer answered with a_result"]
    assert not list(breaking_changes({"a": {"is": "action", "fields": {}}}, old))


# Refreshing


def refreshed(*contracts, text=""):
    for messages in contracts:
        text = refresh("orders", text, messages)
    return text


def accepted(text):
    return [version.number for version in ContractFile(text).accepted]


def test_a_new_contract_has_a_higher_number_and_keeps_the_compatible_ones():
    first, second = contract(a=int), contract(a=int, b=OPTIONAL)
    text = refreshed(first)
    assert (ContractFile(text).current.number, accepted(text)) == (1, [])
    text = refreshed(second, text=text)
    assert (ContractFile(text).current.number, accepted(text)) == (2, [1, 2])
    assert ContractFile(text).hashes == {Version(1, first).hash, Version(2, second).hash}
    assert refreshed(second, text=text) == text
    text = refreshed(contract(c=int), text=text)
    assert (ContractFile(text).current.number, accepted(text)) == (3, [3])


def test_a_new_contract_is_compared_with_each_earlier_one():
    steps = [{"a": int}, {"a": int, "b": OPTIONAL}, {"a": int, "b": int | None}]  # the third breaks with the first
    assert accepted(refreshed(*(contract("event", **step) for step in steps))) == [2, 3]


def test_a_contract_that_is_taken_back_has_a_number_of_its_own():
    first, second = contract(a=int), contract(a=int, b=OPTIONAL)
    text = refreshed(first, second, first)
    assert (ContractFile(text).current, accepted(text)) == (Version(3, first), [3])


def test_the_bytes_of_another_generator_make_nothing_stale():
    messages = contract(a=int)
    text = refreshed(messages).replace("a: number;", "a: bigint;").replace('{"kind": "int"}', '{"kind":"int"}')
    assert ContractFile(text).is_current(messages)
    assert ContractFile(refreshed(messages, text=text)).current.number == 1


def git(*arguments, cwd):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    command = ["git", *identity, "-c", "merge.conflictStyle=diff3", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_merge_of_two_branches_keeps_the_contracts_of_both(tmp_path):
    base, one, two = contract(a=int), contract(a=int, b=OPTIONAL), contract(a=int, c=OPTIONAL)
    file = tmp_path / "orders_contract.d.ts"
    git("init", cwd=tmp_path)
    for branch, messages in (("main", base), ("one", one), ("two", two)):
        git("checkout", "-b", branch, "main", cwd=tmp_path)
        file.write_text(refreshed(messages, text=file.read_text() if file.exists() else ""))
        git("add", ".", cwd=tmp_path)
        git("commit", "-m", branch, cwd=tmp_path)
    assert git("merge", "one", cwd=tmp_path).returncode == 1
    assert "<<<<<<<" in file.read_text()
    both = contract(a=int, b=OPTIONAL, c=OPTIONAL)
    text = refreshed(both, text=file.read_text())
    assert ContractFile(text).current == Version(3, both)
    assert ContractFile(text).hashes >= {Version(0, each).hash for each in (base, one, two, both)}
    assert "<<<<<<<" not in text


def test_a_merge_without_a_refresh_is_stale():
    """Git takes each line of the fields that only one side has changed."""
    text = refreshed(contract(a=int), contract(a=int, b=OPTIONAL))
    both = contract(a=int, b=OPTIONAL, c=OPTIONAL)
    line = '    c?: number | null; // {"kind": "int", "null": true, "optional": true}\n'
    merged = re.sub(r"(    b\?.*\n)", rf"\1{line}", text)
    assert ContractFile(merged).current.messages == both
    assert not ContractFile(merged).is_current(both)


# Features


class PlaceOrder(Message):
    product: str


class PlaceOrderResult(Message):
    number: int


class OrderPlaced(PlaceOrder):
    pass


class Priced(Message, abstract=True):
    pass


class ShopConsumer(PublicConsumer):
    async def handle_place_order(self, data: PlaceOrder) -> PlaceOrderResult | None:
        return None


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The feature apps.shop, whose files are to be written."""
    monkeypatch.chdir(tmp_path)
    module = SimpleNamespace(**globals())
    config: Any = SimpleNamespace(name="apps.shop", path=str(tmp_path))
    monkeypatch.setattr(features.features, "modules", lambda name: {"apps.shop": module})
    monkeypatch.setattr(features, "apps", SimpleNamespace(get_app_configs=lambda: [config]))
    (feature,) = features.find_features("shop")
    feature.path.parent.mkdir(parents=True)
    return feature


def test_actions_answers_and_events_are_distinguished(shop):
    assert shop.roles == {
        "place_order": {"is": "action", "answer": "place_order_result"},
        "place_order_result": {"is": "answer"},
        "order_placed": {"is": "event"},
    }


def test_an_unknown_feature_is_named(shop):
    with pytest.raises(LookupError, match="there are: shop"):
        features.find_features("shops")


def test_a_feature_without_a_contract_file_passes(shop):
    assert drift.problems(shop) == []


def test_a_renamed_field_is_named_wherever_its_old_name_is(shop, tmp_path):
    old = {type_: {**role, "fields": {"item": {"kind": "str"}}} for type_, role in shop.roles.items()}
    old["place_order_result"] = shop.messages["place_order_result"]
    shop.path.write_text(render("shop", Version(1, old)))
    shop.path.with_name("shop_websocket.js").write_text("// an item\nsend({ item });\nlet items;\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/index.html").write_text(
        '<form data-action="place-order">\n<input name="item">\n<input name="product">\n</form>\n<input name="item">\n'
        '<template data-event="orderPlaced"><b data-field="item"></b>\n<b data-field="product"></b></template>\n'
        '<form data-action="search"><input name="item"></form>\n'
    )
    services = "static/shop/js/services"
    assert drift.problems(shop) == [
        f"{services}/shop_contract.d.ts:1: differs from messages.py; run `manage.py contract shop`",
        f"{services}/shop_websocket.js:2: 'item' is no longer in place_order and order_placed",
        "templates/index.html:2: place_order has no field 'item'",
        "templates/index.html:6: order_placed has no field 'item'",
    ]
    shop.path.write_text(refresh("shop", shop.path.read_text(), shop.messages))
    assert [problem.partition(":")[0] for problem in drift.problems(shop)] == ["templates/index.html"] * 2


def test_a_message_that_was_removed_is_named_wherever_its_type_is(shop):
    removed = {"is": "event", "fields": {"product": {"kind": "str"}}}
    shop.path.write_text(render("shop", Version(1, {**shop.messages, "order_lost": removed})))
    shop.path.with_name("shop_websocket.js").write_text("product();\ncase 'order_lost':\n")
    assert drift.problems(shop)[1:] == [
        f"{drift.place(shop.path.with_name('shop_websocket.js'))}:2: 'order_lost' is no longer in shop"
    ]


def test_a_file_with_conflict_markers_is_named(shop):
    shop.path.write_text("// number 1\n<<<<<<< a\n=======\n>>>>>>> b\n")
    assert drift.problems(shop) == [
        f"{drift.place(shop.path)}:1: it has conflict markers; run `manage.py contract shop`"
    ]
