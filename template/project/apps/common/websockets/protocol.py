"""The wire: messages, positions and close codes. Plain functions without I/O.

A message is a JSON object {"type": …, "data": …}. A request's "ref" is repeated in its answer; a broadcast's "seq" is
its number in its group's stream.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from pydantic_core import from_json, to_json

from apps.common.websockets.messages import MessageError, check_nul, has_nul

MAX_REF_LENGTH = 64  # characters
MAX_PING_LENGTH = 64  # characters
# About what each of these adds in memory once it is parsed: an object, a list, a value, half of a string.
PARSED_BYTES = {"{": 192, "[": 72, ",": 40, '"': 30}
MAX_GROWTH = 16  # times max_bytes: 64 KiB of brackets would be several MiB of lists
MAX_STATE_BYTES = 48 * 1024  # of one part of a state, where its messages are not larger; proxies take 64 KiB
MAX_SEQ_DIGITS = 15  # more than any stream reaches; int() is slow for thousands of digits

Ref: TypeAlias = str | int | None

PONG = '{"type":"pong"}'


class CloseCode(IntEnum):
    """Why the server closed. 44xx is the client's fault and final, except SILENT and TOO_FAST; the rest reconnects."""

    FAILED = 1011
    RESTARTING = 1012
    TRY_LATER = 1013  # the client is too slow, or the stream store is unavailable
    SIGNED_OUT = 3000  # the session has ended; the access check of the reconnect decides
    NOT_SIGNED_IN = 4401
    NOT_ALLOWED = 4403
    NO_SUCH_PATH = 4404
    SILENT = 4408
    OTHER_USER = 4409  # the page was rendered for somebody else
    TOO_FAST = 4429


class Position(NamedTuple):
    """A place in a stream: after the broadcast with this number."""

    epoch: str
    seq: int


UNKNOWN_POSITION = Position("", 0)  # before the stream has answered


class PageContract(NamedTuple):
    """The contract with which a page was rendered."""

    feature: str
    number: int
    hash: str
    waited: float  # seconds since the page was first closed with RESTARTING, without a welcome since


class Envelope(NamedTuple):
    """A client's message, checked for its form; the consumer checks its type and data."""

    type: str
    data: Any
    ref: Ref
    content: dict[str, Any]  # the whole message


def check_size(text: str | None, max_bytes: int) -> str:
    """The text of a client's WebSocket frame. Raises MessageError: too_large, or invalid_message for a binary one."""
    if text is None:
        raise MessageError("invalid_message", "binary messages are not supported; send JSON as text")
    # A character has up to four bytes: most messages need no encoding to know that they are small enough.
    if len(text) * 4 > max_bytes:
        if len(text.encode(errors="surrogatepass")) > max_bytes:
            raise MessageError("too_large", f"a message may have {max_bytes} bytes")
        if sum(text.count(mark) * size for mark, size in PARSED_BYTES.items()) > max_bytes * MAX_GROWTH:
            raise MessageError("too_large", f"a message of {len(text)} characters may not have so many values")
    return text


def parse(text: str) -> Envelope:
    """The message in a text. Raises MessageError: invalid_json, invalid_message."""
    try:
        content = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as error:  # TypeError: half of a surrogate pair
        raise MessageError("invalid_json", f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MessageError("invalid_message", 'a message is a JSON object: {"type": …, "data": …}')
    type_, ref = content.get("type"), content.get("ref")
    if not isinstance(type_, str) or not type_:
        raise MessageError("invalid_message", 'a message has a "type", a string')
    is_ref = isinstance(ref, int) or (isinstance(ref, str) and len(ref) <= MAX_REF_LENGTH)
    return Envelope(type_, content.get("data", {}), ref if is_ref else None, content)


def check_texts(text: str) -> None:
    """Raises MessageError: invalid_message, for a U+0000, which no database keeps. Half of a pair is no JSON at all."""
    if has_nul(text):
        raise MessageError("invalid_message", "a text may not contain the character U+0000")


def is_ping(text: str) -> bool:
    """Whether a short text is a ping, which is answered before the messages that wait. Raises MessageError."""
    return '"ping"' in text and parse(text).type == "ping"


def ref_of(text: str) -> Ref:
    """The ref of a message that is refused; None if it has none or is no message."""
    try:
        return parse(text).ref
    except MessageError:
        return None


def encode(content: Any) -> str:
    """JSON as sent. Raises ValueError for what JSON cannot carry, such as NaN or half of a surrogate pair, for U+0000,
    and for an unknown type."""
    text = to_json(content).decode()
    if "NaN" in text or "Infinity" in text:  # seldom, and then perhaps only within a string
        from_json(text, allow_inf_nan=False)
    return check_nul(text)


def frame(text: str) -> bytes:
    """A text as a server's WebSocket frame: RFC 6455, 5.2."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def welcome(
    position: Position,
    recovered: bool | None,
    heartbeat: float,
    max_bytes: int,
    *,
    state: bool = False,
    outdated: bool = False,
) -> str:
    """The first message after accept.

    recovered: whether the missed broadcasts follow; None if the client gave no position. heartbeat: seconds. state: a
    state follows, with its position. outdated: the page was rendered with a contract that this server no longer keeps.
    """
    data = {**position._asdict(), "recovered": recovered, "heartbeat": heartbeat, "max_bytes": max_bytes}
    if state:
        data["state"] = True
    if outdated:
        data["outdated"] = True
    return encode({"type": "welcome", "data": data})


def resync(position: Position) -> str:
    """Broadcasts are lost: the client takes this position and reloads its state."""
    return encode({"type": "resync", "data": position._asdict()})


def join_messages(messages: Iterable[str]) -> list[str]:
    """The parts of a state: JSON arrays of encoded messages, each of at most MAX_STATE_BYTES or of one message."""
    parts: list[list[str]] = [[]]
    size = 0
    for message in messages:
        bytes_ = len(message.encode()) + 1
        if parts[-1] and size + bytes_ > MAX_STATE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(message)
        size += bytes_
    return [f"[{','.join(part)}]" for part in parts]


def state(position: Position, parts: list[str], view: str = "") -> list[str]:
    """The whole state of a page, in parts: the client replaces what it shows by the messages of all of them.

    position: from which the client continues; UNKNOWN_POSITION without a stream. view: a token of what is shown, which
    the client gives when it reconnects.
    """
    data: dict[str, Any] = position._asdict() if position.epoch else {}
    if view:
        data["view"] = view
    head = encode(data)[1:-1]
    head += "," if head else ""
    return [
        f'{{"type":"state","data":{{{head}"messages":{part},"complete":{"true" if part is parts[-1] else "false"}}}}}'
        for part in parts
    ]


def changes(messages: Iterable[str], view: str = "") -> str:
    """Encoded messages that are handled one after the other. view: as in state(), after them."""
    head = f'"view":{encode(view)},' if view else ""
    return f'{{"type":"changes","data":{{{head}"messages":[{",".join(messages)}]}}}}'


def draining(within: int) -> str:
    """The client reconnects at a random moment of the next `within` seconds."""
    return encode({"type": "draining", "data": {"within": within}})


def parse_position(query: bytes) -> Position | None:
    """The client's position, from the URL with which it connects: ?epoch=k3x&seq=17."""
    if not query:
        return None
    values = dict(parse_qsl(query.decode("latin-1")))
    epoch, seq = values.get("epoch", ""), values.get("seq", "")
    return Position(epoch, int(seq)) if epoch and _is_number(seq) else None


def parse_page_user(query: bytes) -> str | None:
    """The token of the page's user, from the same URL; None without one."""
    if b"page_user" not in query:
        return None
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("page_user")


def parse_view(query: bytes) -> str:
    """The token of what the page shows, from the same URL; empty without one."""
    return dict(parse_qsl(query.decode("latin-1"))).get("view", "") if b"view=" in query else ""


def parse_page_contract(query: bytes) -> PageContract | None:
    """The page's contract, from the same URL: ?contract=orders:3:9f8e7d6c5b4a&waited=61000; None without one."""
    if b"contract=" not in query:
        return None
    values = dict(parse_qsl(query.decode("latin-1")))
    feature, _, contract = values.get("contract", "").partition(":")
    number, _, hash_ = contract.partition(":")
    milliseconds = values.get("waited", "0")
    if not all(_is_number(text) for text in (number, milliseconds)):
        return None
    return PageContract(feature, int(number), hash_, int(milliseconds) / 1000)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MAX_SEQ_DIGITS


def error_message(error: MessageError, ref: Ref = None) -> str:
    """The message that refuses another, with the ref of a request."""
    data: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.retry_after is not None:
        data["retry_after"] = error.retry_after
    if error.fields:
        data["fields"] = {path: str(text) for path, text in error.fields.items()}
    # Not encode(): the ref of a message that is refused for its U+0000 may have one, too.
    content = {"type": "error", **({} if ref is None else {"ref": ref}), "data": data}
    return to_json(content, inf_nan_mode="null").decode()


def acknowledgement(type_: str, ref: Ref) -> str:
    """The answer to a request whose handler returns nothing."""
    return encode({"type": f"{type_}_result", "ref": ref, "data": {}})
