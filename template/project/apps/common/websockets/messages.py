"""The building blocks of a feature's contract: the messages that clients and the server exchange."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import to_json
from pydantic_core.core_schema import CoreSchema

from apps.common.websockets.fields import hold_plain_types

# No feature may use these: messages of the protocol, and names that later versions need.
PROTOCOL_TYPES = frozenset(
    {"welcome", "ping", "pong", "state", "changes", "resync", "error", "draining", "fragment", "message"}
)
RESERVED_TYPES = PROTOCOL_TYPES | {"presence", "outdated", "contract", "snapshot"}


class Message(BaseModel):
    """One kind of message. Its type on the wire is the class's name in snake_case: PlaceOrder is "place_order".

    Declare the fields of the message's "data" as Pydantic does. Unknown fields are refused, and so are numbers that
    JSON cannot carry. A base class of your own that is no message itself: `class Priced(Message, abstract=True)`.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    message_type: ClassVar[str] = ""

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.message_type = "" if abstract else snake_case(cls.__name__)
        if cls.message_type in RESERVED_TYPES:
            raise TypeError(f"{cls.__name__} has the type {cls.message_type!r}, which is reserved; rename it")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = hold_plain_types(handler(source), handler)
        return schema

    @classmethod
    def from_wire(cls, data: Any) -> Self:
        """The message with this data of parsed JSON, which is held to the JSON Schema. Raises ValidationError.

        Python may construct a message with less strictness.
        """
        return cls.__pydantic_validator__.validate_json(to_json(data), strict=True)  # type: ignore[no-any-return]

    def to_wire(self) -> dict[str, Any]:
        """The message as sent: {"type": …, "data": {…}}."""
        return {"type": self.message_type, "data": self.model_dump(mode="json")}

    def encode(self, ref: str | int | None = None) -> str:
        """The message as JSON text, with the ref of the request that it answers.

        Raises ValueError for a text with U+0000 or half of a surrogate pair.
        """
        # As model_dump_json(), without its many options.
        data = check_nul(self.__pydantic_serializer__.to_json(self).decode())
        if "\ufffd" in data:  # which Pydantic writes for half of a pair in a key
            to_json(self.model_dump())
        if ref is None:
            return f'{{"type":"{self.message_type}","data":{data}}}'
        reference = ref if type(ref) is int else to_json(ref).decode()
        return f'{{"type":"{self.message_type}","ref":{reference},"data":{data}}}'


class MessageError(Exception):
    """Raise it in a handler to refuse a message: the client receives an error, and the connection stays open.

    code: for programs, in snake_case, such as "sold_out"; message: for people; retry_after: seconds after which the
    client may try again; fields: texts for people, which a form shows at its fields: {"item": "There is no tea left."}.
    A field is named by its path within the message's data, such as "tags.0".
    """

    def __init__(
        self, code: str, message: str, retry_after: float | None = None, *, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.fields = dict(fields or {})


def has_nul(json_text: str) -> bool:
    """Whether a text within JSON contains U+0000, which JSON has to escape."""
    return "\\u0000" in json_text and re.search(r"(?<!\\)(?:\\\\)*\\u0000", json_text) is not None


def check_nul(json_text: str) -> str:
    """JSON as it is. Raises ValueError for a text with U+0000, which clients and databases do not take."""
    if has_nul(json_text):
        raise ValueError("a message's text contains the character U+0000; remove it: text.replace('\\0', '')")
    return json_text


def snake_case(class_name: str) -> str:
    """A class's name as a message's type: PlaceOrder is place_order."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()
