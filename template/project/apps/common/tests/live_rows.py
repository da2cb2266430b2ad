"""A declaration of live rows, a consumer of it, and a page that applies what it is sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import Model
from django.db.models.signals import post_migrate

from apps.common.live import publishing
from apps.common.live.consumer import LiveConsumer
from apps.common.live.declaration import LiveModel
from apps.common.live.messages import Related
from apps.common.live.queryset import LiveQuerySet
from apps.common.websockets.messages import Message

from .serving import PublicConsumer

ENTRIES: LiveQuerySet[LogEntry] = LiveQuerySet(model=LogEntry)


class EntryRow(Message):
    id: int
    object_repr: str
    action_flag: int
    user: Related


class EntrySaved(EntryRow):
    after: int | None


class EntryDeleted(Message):
    id: int


def apart(declared: type[LiveModel]) -> type[LiveModel]:
    """A declaration that only connected() follows."""
    publishing.declarations.remove(declared)
    return declared


@apart
class LiveEntry(LiveModel):
    """The newest entries first, but for those of the flag 3; of the flag 2 staff alone sees them."""

    model = LogEntry
    row, saved, deleted = EntryRow, EntrySaved, EntryDeleted
    labels = {"user": "username"}
    limit = 5

    @classmethod
    def queryset(cls):
        return LogEntry.objects.exclude(action_flag=3).order_by("-object_repr")

    @classmethod
    def audience(cls, user):
        return user.is_staff

    @classmethod
    def visible(cls, rows, audience):
        return rows if audience else rows.exclude(action_flag=2)


class EntriesConsumer(PublicConsumer, LiveConsumer):
    live = LiveEntry


@contextmanager
def tables(*models: type[Model]) -> Iterator[None]:
    """The tables of these models, each after those that it refers to."""
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in reversed(models):
            editor.delete_model(model)


@contextmanager
def connected(*declared: type[LiveModel]) -> Iterator[None]:
    """Publishing follows these declarations alone."""
    kept, topics = publishing.declarations[:], dict(publishing._topics)
    publishing.declarations[:] = declared
    try:
        publishing.connect()
        yield
    finally:
        for sender in publishing._topics.keys() - topics.keys():
            for signal, _ in publishing.RECEIVERS:
                signal.disconnect(sender=sender, dispatch_uid=publishing.ATTRIBUTE)
        post_migrate.disconnect(dispatch_uid=publishing.ATTRIBUTE)
        publishing._topics.clear()
        publishing._topics.update(topics)
        publishing.declarations[:] = kept
        publishing._windows.reset()  # a test may have kept it from publishing


def rows_of(client: Any) -> list[dict[str, Any]]:
    """The rows that a page shows after all that the client has received, in order."""
    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for message in client.received:
        data = message.get("data", {})
        if message["type"] == "state":
            parts += [each["data"] for each in data["messages"]]
            if data["complete"]:
                rows, parts = parts, []
        elif message["type"] == "changes":
            for change in data["messages"]:
                rows = _apply(rows, change["type"], dict(change["data"]))
    return rows


def _apply(rows: list[dict[str, Any]], type_: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    rest = [row for row in rows if row["id"] != data["id"]]
    if type_.endswith("_deleted"):
        return rest
    after = data.pop("after")
    place = 0 if after is None else [row["id"] for row in rest].index(after) + 1
    return [*rest[:place], data, *rest[place:]]


def rows_in_database(declared: type[LiveModel], scope: Any = None, audience: Any = None) -> list[dict[str, Any]]:
    return [json.loads(text) for text in declared.page(scope, audience).values()]
