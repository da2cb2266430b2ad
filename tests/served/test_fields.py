"""The server accepts exactly what the contract says, judged by another validator of JSON Schema: Ajv, in Node."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.conftest import Shared, Tools
from tests.served.test_generated import copy

# In a generated project: prints the JSON Schema of each type, and whether the server takes each of many JSON texts.
SERVER = r"""
import json, os, sys
from decimal import Decimal
from typing import Annotated, Literal

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
django.setup()

from datetime import date, datetime, time
from enum import StrEnum
from uuid import UUID

from pydantic import Field, ValidationError, create_model
from pydantic_core import from_json
from apps.common.websockets.fields import Date, DateTime, Digits, Email, Json, Slug, Text, Time, Url, Uuid
from apps.common.websockets.messages import Message


class State(StrEnum):
    NEW = "new"
    PAID = "paid"


TYPES = {
    "text": Annotated[str, Text(20)], "slug": Annotated[str, Slug(20)], "email": Annotated[str, Email(40)],
    "url": Annotated[str, Url(40)], "integer": int, "range": Annotated[int, Field(ge=1, le=99)],
    "above": Annotated[int, Field(gt=0)], "number": float, "weight": Annotated[float, Field(ge=0.5, le=9)],
    "decimal": Annotated[Decimal, Digits(10, 2)], "share": Annotated[Decimal, Digits(3, 3)],
    "whole": Annotated[Decimal, Digits(3, 0)], "boolean": bool, "date": Date, "datetime": DateTime, "time": Time,
    "uuid": Uuid, "json": Json, "enum": Literal["new", "paid"], "state": State, "optional": Date | None,
    "texts": Annotated[list[Annotated[str, Text(5)]], Field(max_length=3)],
    "integers": Annotated[list[int], Field(max_length=3)], "decimals": list[Annotated[Decimal, Digits(4, 2)]],
    "plain_str": str, "plain_date": date, "plain_datetime": datetime, "plain_time": time, "plain_uuid": UUID,
    "plain_decimal": Decimal, "short": Annotated[str, Field(min_length=2, max_length=4)],
}

def is_accepted(message, text):
    try:
        data = from_json(f'{{"value": {text}}}', allow_inf_nan=False)
        message.from_wire(data)
    except ValidationError:
        return False
    return True


texts = json.load(open(sys.argv[1]))
found = {}
for name, annotation in TYPES.items():
    message = create_model("Sent", __base__=Message, value=(annotation, ...))
    received = [message.model_json_schema(), message.model_json_schema(mode="serialization")]
    found[name] = {"schemas": received, "accepted": [is_accepted(message, text) for text in texts]}
json.dump(found, open(sys.argv[2], "w"))
"""
AJV = r"""
import { readFileSync, writeFileSync } from 'node:fs';
import addFormats from 'ajv-formats';
import Ajv from 'ajv/dist/2020.js';

const [textsPath, typesPath, answer] = process.argv.slice(2);
const [texts, types] = [textsPath, typesPath].map((path) => JSON.parse(readFileSync(path, 'utf8')));
const found = {};
const patterns = (schema) =>
    Object.entries(schema ?? {}).flatMap(([key, value]) =>
        key === 'pattern' && typeof value === 'string' ? [value] : typeof value === 'object' ? patterns(value) : [],
    );
for (const [name, { schemas }] of Object.entries(types)) {
    const ajv = addFormats(new Ajv({ strict: true, strictTypes: false }));
    const [validate] = schemas.map((schema) => ajv.compile(schema));
    const all = patterns(schemas);
    for (const pattern of all) for (const flags of ['u', 'v']) new RegExp(pattern, flags);
    const accepted = texts.map((text) => validate(JSON.parse(`{"value": ${text}}`)));
    found[name] = { patterns: all.length, accepted };
}
writeFileSync(answer, JSON.stringify(found));
"""
PLAIN = """
on true null new paid NEW tea a-b_c -1 +1 12 1.5 1e2 1_000 1. .5 0.5 -0 00.50 1.23 1.234 99999999.99 100000000 1000
0.999 1.000 NaN Infinity 1704067200 2024-02-29 2023-02-29 2024-13-01 2024-1-1 20240101 2024-W01-1 0001-01-01
9999-12-31 2024-01-01T00:00:00 2024-01-01T00:00:00Z 2024-01-01T00:00:00z 2024-01-01T00:00Z 2024-01-01T23:59:60Z
2024-01-01T24:00:00Z 2023-02-29T00:00:00Z 2024-06-30T12:30:15.1234567Z 2024-06-30T12:30:15.123456+05:30
2024-06-30T12:30:15+24:00 2024-06-30T12:30:15+0530 2024-06-30T12:30:15-23:59 09:00 09:00:00 09:00:00.5 24:00 9:00
09:00Z 09:00:00+01:00 23:59:60 00000000-0000-0000-0000-000000000000 0123abcd-4567-89ef-0123-456789abcdef
0123ABCD-4567-89EF-0123-456789ABCDEF 0123abcd456789ef0123456789abcdef {0123abcd-4567-89ef-0123-456789abcdef}
urn:uuid:0123abcd-4567-89ef-0123-456789abcdef a@b.co a@b a@localhost a@xn--p1ai.xn--p1ai a@b.xn--p1ai a@[127.0.0.1]
a@-b.co a@b-.co a@b..co .a@b.co a.@b.co a@b.c1 a@b.c a@b_c.co @b.co a@a@b.co http://a HTTPS://A.b:80/x?y#z ftp://a
//a http:/a javascript:alert(1) https:// https://u:p@a/ https://[::1]:8000/ https://a?x https://a/< http://a:123456
data:text/html,x 0000-01-01 0000-06-01T00:00:00Z 0001-01-01T00:00:00+01:00 9999-12-31T23:59:59-01:00
"""
# fmt: off
STRINGS = [
    *PLAIN.split(), "", " ", "\t", "\u3000", "\x85", "\ufeff", "\x1f", "\u200b", "a", "é", "a b", "x" * 19, "x" * 20,
    "x" * 21, "🍵" * 20, "🍵" * 21, "a\n", "1", "١٢", "999", "2024-01-01\n", "2024-01-01 00:00:00Z",
    "o'hara+x@müller.example", '"a b"@b.co', "a@b.co\n", "x" * 33 + "@b.co.uk", "x" * 34 + "@b.co.uk",
    "https://例え.jp/ä", "https://a b", "https://a/ b", "https://" + "a" * 32, "https://" + "a" * 33, " https://a",
    "https://a\n", "https://a\\b",
]
NUMBERS = [
    "0", "-0", "1", "-1", "2", "99", "100", "1.0", "99.0", "1e1", "1.5", "0.5", "0.49", "9", "9.0001", "0.1e1",
    "9007199254740991", "9007199254740992", "-9007199254740991", "-9007199254740992", "1e30",
    "123456789012345678901234567890", "1e400", "-1e400", "5e-324", "1e-400",
]
LISTS = [
    '["a"]', '["a", 1]', "[1]", "[true]", "[1, 2, 3]", "[1, 2, 3, 4]", '["a", "b", "c"]', '["a", "b", "c", "d"]',
    '["xxxxx"]', '["xxxxxx"]', '[" "]', "[null]", "[[]]", "[1.5]", "[1.0]", '["1.23"]', '["1.234"]',
    "[9007199254740992]", '{"a": 1}', "{}", "[]",
]
# fmt: on
TEXTS = ["null", "true", "false", *NUMBERS, *LISTS, *map(json.dumps, STRINGS)]


def mutations() -> Iterator[str]:
    """Of each string others that differ in a character or two."""
    random = Random(7)  # noqa: S311
    letters = "0123456789-+.:TZ@/aAeE_ é\u0130\u017f\u212a\u3000\n\x85\u0661[]{}|"
    for string in STRINGS * 40:
        for _ in range(random.randint(1, 2)):
            at, letter = random.randint(0, len(string)), random.choice(letters)
            string = string[:at] + random.choice([letter, ""]) + string[at + random.randint(0, 1) :]
        yield json.dumps(string)


# JSON Schema has no words for these, which docs/websockets.md states: 1.0 is JavaScript's integer 1, and its 1e400 is
# Infinity; a year is one of 1 to 9999, in UTC, too. Pydantic 2.11 takes no integer beyond 64 bits for a float.
WHOLE_FLOATS = {"1.0", "99.0", "1e1", "0.1e1", "1e-400", "[1.0]"}
BEYOND = {"1e400", "-1e400", "123456789012345678901234567890"}
INTEGERS = {"integer", "range", "above", "integers"}
YEARS = {"date", "optional", "datetime", "plain_date", "plain_datetime"}


def is_stated(name: str, text: str) -> bool:
    is_year = name in YEARS and (text.startswith('"0000') or text[1:11] in ("0001-01-01", "9999-12-31"))
    return (name in INTEGERS and text in WHOLE_FLOATS) or (name in ("json", "number") and text in BEYOND) or is_year


@pytest.fixture(scope="module")
def verdicts(cafe: Path, tools: Tools, shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of the server and of Ajv, for each type and text."""

    def install(folder: Path) -> None:
        folder.mkdir()
        tools.node(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", "ajv@^8.17", "ajv-formats@^3")

    ajv = shared.once("ajv", install)
    folder = tmp_path_factory.mktemp("fields")
    project = copy(cafe, folder)
    (project / "tell.py").write_text(SERVER)
    texts, server, judged = (folder / name for name in ("texts.json", "server.json", "ajv.json"))
    texts.write_text(json.dumps(list(dict.fromkeys([*TEXTS, *mutations()]))))
    tools.run(project, "python", "tell.py", str(texts), str(server))
    (ajv / "judge.mjs").write_text(AJV)
    tools.node(ajv, "node", "judge.mjs", texts, server, judged)
    return [json.loads(path.read_text()) for path in (texts, server, judged)]


def test_the_server_accepts_exactly_what_the_contract_says(verdicts: Any) -> None:
    texts, server, ajv = verdicts
    assert len(texts) > 1_000
    differences = {
        (name, text): f"server {own}, Ajv {other}"
        for name, answer in server.items()
        for text, own, other in zip(texts, answer["accepted"], ajv[name]["accepted"], strict=True)
        if own != other
    }
    assert {key: text for key, text in differences.items() if not is_stated(*key)} == {}
    assert set(differences.values()) == {"server False, Ajv True"}  # never more than the contract
    assert {("integer", "1.0"), ("json", "1e400")} <= differences.keys()


def test_each_type_accepts_and_refuses_some(verdicts: Any) -> None:
    _, server, _ = verdicts
    for name, answer in server.items():
        assert set(answer["accepted"]) == {True, False}, name
        assert sum(answer["accepted"]) >= 2, name


def test_each_pattern_compiles_in_javascript(verdicts: Any) -> None:
    _, _, ajv = verdicts
    kinds = {
        "text",
        "slug",
        "email",
        "url",
        "decimal",
        "date",
        "datetime",
        "time",
        "uuid",
        "plain_decimal",
        "plain_time",
    }
    assert {name for name in kinds if ajv[name]["patterns"] < 2} == set()
