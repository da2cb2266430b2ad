"""JSON Schema of each message as it is sent, and AsyncAPI with the features' paths.

The types are called feature + message + field, OrdersPlaceOrderAddress, so that a feature changes no other's.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.utils.regex_helper import normalize

from apps.common.checks.application import middleware_chain
from apps.common.contract.contract_file import class_name
from apps.common.contract.features import Feature
from apps.common.websockets.protocol import CloseCode

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = {"anyOf": [{"type": "string", "maxLength": 64}, {"type": "integer"}]}
TEXT = {"type": "string"}
PROBLEM = {
    "type": "object",
    "properties": {
        **{"code": TEXT, "message": TEXT, "retry_after": {"type": "number"}},
        "fields": {"type": "object", "additionalProperties": TEXT},
    },
    "required": ["code", "message"],
}


def json_schema(features: list[Feature]) -> Schema:
    """A document whose $defs has each message: OrdersPlaceOrder."""
    return {"$schema": DIALECT, "$defs": dict(schema for each in features for schema in _schemas(each))}


def asyncapi(features: list[Feature]) -> Schema:
    """An AsyncAPI 3 document, from the server's view: it receives actions, and sends events."""
    schemas = {"Error": _envelope("error", PROBLEM), **json_schema(features)["$defs"]}
    channels: Schema = {}
    operations: Schema = {}
    for feature in features:
        for number, (address, actions) in enumerate(_routes(feature), 1):
            name = class_name(feature.name) + ("" if number == 1 else str(number))
            channels[name] = _channel(feature, address)
            operations |= dict(_operations(feature, name, actions))
    session = {"type": "httpApiKey", "name": settings.SESSION_COOKIE_NAME, "in": "cookie"}
    messages = {name: {"name": name, "payload": {"$ref": f"#/components/schemas/{name}"}} for name in schemas}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "WebSockets", "version": "1"},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas, "messages": messages, "securitySchemes": {"session": session}},
    }


def _schemas(feature: Feature) -> Iterator[tuple[str, Schema]]:
    for type_, role in feature.roles.items():
        mode: Any = "validation" if role["is"] == "action" else "serialization"
        schema = feature.classes[type_].model_json_schema(mode=mode, by_alias=mode == "validation")
        name = class_name(feature.name) + class_name(type_)
        yield name, _envelope(type_, _inline(schema, schema.pop("$defs", {}), name))
        if role["is"] == "action" and not role.get("answer"):
            yield f"{name}Result", _envelope(f"{type_}_result", {"type": "object", "maxProperties": 0})


def _envelope(type_: str, data: Schema) -> Schema:
    members = {"type": {"const": type_}, "ref": REF, "seq": {"type": "integer"}, "data": data}
    required = ["type", "data"] if "required" in data else ["type"]
    return {"type": "object", "properties": members, "required": required}


def _inline(node: Any, definitions: Schema, name: str, outer: tuple[str, ...] = ()) -> Any:
    """The schema without references, which AsyncAPI's parser refuses; its objects have titles. name: of the type."""
    if isinstance(node, list):
        return [_inline(each, definitions, name, outer) for each in node]
    if not isinstance(node, dict):
        return node
    if key := str(node.get("$ref", "")).rpartition("/")[2]:
        # A tree is any JSON value from its second level on.
        return {} if key in outer else _inline(definitions[key], definitions, name, (*outer, key))
    kept = {key: value for key, value in node.items() if key not in ("title", "discriminator", "properties")}
    found = {key: _inline(value, definitions, name, outer) for key, value in kept.items()}
    if "properties" in node:
        members = node["properties"].items()
        found["title"] = name
        found["properties"] = {
            field: _inline(schema, definitions, name + class_name(field), outer) for field, schema in members
        }
    return found


def _routes(feature: Feature) -> Iterator[tuple[str, set[str]]]:
    """The address of each path of its routing.py, /ws/orders/{orders_id}/, and the actions that its consumer takes."""
    module = f"{feature.config.name}.routing"
    for route in import_module(module).websocket_urlpatterns if find_spec(module) else []:
        address, names = normalize(route.pattern.regex.pattern)[0]
        consumers = [getattr(each, "consumer_class", None) for each in middleware_chain(route.callback)]
        handled = {type_ for each in consumers if each for type_ in each.handlers}
        yield "/" + address % {name: f"{{{name}}}" for name in names}, handled


def _channel(feature: Feature, address: str) -> Schema:
    names = ["Error", *(name for name, _ in _schemas(feature))]
    return {
        "address": address,
        "parameters": {name: {} for name in re.findall(r"{(\w+)}", address)},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "x-close-codes": {str(int(code)): code.name for code in CloseCode},
    }


def _operations(feature: Feature, channel: str, actions: set[str]) -> Iterator[tuple[str, Schema]]:
    for type_, role in feature.roles.items():
        name = class_name(type_)
        if role["is"] == "event":
            yield f"{channel}{name}", _operation(feature, channel, "send", [name])
        elif type_ in actions:
            answers = [class_name(each) for each in role.get("answer", f"{type_}_result").split(" | ")]
            operation = _operation(feature, channel, "receive", [name])
            reply = _operation(feature, channel, "", answers)
            messages = [*reply["messages"], {"$ref": f"#/channels/{channel}/messages/Error"}]
            yield f"{channel}{name}", {**operation, "reply": {"channel": reply["channel"], "messages": messages}}


def _operation(feature: Feature, channel: str, action: str, names: list[str]) -> Schema:
    prefix = f"#/channels/{channel}/messages/{class_name(feature.name)}"
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"{prefix}{name}"} for name in names],
        "security": [{"$ref": "#/components/securitySchemes/session"}],
    }
