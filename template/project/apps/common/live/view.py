"""The rows of one query, which many pages show: read once for all of them, after each notification.

A page gets the whole of it when it connects, and each difference after that, in order over one connection. After a gap
in the notifications the rows are read like after any of them.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

from pydantic_core import to_json

from apps.common.live.declaration import LiveModel
from apps.common.live.difference import Deleted, Saved, difference
from apps.common.live.publishing import path, topic
from apps.common.websockets import protocol
from apps.common.websockets.event_loop import of_running_loop
from apps.common.websockets.process.events import Event
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.protocol import Position
from apps.common.websockets.readers import Readers
from apps.common.websockets.service import Service

logger = logging.getLogger(__name__)

READERS = 4  # threads of an event loop that read rows
LOAD_SECONDS = 20.0  # that a page waits for its first rows
RETRY_SECONDS = 1.0  # after a read that failed; twice as long after each further one
MAX_RETRY_SECONDS = 10.0
PAGES_AT_ONCE = 512  # before other tasks run


class Page(Protocol):
    """A connection whose page shows the rows."""

    revision: int  # of what it was sent last; below 0 while it is not ready

    @property
    def is_over(self) -> bool:
        """Whether it can be left out from now on."""

    def write(self, text: str) -> None:
        """Send a message, without waiting."""

    def end(self) -> None:
        """Close it: the object that it shows is gone."""


class Query(NamedTuple):
    """The rows of a view: pages with an equal query share it."""

    declared: type[LiveModel]
    scope: Hashable
    audience: Hashable


class View:
    """The rows of a query as they were last read."""

    def __init__(self, query: Query, read: Callable[[Query], Any]) -> None:
        self.query = query
        self.topic = topic(query.declared.model)
        self.pages: dict[Page, None] = {}
        self.parent = ""  # as JSON, empty without one
        self.rows: dict[Any, str] = {}
        self.revision = 0
        self.is_read = asyncio.Event()
        self._states: dict[Position, list[str]] = {}  # of the present revision
        self._token = token_hex(6)
        self._read = read
        self._changed = asyncio.Event()
        self._is_reading = False
        self._is_joined = False
        self._lock = asyncio.Lock()
        self._path = path(query.declared)
        self._service = Service(f"The rows of {self._path}", self._run)

    @property
    def version(self) -> str:
        """Names what the view shows at present; no other view has the same."""
        return f"{self._token}.{self.revision}"

    @property
    def is_gone(self) -> bool:
        """Whether the object that pages show is gone."""
        return bool(self.query.declared.parent) and not self.parent

    async def open(self) -> None:
        """Follow the notifications, and wait for the first rows. Raises StreamsUnavailable, TimeoutError."""
        async with self._lock:
            if not self._is_joined:
                await get_hub().join(self.topic, self)
                self._is_joined = True
                self._service.start()
        async with asyncio.timeout(LOAD_SECONDS):
            await self.is_read.wait()

    async def close(self) -> None:
        async with self._lock:
            self._service.stop()
            await get_hub().leave(self.topic, self)
            self._is_joined = False

    def state(self, position: Position) -> list[str]:
        """The messages with the parent, if pages show it, and all rows, for a page whose group has this position."""
        if position not in self._states:
            type_ = self.query.declared.row.message_type
            messages = [f'{{"type":"{type_}","data":{data}}}' for data in self.rows.values()]
            messages[:0] = [self._parent_message()] if self.parent else []
            self._states[position] = protocol.state(position, protocol.join_messages(messages), self.version)
        return self._states[position]

    def deliver(self, group: str, event: Event) -> None:
        """Take a notification. Called by the hub."""
        if event.is_resync or self._concerns(event.content["data"]["data"]):
            self._changed.set()

    def _concerns(self, change: dict[str, Any]) -> bool:
        if change.get("all") or self._is_reading or not self.query.declared.scope:
            return True
        shown = {str(key) for key in self.rows}
        return str(self.query.scope) in change["scopes"].get(self._path, ()) or not shown.isdisjoint(change["keys"])

    async def _run(self) -> None:
        self._changed.set()  # also when it was restarted
        pause = RETRY_SECONDS
        while True:
            await self._wait()
            self._changed.clear()
            self._is_reading = True
            try:
                parent, rows = await self._read(self.query)
            except Exception:
                logger.exception("%s could not be read", self._service.name)
                self._changed.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
                continue
            finally:
                self._is_reading = False
            pause = RETRY_SECONDS
            await self._show(parent, rows)
            self.is_read.set()

    async def _wait(self) -> None:
        seconds = self.query.declared.reread_seconds
        try:
            async with asyncio.timeout(seconds or None):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _show(self, parent: str, rows: dict[Any, str]) -> None:
        is_parent_changed = parent not in ("", self.parent)
        steps = list(difference(self.rows, rows))
        self.parent, self.rows = parent, rows
        if self.is_gone:
            self.revision, self._states = self.revision + 1, {}
            for page in list(self.pages):
                page.end()
            return
        if not (steps or is_parent_changed) or not self.is_read.is_set():
            return
        before, self.revision = self.revision, self.revision + 1
        self._states = {}
        messages = [self._message(step) for step in steps]
        messages[:0] = [self._parent_message()] if is_parent_changed else []
        texts = [protocol.changes(messages, self.version)]
        if len(texts[0]) > protocol.MAX_STATE_BYTES:  # most rows are others: the whole is hardly more, and has parts
            texts = self.state(protocol.UNKNOWN_POSITION)
        for number, page in enumerate(list(self.pages), 1):
            if page.is_over:
                self.pages.pop(page, None)
            elif page.revision == before:
                page.revision = self.revision
                for text in texts:
                    page.write(text)
            if number % PAGES_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _parent_message(self) -> str:
        declared = self.query.declared
        assert declared.parent
        return f'{{"type":"{declared.parent.message_type}","data":{self.parent}}}'

    def _message(self, step: Saved | Deleted) -> str:
        declared = self.query.declared
        if isinstance(step, Deleted):
            return f'{{"type":"{declared.deleted.message_type}","data":{{"id":{_json(step.key)}}}}}'
        data = self.rows[step.key][:-1]
        return f'{{"type":"{declared.saved.message_type}","data":{data},"after":{_json(step.after)}}}}}'


class Views:
    """The views of an event loop."""

    def __init__(self) -> None:
        self._views: dict[Query, View] = {}
        self._readers = Readers(READERS, "live")

    async def join(self, query: Query, page: Page) -> View:
        """The view of the query, with its rows. The page gets the differences once its `revision` is the view's."""
        view = self._views.get(query)
        if view is None:
            view = self._views[query] = View(query, self._read)
        view.pages[page] = None
        try:
            await view.open()
        except BaseException:
            await self.leave(view, page)
            raise
        return view

    async def leave(self, view: View, page: Page) -> None:
        """Without effect on a page that did not join."""
        view.pages.pop(page, None)
        if not view.pages and self._views.get(view.query) is view:
            del self._views[view.query]
            await view.close()

    async def close(self) -> None:
        """The event loop is about to end."""
        for view in list(self._views.values()):
            await view.close()
        self._views.clear()
        self._readers.close()

    async def _read(self, query: Query) -> tuple[str, dict[Any, str]]:
        return await self._readers.run(_load, query)


def _load(query: Query) -> tuple[str, dict[Any, str]]:
    """The parent as pages show it, and the rows. Called in a thread."""
    declared, scope, audience = query
    return declared.page_parent(scope, audience), declared.page(scope, audience)


def _json(key: Hashable) -> str:
    return to_json(key).decode()


def get_views() -> Views:
    """The views of the running event loop."""
    return of_running_loop(Views)
