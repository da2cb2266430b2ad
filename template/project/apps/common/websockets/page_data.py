"""The data that a rendered page hands to its WebSocket service: one text, which only the base service reads."""

import json

from django.http import HttpRequest

from apps.common.websockets.access.page_user import page_user
from apps.common.websockets.broadcast import stream_position
from apps.common.websockets.page_contracts import Registered


def page_data(request: HttpRequest | None, group: str = "", *, app: str = "") -> str:
    """The group's position now, a token of the page's user, and number and hash of the feature's contract, as JSON for
    the attribute data-websocket. Without the position, while the stream store is unavailable, the page reloads its
    state when it has connected.

    Call it first in a view, before the queries: broadcasts after this call reach the page, also before it has
    connected. An async view calls `await sync_to_async(page_data)(…)`.

    request: the page's own; None for a page that a shared cache gives to several visitors. group: left out for a page
    that is rendered without its state, which the consumer's snapshot() sends. app: of the feature to
    which the group belongs, such as "apps.orders", where it is not the view's own.
    """
    position = stream_position(group) if group else None
    data: dict[str, str | int] = dict(position._asdict()) if position else {}
    if request and hasattr(request, "user"):
        data["page_user"] = page_user(request.user)
    if contract := Registered.contracts.of_page(app or _module(request)):
        data["contract"] = contract
    return json.dumps(data, separators=(",", ":"))


def _module(request: HttpRequest | None) -> str:
    """The view's."""
    match = request.resolver_match if request else None
    return match.func.__module__ if match else ""
