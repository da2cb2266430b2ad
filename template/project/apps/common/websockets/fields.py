"""Types of a message's fields. What one takes is what its JSON Schema says, and what Python is given goes out as such.

    class PlaceOrder(Message):
        item: Annotated[str, Text(200)]
        price: Annotated[Decimal, Digits(10, 2)]
        due: DateTime | None = None

A plain `date`, `datetime`, `time`, `UUID` or `Decimal` in a Message is held to the same, an `int` to ±(2⁵³-1).
Patterns are JavaScript's too, with the flags u and v.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, from_json, to_json
from pydantic_core.core_schema import (
    CoreSchema,
    no_info_after_validator_function,
    no_info_before_validator_function,
    plain_serializer_function_ser_schema,
    str_schema,
)

MAX_INT = 2**53 - 1  # beyond it, JavaScript's numbers are not exact
# For character classes: as neither \s nor \w means the same in Python and JavaScript.
SPACES = r"\t-\r\x1C-\x20\x85\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF"
LETTERS = r"A-Za-z0-9\xA1-\u167F\u1681-\u1FFF\u2C00-\u2FFF\u3001-\uD7FF\uF900-\uFDFF"
LABEL = rf"[{LETTERS}](?:[{LETTERS}\-]{{0,61}}[{LETTERS}])?"
TOP_LABEL = LABEL.replace("0-9", "").removesuffix("?")
ATOM = r"[!#$%&'*+\-\/=?^_`\{\|\}~0-9A-Za-z]+"
EMAIL = rf"^{ATOM}(?:\.{ATOM})*@(?:(?:{LABEL}\.)+(?:{TOP_LABEL}|xn--[A-Za-z0-9]{{1,59}})|localhost)$"
URL = rf'^[Hh][Tt][Tt][Pp][Ss]?://(?:[{LETTERS}._\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?(?:[\/?#][^{SPACES}<>"]*)?$'
CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
FRACTION = r"(?:\.[0-9]{1,6})?"


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of a JSON Schema, for search(): Python's own `$` would take a line break at the end."""
    return re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern)


@dataclass(frozen=True)
class _Pattern:
    """A str with a greatest length, in characters, that has a pattern. Subclasses name it."""

    max_length: int

    kind = "text"
    pattern = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        found = compiled(self.pattern).search

        def check(value: str) -> str:
            if not found(value) or not self.is_valid(value):
                raise PydanticCustomError(self.kind, f"not a valid {self.kind}")
            return value

        return no_info_after_validator_function(check, str_schema(max_length=self.max_length, strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.max_length, "pattern": self.pattern}

    def is_valid(self, value: str) -> bool:
        return True


@dataclass(frozen=True)
class Text(_Pattern):
    """A text that is not blank."""

    max_length: int = 200
    pattern = f"[^{SPACES}]"


@dataclass(frozen=True)
class Slug(_Pattern):
    """ASCII letters, digits, underscores and hyphens."""

    max_length: int = 50
    kind = "slug"
    pattern = r"^[A-Za-z0-9_\-]+$"


@dataclass(frozen=True)
class Email(_Pattern):
    """An address that Django's EmailField takes, but for a "quoted name"@… and …@[an IP address]."""

    max_length: int = 254
    kind = "email"
    pattern = EMAIL

    def is_valid(self, value: str) -> bool:
        try:
            validate_email(value)
        except ValidationError:
            return False
        return True


@dataclass(frozen=True)
class Url(_Pattern):
    """An absolute URL of http or https, without a user or password, kept as typed."""

    max_length: int = 500
    kind = "url"
    pattern = URL


@dataclass(frozen=True)
class _Parsed:
    """A string on the wire, and a value of another type in Python. Takes both.

    parse: the value of a string that has the pattern; normalize: a value of Python as it goes out. Both raise
    ValueError or ArithmeticError.
    """

    kind: str
    type: type
    pattern: str
    parse: Callable[[str], Any]
    normalize: Callable[[Any], Any] = lambda value: value
    text: Callable[[Any], str] = str
    format: str | None = None  # of JSON Schema

    def __call__(self, value: Any) -> Any:
        try:
            if isinstance(value, str) and compiled(self.pattern).search(value):
                return self.normalize(self.parse(value))
            if isinstance(value, self.type) and isinstance(value, datetime) == (self.type is datetime):
                return self.normalize(value)
        except (ValueError, ArithmeticError):
            pass
        raise PydanticCustomError(self.kind, f"not a valid {self.kind}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        sent = plain_serializer_function_ser_schema(self.text, return_schema=str_schema(), when_used="json")
        return no_info_before_validator_function(self, handler(source), serialization=sent)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": self.pattern} | ({"format": self.format} if self.format else {})


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a datetime has a zone")
    return value.astimezone(UTC)


def _naive(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("a time has no zone")
    return value.replace(fold=0)


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("a decimal is finite")
    return value


def Digits(digits: int, places: int) -> Any:
    """A Decimal of at most `digits` digits, `places` of them after the point; exactly these go out, as a string."""
    if not 0 <= places <= digits or not digits:
        raise ValueError(f"Digits({digits}, {places}): at least one digit, and at most all of them are places")
    whole = f"[0-9]{{1,{digits - places}}}" if digits > places else "0"
    context, unit = Context(prec=digits), Decimal(1).scaleb(-places)

    def normalize(value: Decimal) -> Decimal:
        exact = context.plus(_finite(value).quantize(unit, context=context))  # plus: -0 is 0
        if exact != value:
            raise ValueError("more places")
        return exact

    pattern = f"^-?{whole}" + (rf"(?:\.[0-9]{{1,{places}}})?$" if places else "$")
    return _Parsed("decimal", Decimal, pattern, Decimal, normalize, "{:f}".format)


@dataclass(frozen=True)
class _Json:
    """Any value of JSON; one of Python, such as a tuple, becomes what JSON makes of it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(self.normalize, handler(source))

    @staticmethod
    def normalize(value: Any) -> Any:
        try:
            return from_json(to_json(value), allow_inf_nan=False)
        except ValueError as error:
            raise PydanticCustomError("json", "not a value of JSON") from error


_DATE = _Parsed("date", date, f"^{DAY}$", date.fromisoformat, format="date")
_DATETIME = _Parsed(
    "datetime",
    datetime,
    rf"^{DAY}T{CLOCK}:[0-5][0-9]{FRACTION}(?:Z|[+\-]{CLOCK})$",
    datetime.fromisoformat,
    _aware,
    lambda value: datetime.isoformat(value).replace("+00:00", "Z"),
    format="date-time",
)
_TIME = _Parsed("time", time, f"^{CLOCK}(?::[0-5][0-9]{FRACTION})?$", time.fromisoformat, _naive, time.isoformat)
_UUID = _Parsed("uuid", UUID, "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", UUID)
_DECIMAL = _Parsed("decimal", Decimal, r"^-?[0-9]+(?:\.[0-9]+)?$", Decimal, _finite, "{:f}".format)

# Under names of their own, for a field may be called as the type is: `date: Date | None = None`.
Date: TypeAlias = Annotated[date, _DATE]
DateTime: TypeAlias = Annotated[datetime, _DATETIME]
Time: TypeAlias = Annotated[time, _TIME]
Uuid: TypeAlias = Annotated[UUID, _UUID]
Json: TypeAlias = Annotated[Any, _Json()]
PLAIN = {"date": Date, "datetime": DateTime, "time": Time, "uuid": Uuid, "decimal": Annotated[Decimal, _DECIMAL]}


def hold_plain_types(schema: Any, handler: GetCoreSchemaHandler, seen: set[str] | None = None) -> Any:
    """A model's core schema, in which annotations such as `date` and `int` take what their JSON Schema says."""
    seen = set() if seen is None else seen
    if isinstance(schema, (list, tuple)):
        return type(schema)(hold_plain_types(part, handler, seen) for part in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind == "int":
        return {**_bounds(schema), **schema}
    if kind == "float":
        return {**schema, "allow_inf_nan": False}
    if isinstance(kind, str) and kind in PLAIN:
        return {**handler.generate_schema(PLAIN[kind]), "schema": schema}
    if kind == "function-before" and isinstance(schema["function"]["function"], _Parsed):
        return schema
    if kind == "definition-ref" and schema["schema_ref"] not in seen:
        seen.add(schema["schema_ref"])
        model: Any = handler.resolve_ref_schema(schema)
        model.update(hold_plain_types({**model, "ref": None}, handler, seen) | {"ref": model["ref"]})
        return schema
    kept = {"metadata", "serialization", "default", "expected", "config"}
    return {key: part if key in kept else hold_plain_types(part, handler, seen) for key, part in schema.items()}


def _bounds(schema: Any) -> dict[str, int]:
    lower = {} if "gt" in schema else {"ge": -MAX_INT}
    return lower if "lt" in schema else {**lower, "le": MAX_INT}
