"""From a write to its notification: after the commit, once for each transaction, and at most every 100 ms.

A notification names a model and the keys of its changed rows, never their values. It is a broadcast of the model's
topic, a group that the views of all processes follow.
"""

import atexit
import json
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.apps import apps
from django.db import connections, models, router, transaction
from django.db.models import signals

from apps.common import features
from apps.common.websockets.broadcast import publish, warn_if_unserved
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import StreamsUnavailable

if TYPE_CHECKING:
    from apps.common.live.declaration import LiveModel

WINDOW_SECONDS = 0.1  # the first change of a topic is published at once, those after it once in this time
MAX_KEYS = 200  # of a notification; beyond them it is of all rows
ATTRIBUTE = "_apps_common_live"  # of a database connection: its batch


@dataclass
class _Role:
    """The part that rows of a sender have in the pages of a topic."""

    is_row: bool = False
    is_label: bool = False  # shown by rows, of which any may change with it
    parent_of: set[str] = field(default_factory=set)  # declarations whose scope it is
    columns: dict[str, str] = field(default_factory=dict)  # of rows with a parent: the scope's, by declaration


declarations: list["type[LiveModel]"] = []  # in order of definition
_topics: dict[type[models.Model], dict[str, _Role]] = {}  # of a sender

Keys = set[Any] | None  # None: all rows
Scopes = dict[str, set[str]]  # by declaration


def topic(model: type[models.Model]) -> str:
    """The group of the model's notifications."""
    return f"live.{model._meta.concrete_model._meta.label_lower}"  # type: ignore[union-attr]


def is_live(model: type[models.Model]) -> bool:
    """Whether any feature shows rows of the model."""
    return model in _topics


def connect() -> None:
    """Listen to the writes of every declared model. Signals without a sender would end Django's fast deletes."""
    features.modules("live")
    for declared in declarations:
        name = topic(declared.model)
        for role in _listen(declared.model, name):
            role.is_row = True
        for label in declared.labels:
            for role in _listen(declared.related(label), name):
                role.is_label = True
        if declared.parent:
            column: Any = declared.model._meta.get_field(declared.scope)
            for role in _listen(declared.related(declared.scope), name):
                role.parent_of.add(path(declared))
            if column.target_field.primary_key:
                for role in _listen(declared.model, name):
                    role.columns[path(declared)] = column.attname
    signals.post_migrate.connect(_on_migrate, dispatch_uid=ATTRIBUTE)


def _listen(model: type[models.Model], topic: str) -> list[_Role]:
    senders = family(model)
    for sender in senders:
        for signal, receiver in RECEIVERS:
            signal.connect(receiver, sender=sender, dispatch_uid=ATTRIBUTE)
    return [_topics.setdefault(sender, {}).setdefault(topic, _Role()) for sender in senders]


def family(model: type[models.Model]) -> list[type[models.Model]]:
    """The models whose writes change rows of this one: proxies, and both directions of multi-table inheritance."""
    concrete = model._meta.concrete_model
    tables = {concrete, *concrete._meta.get_parent_list()}  # type: ignore[union-attr]
    return [
        other
        for other in apps.get_models(include_auto_created=True)
        if other._meta.concrete_model in tables or issubclass(other, concrete)  # type: ignore[arg-type]
    ]


def has_other_listeners(model: type[models.Model]) -> bool:
    """Whether somebody else listens to the deletion of a row."""
    return any(
        any(receiver not in OWN for kind in signal._live_receivers(model) for receiver in kind)
        for signal in (signals.pre_delete, signals.post_delete)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Writes
# ---------------------------------------------------------------------------------------------------------------------


def expect(model: type[models.Model], using: str) -> None:
    """Rows of the model are about to be written."""
    if topics := _topics.get(model):
        is_alone = not connections[using].in_atomic_block
        batch = _batch(using, begins=is_alone)
        for name in topics:
            batch.expect(name)
        if not is_alone:
            batch.publish_after_commit()


def changed(
    model: type[models.Model], keys: Iterable[Any] | None, using: str, instance: models.Model | None = None
) -> None:
    """Rows of the model were written; None: any of them may have been. Follows expect()."""
    if topics := _topics.get(model):
        batch = _batch(using)
        known = None if keys is None else set(keys)
        for name, role in topics.items():
            if known is None or role.is_label:
                batch.add(name, None, {})
            else:
                scopes = {declared: set(map(str, known)) for declared in role.parent_of}
                for declared, column in role.columns.items():  # a parent may count rows that it does not show
                    if instance and column in instance.__dict__:
                        scopes.setdefault(declared, set()).add(str(instance.__dict__[column]))
                batch.add(name, known if role.is_row else set(), scopes)
        batch.publish_after_commit()


def live_reload(model: type[models.Model] | None = None) -> None:
    """Have every page that shows rows of the model read them again, after what Django cannot see: raw SQL, a restored
    backup. None: of all models. Raises LookupError for a model that no feature shows."""
    names = {topic(declared.model) for declared in declarations}
    if model and topic(model) not in names:
        raise LookupError(f"No feature shows rows of {model._meta.label}.")
    for name in [topic(model)] if model else names:
        _windows.add(name, _Change())


def _before(sender: type[models.Model], using: str, **kwargs: Any) -> None:
    expect(sender, using)


def _after(sender: type[models.Model], instance: models.Model, using: str, **kwargs: Any) -> None:
    changed(sender, [instance.pk], using, instance)


def _on_migrate(using: str, **kwargs: Any) -> None:
    """After migrate and flush, which send it once for each app."""
    with suppress(StreamsUnavailable):
        for name in {topic(each.model) for each in declarations if using == router.db_for_write(each.model)}:
            if get_streams().is_followed(name):
                _windows.add(name, _Change())


RECEIVERS: list[tuple[signals.ModelSignal, Any]] = [
    (signals.pre_save, _before),
    (signals.pre_delete, _before),
    (signals.post_save, _after),
    (signals.post_delete, _after),
]
OWN = (_before, _after)


# ---------------------------------------------------------------------------------------------------------------------
# Transactions
# ---------------------------------------------------------------------------------------------------------------------


class _Change:
    """Rows of a topic that were changed, the scopes they are in by now, and scopes whose object was changed."""

    def __init__(self, keys: Keys = None) -> None:
        self.keys = keys
        self.scopes: Scopes = {}
        self.ids: list[str] = []  # of the batches, by which the store knows them

    def add(self, keys: Keys, scopes: Scopes) -> None:
        self.keys = None if keys is None or self.keys is None else self.keys | keys
        for declared, values in scopes.items():
            self.scopes.setdefault(declared, set()).update(values)
        if self.keys is not None and max(map(len, [self.keys, *self.scopes.values()])) > MAX_KEYS:
            self.keys = None

    def text(self) -> str:
        """The notification."""
        data: dict[str, Any] = {"all": True}
        if self.keys is not None:
            scopes = {declared: sorted(values) for declared, values in self.scopes.items()}
            data = {"keys": sorted(map(str, self.keys)), "scopes": scopes}
        return json.dumps({"type": "live_changed", "data": data}, separators=(",", ":"))


class _Batch:
    """The changes of one transaction, or of one statement outside of any: Django calls it after the commit.

    It may hold keys of a savepoint that was rolled back: those rows are read again, and nothing has changed.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.id = uuid4().hex
        self.followed: dict[str, bool] = {}  # by topic
        self.changes: dict[str, _Change] = {}
        self.place = -1  # in the connection's list of what runs after the commit
        self.is_done = False
        self.__qualname__ = "The publishing of live changes"  # Django logs it if it fails

    def expect(self, name: str) -> None:
        """Before a write, so that the store knows of it if this process ends before it has published."""
        if name not in self.followed:
            try:
                self.followed[name] = get_streams().mark(name, self.id)
            except StreamsUnavailable:
                self.followed[name] = True  # publishing will say so, and the pages read again after the outage

    def add(self, name: str, keys: Keys, scopes: Scopes) -> None:
        self.changes.setdefault(name, _Change(set())).add(keys, scopes)

    def publish_after_commit(self) -> None:
        if self.place < 0:
            self.place = len(connections[self.using].run_on_commit)
            transaction.on_commit(self, using=self.using, robust=True)

    def waits_in(self, connection: Any) -> bool:
        waiting = connection.run_on_commit
        return 0 <= self.place < len(waiting) and waiting[self.place][1] is self

    def __call__(self) -> None:
        self.is_done = True
        for name in self.followed.keys() - self.changes.keys():
            get_streams().unmark(name, [self.id])
        for name, change in self.changes.items():
            if not self._is_followed(name):
                get_streams().unmark(name, [self.id])
                continue
            if change.keys:
                change.add(set(), _scopes(name, change.keys, self.using))
            _windows.add(name, change, self.id)

    def _is_followed(self, name: str) -> bool:
        """Asked again: a page may have come between the first write and the commit, and have read before it."""
        try:
            return self.followed.get(name, True) or get_streams().is_followed(name)
        except StreamsUnavailable:
            return True


def _batch(using: str, *, begins: bool = False) -> _Batch:
    connection = connections[using]
    batch: _Batch | None = getattr(connection, ATTRIBUTE, None)
    if batch is None or begins or batch.is_done or (batch.place >= 0 and not batch.waits_in(connection)):
        warn_if_unserved()
        batch = _Batch(using)
        setattr(connection, ATTRIBUTE, batch)
    return batch


def _scopes(name: str, keys: set[Any], using: str) -> Scopes:
    """The scopes in which the rows are by now, by declaration: pages of others may have to show them."""
    found = {}
    for declared in declarations:
        if declared.scope and topic(declared.model) == name:
            rows = declared.model._base_manager.using(using).filter(pk__in=keys)
            values = rows.values_list(f"{declared.scope}__pk", flat=True).distinct()
            found[path(declared)] = {str(value) for value in values if value is not None}
    return found


def path(declared: "type[LiveModel]") -> str:
    """The name of a declaration in notifications."""
    return f"{declared.__module__}.{declared.__qualname__}"


# ---------------------------------------------------------------------------------------------------------------------
# Time
# ---------------------------------------------------------------------------------------------------------------------


class _Windows:
    """Collects the changes of each topic for WINDOW_SECONDS after a notification."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what is collected."""
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}  # when a topic was last published
        self._waiting: dict[str, _Change] = {}

    def add(self, name: str, change: _Change, id: str = "") -> None:
        with self._lock:
            waiting = self._waiting.setdefault(name, _Change(set()))
            is_first = not waiting.ids
            waiting.add(change.keys, change.scopes)
            waiting.ids.append(id)
        if is_first:
            self._publish_when_due(name)

    def flush(self) -> None:
        """Publish what is still collected: the process ends."""
        for name in list(self._waiting):
            self._publish(name)

    def _publish_when_due(self, name: str) -> None:
        remaining = self._last.get(name, 0) + WINDOW_SECONDS - time.monotonic()
        if remaining <= 0:
            self._publish(name)
            return
        timer = threading.Timer(remaining, self._publish_when_due, [name])
        timer.daemon = True
        timer.start()

    def _publish(self, name: str) -> None:
        with self._lock:
            change = self._waiting.pop(name, None)
            if change:
                self._last[name] = time.monotonic()
        if change and publish(name, change.text()):  # else the mark has the pages read again
            get_streams().unmark(name, change.ids)


_windows = _Windows()
atexit.register(_windows.flush)
# The timers of the parent do not run in the child, and its lock may be held there for ever.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_windows.reset)
