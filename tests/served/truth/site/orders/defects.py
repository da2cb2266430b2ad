"""Each switches off one of the mechanisms by which a page stays equal to the database, from start() to stop().

The names of the product's internals are here and in control.py.
"""

from unittest.mock import PropertyMock, patch

from apps.common.live.consumer import _Page
from apps.common.live.difference import Deleted
from apps.common.live.publishing import _Batch
from apps.common.live.view import View
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.streams.redis import RedisStreams

from .live import LiveOrder

CONCERNS, DELIVER, MESSAGE, SHOW = View._concerns, View.deliver, View._message, View._show


def publish_at_once(batch):
    """At the write, not after its commit."""
    if batch.changes:
        batch()


async def read_then_join(view):
    """The first rows are read before the view has a position in the topic's numbering."""
    async with view._lock:
        if not view._is_joined:
            view._service.start()
            await view.is_read.wait()
            await get_hub().join(view.topic, view)
            view._is_joined = True


async def clear_and_show(view, *read):
    """A notification during a read counts as part of it."""
    view._changed.clear()
    await SHOW(view, *read)


async def show_once(page, position, version):
    """A page that was sent the rows counts as up to date, though the view has other rows by then."""
    if version != page.view.version:
        for text in page.view.state(position):
            await page._connection.send_text(text)
    page.revision = page.view.revision


def concerns_scopes(view, change):
    """A notification concerns the pages to which its rows belong by now."""
    return CONCERNS(view, {**change, "keys": []})


def concerns_keys(view, change):
    """A notification concerns the pages that show its rows already."""
    return CONCERNS(view, {**change, "scopes": {}})


def deliver_notifications(view, group, event):
    """Nothing follows from a loss."""
    if not event.is_resync:
        DELIVER(view, group, event)


def message_without_place(view, step):
    return MESSAGE(view, step if isinstance(step, Deleted) else step._replace(after=None))


DEFECTS = {
    "no_after_commit": patch.object(_Batch, "publish_after_commit", publish_at_once),
    "no_second_check": patch.object(_Batch, "_is_followed", lambda batch, name: batch.followed.get(name, True)),
    "no_marks": patch.object(RedisStreams, "mark", lambda streams, group, id: streams.is_followed(group)),
    "no_resync": patch.object(View, "deliver", deliver_notifications),
    "no_join_before_reading": patch.object(View, "open", read_then_join),
    "no_clear_before_reading": patch.object(View, "_show", clear_and_show),
    "no_notice_while_reading": patch.object(View, "_is_reading", PropertyMock(return_value=False), create=True),
    "no_version": patch.object(View, "version", "always the same"),
    "no_revision": patch.object(_Page, "show", show_once),
    "no_removed_keys": patch.object(View, "_concerns", concerns_scopes),
    "no_scopes": patch.object(View, "_concerns", concerns_keys),
    "no_places": patch.object(View, "_message", message_without_place),
    "no_filter": patch.object(LiveOrder, "visible", classmethod(lambda cls, rows, audience: rows)),
}
