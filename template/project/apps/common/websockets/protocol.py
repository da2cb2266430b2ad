"""The wire: frames and close codes. Plain functions without I/O.

A frame is a JSON object {"type": …, "data": …}. A request's "ref" is repeated in its answer; a broadcast's "seq" is its
number in its group's stream.
"""

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Never

from apps.common.websockets.messages import MessageError

MAX_REF_LENGTH = 64


class CloseCode(IntEnum):
    """Why the server closed. 44xx is the page's fault and final, but for SILENT and TOO_FAST; the rest reconnects."""

    REVOKED = 3000  # signed out, or no longer allowed: the reconnect learns which
    NOT_SIGNED_IN = 4401
    NOT_ALLOWED = 4403
    NO_SUCH_PATH = 4404
    SILENT = 4408
    TOO_FAST = 4429
    FAILED = 1011
    RESTARTING = 1012
    TRY_LATER = 1013


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame from a page, of the right form; whether its type and data make sense is the consumer's to say."""

    type: str
    data: Any
    ref: str | int | None
    content: dict[str, Any]


def parse(text: str | None, max_bytes: int) -> Frame:
    """The frame in a WebSocket text message. Raises MessageError: too_large, invalid_json, invalid_message."""
    if text is None:
        raise MessageError("invalid_message", "binary frames are not understood; send JSON as text")
    # A character has up to four bytes: most messages need no encoding to know that they are small enough.
    if len(text) * 4 > max_bytes and len(text.encode(errors="surrogatepass")) > max_bytes:
        raise MessageError("too_large", f"a frame may have {max_bytes} bytes")
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError("invalid_json", f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MessageError("invalid_message", 'a frame is a JSON object: {"type": …, "data": …}')
    type_, ref = content.get("type"), content.get("ref")
    if not isinstance(type_, str) or not type_:
        raise MessageError("invalid_message", 'a frame has a "type", a string')
    return Frame(type_, content.get("data", {}), ref if _is_ref(ref) else None, content)


def encode(content: Any) -> str:
    """JSON as sent: compact, and with ASCII alone, so that no lone surrogate can break a server."""
    return _ENCODER.encode(content)


def welcome(epoch: str, seq: int, recovered: bool | None, heartbeat: float, max_bytes: int) -> dict[str, Any]:
    """The greeting after accept. heartbeat in seconds; recovered: see the module streams."""
    position = {"epoch": epoch, "seq": seq, "recovered": recovered}
    return {"type": "welcome", "data": {**position, "heartbeat": heartbeat, "max_bytes": max_bytes}}


def error_frame(error: MessageError, ref: str | int | None = None) -> dict[str, Any]:
    """What a page gets instead of an answer."""
    data: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.retry_after is not None:
        data["retry_after"] = error.retry_after
    return {"type": "error", "data": data} if ref is None else {"type": "error", "ref": ref, "data": data}


PONG = '{"type":"pong"}'

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _is_ref(ref: object) -> bool:
    return isinstance(ref, int) or (isinstance(ref, str) and len(ref) <= MAX_REF_LENGTH)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON number")
