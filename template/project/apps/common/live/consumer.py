"""The connection of a page that shows the rows of a live model."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from django.core.exceptions import ValidationError

from apps.common.live.declaration import LiveModel
from apps.common.live.view import Query, View, get_views
from apps.common.live.writing import Writer
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.messages import Message
from apps.common.websockets.protocol import UNKNOWN_POSITION, CloseCode, Position, parse_view


class LiveConsumer(BaseWebSocketConsumer):
    """A consumer whose pages show the rows that `live` declares. A feature whose rows have a scope sets `live_scope` in
    connect(), before super().connect(). A disconnect() of its own calls super().disconnect(code)."""

    live: ClassVar[type[LiveModel]]
    live_scope: Any = None  # the key of the object that all rows of the page belong to: the declaration's scope
    _page: "_Page | None" = None
    _showing: asyncio.Lock | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.snapshot is not BaseWebSocketConsumer.snapshot:
            raise TypeError(
                f"{cls.__name__}.snapshot() would not be called: the rows are the state. To send more, override "
                "send_state(), and begin with `await super().send_state(position)`."
            )

    async def connect(self) -> None:
        await super().connect()
        if self._page is None:  # its group's missed broadcasts were sent instead of a state
            await self._show(UNKNOWN_POSITION, parse_view(self.scope["query_string"]))

    async def disconnect(self, code: int) -> None:
        if self._page:
            await self._page.leave()

    async def snapshot_key(self) -> Hashable:
        """The audience of the user."""
        return await database_sync_to_async(self.live.audience)(self.user) if _is_overridden(self.live) else None

    async def send_state(self, position: Position) -> None:
        await self._show(position, "")

    async def add(self, data: Message, **values: Any) -> None:
        """Add a row with the values of a message, and with these of other fields. Raises MessageError, as the next
        methods do."""
        await self._write(Writer.add, data, values)

    async def change(self, data: Message) -> None:
        """Change the row with the message's `id`: of the message's fields those that differ from its `opened`."""
        await self._write(Writer.change, data)

    async def change_row(self, id: Any, action: str, change: Callable[[Any], None]) -> None:
        """Call a function with the row, locked in a transaction, if may() allows the action; it is validated and saved
        after that. What the function does with the database belongs to the transaction; it may raise MessageError."""
        await self._write(Writer.act, id, action, change)

    async def delete(self, data: Message) -> None:
        """Delete the row with the message's `id`."""
        await self._write(Writer.delete, data)

    async def _write(self, method: Callable[..., None], *arguments: Any) -> None:
        await database_sync_to_async(self._call)(method, *arguments)

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        method(Writer(self.live, self.user, self._scope_value()), *arguments)

    async def _show(self, position: Position, version: str) -> None:
        """version: of the view that the client shows already, if that is known."""
        self._showing = self._showing or asyncio.Lock()
        async with self._showing:  # a loss or a re-check may ask for the rows while connect() does
            await self._show_one(position, version)

    async def _show_one(self, position: Position, version: str) -> None:
        try:
            query = Query(self.live, self._scope_value(), await self.snapshot_key())
        except ValidationError:
            await self.close(CloseCode.NO_SUCH_PATH)
            return
        if self.live.scope and not await database_sync_to_async(self.live.scope_rows(query.scope).exists)():
            await self.close(CloseCode.NO_SUCH_PATH)
            return
        if self._page is None or self._page.view.query != query:
            if self._page:
                await self._page.leave()
            self._page = _Page(self)
            self._page.view = await get_views().join(query, self._page)
        await self._page.show(position, version)

    def _scope_value(self) -> Any:
        """Raises ValidationError for what no key is."""
        if not self.live.scope:
            return None
        return self.live.related(self.live.scope)._meta.pk.to_python(self.live_scope)


class _Page:
    """The page of a consumer, as its view sees it."""

    view: View

    def __init__(self, consumer: LiveConsumer) -> None:
        self._connection = consumer._connection
        self.revision = -1

    @property
    def is_over(self) -> bool:
        return self._connection.is_over

    def write(self, text: str) -> None:
        self._connection.write(text)

    def end(self) -> None:
        self._connection.close_in_background(CloseCode.NO_SUCH_PATH)

    async def show(self, position: Position, version: str) -> None:
        """Send the rows, unless the client shows this version; further differences follow."""
        if self.view.is_gone:  # since it was checked that the object exists
            self.end()
            return
        self.revision = self.view.revision if version == self.view.version else -1
        while self.revision != self.view.revision:  # sending to a slow client may take longer than the next difference
            revision = self.view.revision
            for text in self.view.state(position):
                await self._connection.send_text(text)
            self.revision = revision

    async def leave(self) -> None:
        if hasattr(self, "view"):
            await get_views().leave(self.view, self)


def _is_overridden(declared: type[LiveModel]) -> bool:
    return declared.audience.__func__ is not LiveModel.audience.__func__  # type: ignore[attr-defined]
