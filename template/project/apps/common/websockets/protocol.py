"""The wire: frames and close codes. Plain functions without I/O.

A frame is a JSON object {"type": …, "data": …}. A request's "ref" is repeated in its answer; a broadcast's "seq" is its
number in its group's stream.
"""

from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from apps.common.websockets.messages import MessageError
from apps.common.websockets.streams import Position

MAX_REF_LENGTH = 64  # characters

Ref: TypeAlias = str | int | None


class CloseCode(IntEnum):
    """Why the server closed. 44xx is the page's fault and final, but for SILENT and TOO_FAST; the rest reconnects."""

    FAILED = 1011
    RESTARTING = 1012
    TRY_LATER = 1013  # the page reads too slowly, or a server behind this one is away
    SIGNED_OUT = 3000  # perhaps: the reconnect finds out
    NOT_SIGNED_IN = 4401
    NOT_ALLOWED = 4403
    NO_SUCH_PATH = 4404
    SILENT = 4408
    TOO_FAST = 4429


class Frame(NamedTuple):
    """A frame from a page, of the right form; whether its type and data make sense is the consumer's to say."""

    type: str
    data: Any
    ref: Ref
    content: dict[str, Any]  # all of it


def parse(text: str | None, max_bytes: int) -> Frame:
    """The frame in a WebSocket text message. Raises MessageError: too_large, invalid_json, invalid_message."""
    if text is None:
        raise MessageError("invalid_message", "binary frames are not understood; send JSON as text")
    # A character has up to four bytes: most messages need no encoding to know that they are small enough.
    if len(text) * 4 > max_bytes and len(text.encode(errors="surrogatepass")) > max_bytes:
        raise MessageError("too_large", f"a frame may have {max_bytes} bytes")
    try:
        content = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as error:  # TypeError: half of a surrogate pair
        raise MessageError("invalid_json", f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MessageError("invalid_message", 'a frame is a JSON object: {"type": …, "data": …}')
    type_, ref = content.get("type"), content.get("ref")
    if not isinstance(type_, str) or not type_:
        raise MessageError("invalid_message", 'a frame has a "type", a string')
    return Frame(type_, content.get("data", {}), ref if _is_ref(ref) else None, content)


def encode(content: Any) -> str:
    """JSON as sent. Raises ValueError for what JSON cannot carry, such as NaN, and for an unknown type."""
    text = to_json(content).decode()
    if "NaN" in text or "Infinity" in text:  # seldom, and then perhaps only within a string
        from_json(text, allow_inf_nan=False)
    return text


def welcome(epoch: str, seq: int, recovered: bool | None, heartbeat: float, max_bytes: int) -> dict[str, Any]:
    """The greeting after accept. heartbeat in seconds; recovered: whether what the page missed will follow."""
    position = {"epoch": epoch, "seq": seq, "recovered": recovered}
    return {"type": "welcome", "data": {**position, "heartbeat": heartbeat, "max_bytes": max_bytes}}


def resync(epoch: str, seq: int) -> dict[str, Any]:
    """Tells a page that broadcasts are lost: it takes this position and loads its state anew."""
    return {"type": "resync", "data": {"epoch": epoch, "seq": seq}}


def draining(within: int) -> dict[str, Any]:
    """Tells a page to reconnect at a random moment of the next `within` seconds."""
    return {"type": "draining", "data": {"within": within}}


def parse_position(query: bytes) -> Position | None:
    """Where a page left off, from the address with which it connects: ?epoch=k3x&seq=17."""
    values = dict(parse_qsl(query.decode("latin-1")))
    epoch, seq = values.get("epoch", ""), values.get("seq", "")
    # More digits than any stream has: int() would take its time, and refuse those of thousands.
    return Position(epoch, int(seq)) if epoch and seq.isascii() and seq.isdecimal() and len(seq) < 16 else None


def answer(content: dict[str, Any], ref: Ref) -> dict[str, Any]:
    """A frame with the ref of the request that it answers, if that had one."""
    return content if ref is None else {"type": content["type"], "ref": ref, "data": content["data"]}


def refusal(error: MessageError) -> dict[str, Any]:
    """What a page gets instead of an answer."""
    data: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.retry_after is not None:
        data["retry_after"] = error.retry_after
    return {"type": "error", "data": data}


def explain(error: ValidationError) -> str:
    """The first three problems of a message's data, for people, without repeating what was sent."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'data'}: {problem['msg']}" for problem in problems)


PONG = '{"type":"pong"}'


def _is_ref(ref: object) -> bool:
    return isinstance(ref, int) or (isinstance(ref, str) and len(ref) <= MAX_REF_LENGTH)
