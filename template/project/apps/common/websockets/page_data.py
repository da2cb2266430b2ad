"""The data that a rendered page hands to its WebSocket service: one text, which only the base service reads."""

import json

from django.http import HttpRequest

from apps.common.websockets.broadcast import stream_position


def page_data(request: HttpRequest, group: str) -> str:
    """The group's position now, as JSON for the attribute data-websocket; "{}" while the stream store is unavailable.

    Call it first in a view, before the queries: broadcasts after this call reach the page, also before it has
    connected. `request` is the page's own.
    """
    position = stream_position(group)
    return json.dumps(position._asdict() if position else {}, separators=(",", ":"))
