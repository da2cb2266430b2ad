"""Finds a consumer's handlers: the methods that a client can reach.

`async def handle_place_order(self, data: PlaceOrder)` handles the type "place_order". Only a method whose argument is
annotated with a Message is reachable; every other `handle_…` is a helper.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from apps.common.websockets.messages import Message

PREFIX = "handle_"


@dataclass(frozen=True, slots=True)
class Handler:
    """A method of a consumer, and the message that it takes."""

    function: Callable[[Any, Message], Awaitable[Message | None]]
    message: type[Message]
    validate: Callable[[Any], Message]


def find_handlers(consumer: type) -> dict[str, Handler]:
    """The handlers of a consumer class by message type. Raises TypeError for one that could never be called."""
    names = [name for name in dir(consumer) if name.startswith(PREFIX) and name != "handle_message"]
    methods = {name: method for name in names if callable(method := getattr(consumer, name))}
    found = [_find_handler(name, method) for name, method in methods.items()]
    return {handler.message.message_type: handler for handler in found if handler}


def find_events(consumer: type, base: type) -> frozenset[str]:
    """The methods that an event of the channel layer can reach: `broadcast_message`, and each public
    `async def name(self, event)` that is neither the base class's nor a message's handler."""
    names = {name for name in dir(consumer) if not name.startswith(("_", PREFIX)) and name not in dir(base)}
    return frozenset({"broadcast_message"}.union(name for name in names if _takes_event(getattr(consumer, name))))


def _takes_event(method: object) -> bool:
    return inspect.iscoroutinefunction(method) and len(inspect.signature(method).parameters) == 2  # self, event


def _find_handler(name: str, function: Callable[..., Any]) -> Handler | None:
    message = _annotation(function)
    if message is None:
        return None
    where = f"{function.__qualname__}({message.__name__})"
    if not message.message_type:
        raise TypeError(f"{where}: {message.__name__} is abstract and has no type; annotate it with a subclass")
    if message.message_type.startswith("_"):
        raise TypeError(f"{where}: a message that clients send has a public name; rename it, or make it abstract")
    if name != PREFIX + message.message_type:
        raise TypeError(f"{where} must be called {PREFIX}{message.message_type}, after its message's type")
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{where} must be an `async def`")
    return Handler(function, message, message.from_wire)


def _annotation(function: Callable[..., Any]) -> type[Message] | None:
    parameters = list(inspect.signature(function).parameters)[1:]  # without self
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise TypeError(f"{function.__qualname__}: {error}; import its annotation at run time too") from error
    annotations = [hints[name] for name in parameters if name in hints]
    if len(parameters) == 1 and annotations and _is_message(annotations[0]):
        message: type[Message] = annotations[0]
        return message
    if any(_is_message(part) for annotation in annotations for part in (annotation, *get_args(annotation))):
        raise TypeError(f"{function.__qualname__} must take self and one message; call it otherwise if it is a helper")
    return None


def _is_message(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Message)
