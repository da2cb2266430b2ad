"""The normal form of a message's fields: names, kinds, bounds, required.

It is read from the annotations, so that no version of Pydantic changes it. A field is a dictionary:
{"kind": "int", "min": 1, "max": 99, "null": True, "optional": True}. `min` and `max` bound a number, or the length of a
text or list; `above` and `below` are their exclusive forms; `of` has an enum's values, a list's or map's items, an
object's fields or a union's members. Both flags are left out where they are false.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic.errors import PydanticUserError

from apps.common.websockets.fields import Kind

Form: TypeAlias = dict[str, Any]

KINDS: dict[Any, str] = {
    **{str: "str", int: "int", float: "float", bool: "bool", Decimal: "decimal"},
    **{date: "date", datetime: "datetime", time: "time", timedelta: "duration", UUID: "uuid"},
    **dict.fromkeys((Any, JsonValue, object), "json"),
}
# Attributes of annotations' metadata: annotated_types, Pydantic's own, and the limits of a Kind.
BOUNDS = {
    **{"ge": "min", "min_length": "min", "gt": "above", "le": "max", "max_length": "max", "lt": "below"},
    **{"multiple_of": "step", "max_digits": "digits", "digits": "digits", "decimal_places": "places"},
    **{"places": "places", "pattern": "pattern"},
}
ORDER = ("kind", "of", "min", "above", "max", "below", "step", "digits", "places", "pattern", "null", "optional")
ANNOTATIONS = frozenset({"title", "description", "default", "examples"})  # of a JSON Schema: they validate nothing


def fields_of(model: type[BaseModel], *, received: bool, outer: tuple[type, ...] = ()) -> dict[str, Form]:
    """The fields of a message's data, in order. received: what clients receive, and not what they send."""
    context = {"received": received, "outer": (*outer, model)}
    fields = {}
    for name, info in model.model_fields.items():
        form = _form(info.annotation, info.metadata, **context)
        wire_name = name if received or not info.alias else info.alias
        fields[wire_name] = form if info.is_required() else {**form, "optional": True}
    if received:
        computed = model.model_computed_fields.items()
        fields |= {name: _form(info.return_type, [], **context) for name, info in computed}
    return fields


def _form(annotation: Any, metadata: Sequence[Any], **context: Any) -> Form:
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        return _form(annotation, [*inner, *metadata], **context)
    if annotation not in KINDS and hasattr(annotation, "__value__"):  # type Name = …
        return _form(annotation.__value__, metadata, **context)
    if get_origin(annotation) in (Union, UnionType):
        return _union(get_args(annotation), metadata, **context)
    form = {**_kind(annotation, **context), **_bounds(metadata)}
    if form["kind"] == "str":  # Text, Slug, Email or Url
        form["kind"] = next((each.name for each in metadata if isinstance(each, Kind)), "str")
    if form["kind"] == "int":  # exclusive bounds are needed for other numbers alone
        form |= {"min": form.pop("above") + 1} if "above" in form else {}
        form |= {"max": form.pop("below") - 1} if "below" in form else {}
    return {key: form[key] for key in ORDER if key in form}


def _union(members: Sequence[Any], metadata: Sequence[Any], **context: Any) -> Form:
    forms = [_form(member, metadata, **context) for member in members if member is not type(None)]
    null = {"null": True} if len(forms) < len(members) else {}
    if len(forms) == 1:
        return {**forms[0], **null}
    return {"kind": "union", "of": sorted(forms, key=json.dumps), **null}


def _kind(annotation: Any, **context: Any) -> Form:
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if annotation in KINDS:
        return {"kind": KINDS[annotation]}
    if origin is Literal:
        return {"kind": "enum", "of": [_value(value) for value in args]}
    if origin in (list, set, frozenset, Sequence) or (origin is tuple and args[1:] == (...,)):
        return {"kind": "list", "of": _form(args[0] if args else Any, [], **context)}
    if origin in (dict, Mapping):
        return {"kind": "map", "of": _form(args[1] if args else Any, [], **context)}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {"kind": "enum", "of": [_value(value) for value in annotation]}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in context["outer"]:  # a tree: its depth has no end
            return {"kind": "json"}
        return {"kind": "object", "of": fields_of(annotation, **context)}
    return _other(annotation)


def _other(annotation: Any) -> Form:
    """An annotation that is unknown here, as its JSON Schema; any JSON value if it has none."""
    try:
        return {"kind": "schema", "of": _plain(TypeAdapter(annotation).json_schema())}
    except PydanticUserError:
        return {"kind": "json"}


def _plain(schema: Any, is_named: bool = False) -> Any:
    """Without what validates nothing. is_named: its keys are names of properties."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if is_named or key not in ANNOTATIONS}
    return {key: _plain(value, key in ("properties", "$defs")) for key, value in kept.items()}


def _bounds(metadata: Sequence[Any]) -> Form:
    found: Form = {}
    for each in metadata:
        found |= _bounds(getattr(each, "metadata", []))  # Field(…)
        limits: Mapping[str, Any] = each.limits if isinstance(each, Kind) else {}
        for name, key in BOUNDS.items():
            value = limits.get(name) if isinstance(each, Kind) else getattr(each, name, None)
            if value is not None and (name, value) != ("min_length", 0):
                found[key] = _value(value)
    return found


def _value(value: Any) -> Any:
    """A bound or an enum's value, as JSON has it: 9.0 is 9."""
    value = getattr(value, "pattern", value.value if isinstance(value, Enum) else value)
    if isinstance(value, Decimal | float):
        return int(value) if float(value).is_integer() else float(value)
    return value if isinstance(value, str | int | None) else str(value)
