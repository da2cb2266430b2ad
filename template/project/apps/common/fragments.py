"""HTML that a template renders, put into open pages: broadcast_html().

    broadcast_html("orders", "orders/_order.html", {"order": order}, target=f"order-{order.pk}", action="replace")

A fragment is a broadcast like any other: sent after commit, numbered, kept and replayed. Every client of the group gets
the same HTML, rendered without a request: nothing in it may depend on who looks at it. In the page,
/static/js/components/fragments.js applies it.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from django.template.loader import render_to_string

from apps.common.websockets.broadcast import abroadcast, broadcast
from apps.common.websockets.messages import Message

# As in Turbo Streams: within the target (append, prepend, update), instead of it (replace, remove) or beside it.
Action: TypeAlias = Literal["append", "prepend", "replace", "update", "remove", "before", "after"]


class Fragment(Message, abstract=True):
    """HTML, and where the page puts it. target: the id of an element, which a page may lack."""

    action: Action
    target: str
    html: str = ""


Fragment.message_type = "fragment"  # which is reserved for it


def broadcast_html(
    group: str,
    template: str = "",
    context: Mapping[str, Any] | None = None,
    *,
    target: str,
    action: Action = "replace",
    using: str | None = None,
    strict: bool = False,
) -> None:
    """Render the template now, and send it to every client of the group after commit. For sync code.

    `remove` has no template. using, strict and errors: as those of broadcast(). Raises ValidationError, a ValueError,
    for an unknown action, and ValueError for `remove` with a template or another action without one.
    """
    broadcast(group, _fragment(template, context, target, action), using=using, strict=strict)


async def abroadcast_html(
    group: str,
    template: str = "",
    context: Mapping[str, Any] | None = None,
    *,
    target: str,
    action: Action = "replace",
    strict: bool = False,
) -> None:
    """The same for async code, sent now. What the template reads of the database must have been read before."""
    await abroadcast(group, _fragment(template, context, target, action), strict=strict)


def _fragment(template: str, context: Mapping[str, Any] | None, target: str, action: Action) -> Fragment:
    if (action == "remove") == bool(template):
        raise ValueError(f"{action!r} {'takes no template' if template else 'needs a template'}")
    html = render_to_string(template, dict(context or {})) if template else ""
    return Fragment(action=action, target=target, html=html)
