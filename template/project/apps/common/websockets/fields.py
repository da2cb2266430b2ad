"""Types of a message's fields. What one takes is what its JSON Schema says, and what Python is given goes out as such.

    class PlaceOrder(Message):
        item: Annotated[str, Text(200)]
        price: Annotated[Decimal, Digits(10, 2)]
        due: DateTime | None = None

A plain `date`, `datetime`, `time`, `UUID` or `Decimal` in a Message is held to the same, an `int` to ±(2⁵³-1); an
object within another is `class Line(Message, abstract=True)`: any other BaseModel validates in its own way.
Patterns are JavaScript's too, with the flags u and v.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from functools import cached_property
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

LOWEST, HIGHEST = {"ge": 1 - 2**53}, {"le": 2**53 - 1}  # beyond them, JavaScript's numbers are not exact
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


@dataclass(frozen=True, eq=False)
class Kind:
    """A string on the wire, and a str or a value of another type in Python; takes both. Metadata for Annotated.

    parse: the value of a string that has the pattern; normalize: a value as it goes out. Both raise ValueError or
    ArithmeticError for what is refused. text: the string of a value. more: of the JSON Schema. limits: for errors.
    """

    name: str  # the type of the error, too
    type: type
    pattern: str
    parse: Callable[[str], Any] = str
    normalize: Callable[[Any], Any] = lambda value: value
    text: Callable[[Any], str] = str
    more: Mapping[str, str | int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)

    @cached_property
    def has_pattern(self) -> Callable[[str], object]:
        # Python's own $ takes a line break at the end.
        return re.compile(re.sub(r"\$$", r"\\Z", self.pattern)).search

    def __call__(self, value: Any) -> Any:
        reason = f"not a {self.type.__name__}, nor a string of the pattern {self.pattern}"
        try:
            if isinstance(value, str) and self.has_pattern(value):
                return self.normalize(self.parse(value))
            is_datetime = isinstance(value, datetime)  # which is a date, too
            if isinstance(value, self.type) and self.type is not str and is_datetime == (self.type is datetime):
                return self.normalize(value)
        except (ValueError, ArithmeticError) as error:
            reason = str(error)
        raise PydanticCustomError(self.name, "{reason}", {**self.limits, "reason": reason})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if self.type is str:  # its length comes first
            text = str_schema(max_length=self.limits["max_length"], strict=True)
            return no_info_after_validator_function(self, text)
        sent = plain_serializer_function_ser_schema(self.text, return_schema=str_schema(), when_used="json")
        return no_info_before_validator_function(self, handler(source), serialization=sent)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": self.pattern, **self.more}


def _text(name: str, max_length: int, pattern: str, normalize: Callable[[str], str] = str) -> Kind:
    more = {"maxLength": max_length}
    return Kind(name, str, pattern, normalize=normalize, more=more, limits={"max_length": max_length})


def Text(max_length: int = 200) -> Kind:
    """A str that is not blank. Lengths are in characters."""
    return _text("text", max_length, f"[^{SPACES}]")


def Slug(max_length: int = 50) -> Kind:
    """ASCII letters, digits, underscores and hyphens."""
    return _text("slug", max_length, r"^[A-Za-z0-9_\-]+$")


def Email(max_length: int = 254) -> Kind:
    """An address that Django's validate_email takes, but for "quoted names"@… and …@[an IP address]."""
    return _text("email", max_length, EMAIL, _email)


def Url(max_length: int = 500) -> Kind:
    """An absolute URL of http or https, without a user or password, kept as typed."""
    return _text("url", max_length, URL)


def Digits(digits: int, places: int) -> Kind:
    """A Decimal of at most `digits` digits, `places` of them after the point; exactly these go out."""
    if not 0 <= places <= digits or not digits:
        raise ValueError(f"Digits({digits}, {places}): at least one digit, and at most all of them are places")
    whole, context, unit = digits - places, Context(prec=digits), Decimal(1).scaleb(-places)

    def normalize(value: Decimal) -> Decimal:
        try:
            exact = context.plus(_finite(value).quantize(unit, context=context))  # plus: -0 is 0
        except InvalidOperation:
            raise ValueError(f"more than {whole} digits before the point") from None
        if exact != value:
            raise ValueError(f"more than {places} digits after the point; round it")
        return exact

    fraction = rf"(?:\.[0-9]{{1,{places}}})?" if places else ""
    pattern = f"^-?{f'[0-9]{{1,{whole}}}' if whole else '0'}{fraction}$"
    limits = {"digits": digits, "whole": whole, "places": places}
    return Kind("digits", Decimal, pattern, Decimal, normalize, "{:f}".format, limits=limits)


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


def _email(value: str) -> str:
    try:
        validate_email(value)
    except ValidationError as error:
        raise ValueError("not an address") from error
    return value


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a datetime without a zone; django.utils.timezone.now() has one")
    return value.astimezone(UTC)


def _naive(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("a time with a zone")
    return value


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("neither NaN nor infinite")
    return value


def _utc(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


_DATE = Kind("date", date, f"^{DAY}$", date.fromisoformat, text=date.isoformat, more={"format": "date"})
_WHEN = rf"^{DAY}T{CLOCK}:[0-5][0-9]{FRACTION}(?:Z|[+\-]{CLOCK})$"
_DATETIME = Kind("datetime", datetime, _WHEN, datetime.fromisoformat, _aware, _utc, {"format": "date-time"})
_TIME = Kind("time", time, f"^{CLOCK}(?::[0-5][0-9]{FRACTION})?$", time.fromisoformat, _naive, time.isoformat)
_UUID = Kind("uuid", UUID, "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", UUID)
_DECIMAL = Kind("decimal", Decimal, r"^-?[0-9]+(?:\.[0-9]+)?$", Decimal, _finite, "{:f}".format)

# Under names of their own, for a field may be called as the type is: `date: Date | None = None`.
Date: TypeAlias = Annotated[date, _DATE]
DateTime: TypeAlias = Annotated[datetime, _DATETIME]
Time: TypeAlias = Annotated[time, _TIME]
Uuid: TypeAlias = Annotated[UUID, _UUID]
Json: TypeAlias = Annotated[Any, _Json()]
PLAIN = {"date": Date, "datetime": DateTime, "time": Time, "uuid": Uuid, "decimal": Annotated[Decimal, _DECIMAL]}


def hold_plain_types(schema: Any, handler: GetCoreSchemaHandler) -> Any:
    """A message's core schema, in which annotations such as `date` and `int` take what their JSON Schema says."""
    if isinstance(schema, (list, tuple)):
        return type(schema)(hold_plain_types(part, handler) for part in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind == "int":
        return {**({} if "gt" in schema else LOWEST), **({} if "lt" in schema else HIGHEST), **schema}
    if isinstance(kind, str) and kind in PLAIN:
        return {**handler.generate_schema(PLAIN[kind]), "schema": schema}
    if kind == "function-before" and isinstance(schema["function"]["function"], Kind):
        return schema
    others = {"metadata", "serialization", "default", "expected", "config"}
    return {key: part if key in others else hold_plain_types(part, handler) for key, part in schema.items()}
