"""The grammar of fields: each error is named with place and fix, all of a line at once; nothing is written."""

import re
import shutil
from pathlib import Path

import pytest

from tests.scaffold.test_names import validators
from tests.template import Template, snapshot

pytestmark = pytest.mark.turn(3)

# An action's fields, and words of the refusal.
FIELDS = [
    ("item", "field 'item': has no type; try 'item:str'"),
    ("item:", "has no type; write one behind the colon"),
    (":str", "has no name; write one before the colon"),
    ("item:optional", "has no type before 'optional'; try 'item:str:optional'"),
    ("item:string", "has the unknown type 'string'; did you mean str?"),
    ("item:Str", "did you mean str?"),
    ("item:sting", "did you mean str?"),
    ("quantity:integr", "did you mean int?"),
    ("quantity:integer", "did you mean int?"),
    ("price:decmial:10:2", "did you mean decimal?"),
    ("at:dateime", "did you mean datetime?"),
    ("at:timestamp", "did you mean datetime?"),
    ("sure:boolean", "did you mean bool?"),
    ("tags:array", "did you mean list?"),
    ("status:choice", "did you mean enum?"),
    ("more:object", "did you mean json?"),
    ("item:nonsense", "has the unknown type 'nonsense'; known are: str, text,"),
    ("photo:image", "has the type 'image': upload it by HTTP"),
    ("paper:file", "has the type 'file': upload it by HTTP"),
    ("order:fk", "foreign keys come with models"),
    ("order:references", "send the key of the row"),
    ("item:str:0", "its length 0 is not within 1 and 10000; write 'str:200'"),
    ("item:str:-1", "its length '-1' is not a whole number without a sign"),
    ("item:str:many", "its length 'many' is not a whole number"),
    ("item:str:010", "its length '010' is not a whole number without a sign or a leading 0"),
    ("item:str:999999", "is not within 1 and 10000"),
    ("item:str:1:20", "has '20' that str does not take; remove it"),
    ("item:str:", "its length is empty"),
    ("item:email:3", "its length 3 is not within 6 and 320"),
    ("quantity:int:1", "has one bound; give both, as in 'int:1:99', or none"),
    ("quantity:int:99:1", "its bounds are in the wrong order; write 'int:1:99'"),
    ("quantity:int:1.5:9", "its least '1.5' is not a whole number"),
    ("quantity:int:one:nine", "its least 'one' is not a whole number"),
    ("quantity:int:1:9:2", "has '2' that int does not take"),
    ("quantity:int:0:9007199254740992", "its greatest 9007199254740992 is not within"),
    ("quantity:int::9", "its least is empty"),
    ("share:float:0:0.", "its greatest '0.' is not a number such as 0.5"),
    ("share:float:1:0.5", "its bounds are in the wrong order; write 'float:0.5:1'"),
    ("share:float:0:1e3", "its greatest '1e3' is not a number"),
    ("price:decimal", "needs its digits and its decimal places, as in 'decimal:10:2'"),
    ("price:decimal:10", "needs its digits and its decimal places"),
    ("price:decimal:2:10", "has more places than digits; write 'decimal:10:2'"),
    ("price:decimal:0:0", "the number of its digits 0 is not within 1 and 30"),
    ("price:decimal:99:2", "the number of its digits 99 is not within 1 and 30"),
    ("price:decimal:10:2:1", "has '1' that decimal does not take"),
    ("sure:bool:yes", "has 'yes' that bool does not take"),
    ("at:datetime:5", "has '5' that datetime does not take"),
    ("status:enum", "has no values; write them as in 'enum:new:paid'"),
    ("status:enum:optional", "has no values"),
    ("status:enum:New", "the value 'New' is not small letters, digits and _; try 'new'"),
    ("status:enum:1st", "the value '1st' is not small letters"),
    ("status:enum:new:new", "has the value 'new' twice; remove one"),
    ("status:enum::paid", "the value '' is not small letters"),
    ("status:enum:optional:new", "has 'optional' before the end; it is the last word"),
    ("tags:list", "does not say of what; write it as in 'list:str'"),
    ("tags:list:list:str", "is a list of list; a list has single values"),
    ("tags:list:enum:a:b", "is a list of enum; a list has single values"),
    ("tags:list:json", "is a list of json"),
    ("tags:list:string", "has the unknown type 'string'; did you mean str?"),
    ("tags:list:str:0", "the number of its items 0 is not within 1 and 1000"),
    ("tags:list:str:20:5", "has '5' behind its number of items; remove it"),
    ("tags:list:decimal", "needs its digits"),
    ("note:optional:text", "has 'optional' before the end; it is the last word, as in 'note:str:200:optional'"),
    ("note:text:optional:optional", "has 'optional' twice"),
    ("item:str item:int", "field 'item:int': is there twice; remove one or rename it"),
    ("Item:str", "field 'Item:str': is not snake_case: small letters a-z, digits and single _, such as 'item'"),
    ("unitPrice:int", "such as 'unit_price'"),
    ("2nd:int", "is not snake_case"),
    ("_item:str", "begins with _, which is private in Python; try 'item'"),
    ("unit__price:int", "has two _ in a row; try 'unit_price'"),
    ("class:str", "is a keyword of Python; try 'class_item'"),
    ("json:str", "would shadow a name that messages.py needs; try 'json_item'"),
    ("model_dump:str", "would shadow a name that messages.py needs"),
    ("str:str", "would shadow a name that messages.py needs"),
    ("then:str", "makes JavaScript take the data for a promise"),
    ("reset:str", "would shadow a member of the browser's form; try 'reset_item'"),
    ("a" * 41 + ":str", "has 41 characters; use at most 40"),
    (" ".join(f"f{number}:int" for number in range(200)), "has 200 fields; use at most 30, or json"),
    ("event=", "has 'event='; only event=NAME has an =, as in 'event=order_placed'"),
    ("events=order_placed", "has 'events=order_placed'; only event=NAME has an ="),
    ("item:str=5", "has 'item:str=5'; only event=NAME has an ="),
    ("event=order_placed item:str", "has 'event=order_placed' before its last word; move it to the end"),
    ("event=one event=two", "has 'event=one' before its last word; move it to the end, once"),
    ("event=Placed", "event 'Placed' is not snake_case"),
    ("event=error", "event 'error' is a message type of the protocol"),
    ("event=place_order", "event 'place_order' is there twice"),
    ("item:str:'20'", "actions has ''': only letters, digits"),
    ('item:"str"', "actions has '\"': only letters, digits"),
    ("item:str\nquantity:int", "actions has a line break or a control character; write all of it on one line"),
    ("item(str)", "actions has '(': only letters, digits"),
    ("größe:str", "is not snake_case"),
]
# Actions, events, and words of the refusal.
LINES = [
    ("place_order item:str,", "", "an action is empty: there is a comma too many"),
    (
        "place event=changed, cancel event=changed",
        "",
        "event 'changed' has the fields of the action place; leave it",
    ),
    ("place item:str event=placed", "placed item:str", "is one of the action's fields, which the event has already"),
    ("place item:str event=placed", "placed id:int event=other", "an action names its event, an event only has fields"),
    ("place item:str event=placed", "placed id:int, placed at:date", "event 'placed' is there twice"),
    ("", "", "there is neither an action nor an event"),
    (", ".join(f"a{letter}{other}" for letter in "abcdefg" for other in "hijklmn"), "", "there are 49 actions"),
]
CASES = [(f"place_order {fields}", "", words) for fields, words in FIELDS] + LINES


def refusal_of(actions: str, events: str) -> str:
    rules = validators()
    return str(rules.validate_actions("orders", actions)) or str(rules.validate_events("orders", actions, events))


def test_each_error_is_refused_with_its_fix() -> None:
    assert len(CASES) >= 60
    refused = [(actions, words, refusal_of(actions, events)) for actions, events, words in CASES]
    assert [case for case in refused if case[1] not in case[2]] == []


@pytest.mark.parametrize(("actions", "events", "words"), CASES[::8])
def test_nothing_is_written(
    template: Template, plain: Path, tmp_path: Path, actions: str, events: str, words: str
) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    before = snapshot(project)
    with pytest.raises(ValueError, match=re.escape(words)):
        template.feature("orders", project, actions=actions, events=events)
    assert snapshot(project) == before


def test_all_errors_of_a_line_are_named_at_once() -> None:
    line = "place_order item:string quantity:int:9:1 event=order_placed, Cancel id, close_shop at:datetime:optional:5"
    assert refusal_of(line, "").splitlines() == [
        "action 'Cancel' is not snake_case: small letters a-z and digits, words joined by _, each beginning with a "
        "letter. Try 'cancel'.",
        "action place_order, field 'item:string': has the unknown type 'string'; did you mean str?",
        "action place_order, field 'quantity:int:9:1': its bounds are in the wrong order; write 'int:1:9'",
        "action Cancel, field 'id': has no type; try 'id:str'",
        "action close_shop, field 'at:datetime:optional:5': has 'optional' before the end; it is the last word, as in "
        "'at:str:200:optional'",
    ]


USUAL = "id:int order:str user:str date:date group:str type:str name:str value:float data:json status:enum:new:optional"


@pytest.mark.parametrize(
    ("actions", "events"),
    [
        (f"place_order {USUAL}", ""),
        ("place_order   item:str:200 quantity:int:-5:5  ,close_shop event=shop_closed", "shop_closed  by:str , opened"),
        ("", "order_placed id:int"),
        ("update text:str, copy, clear status:enum:items:copy:keys event=pop", "setdefault item:str"),
        (
            "place_order a:list:decimal:10:2:20:optional b:enum:x c:url:2000 d:float:-0.5:0.5 e:int:0:9007199254740991",
            "",
        ),
    ],
)
def test_what_is_right_is_taken(actions: str, events: str) -> None:
    assert refusal_of(actions, events) == ""


def test_per_user_needs_users() -> None:
    assert "per=user needs users" in str(validators().validate_per("user", "public"))
    assert str(validators().validate_per("user", "staff")) == ""
    assert str(validators().validate_per("site", "public")) == ""
