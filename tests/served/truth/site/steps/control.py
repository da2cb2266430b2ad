"""A WebSocket on which a test directs the server: each message is a command, and is answered when that is done."""

import asyncio
from unittest.mock import patch

from apps.common.live.publishing import topic
from apps.common.live.view import Views, get_views
from apps.common.websockets.connection.connection import Connection
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.streams import base, get_streams, redis_lag_check
from apps.orders.defects import DEFECTS
from apps.orders.models import Order

TOPIC = topic(Order)
POLL_SECONDS = 0.01
READ, SEND_TEXT = Views._read, Connection.send_text


class Gate:
    """A place in the code where a test may hold the tasks that come to it."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._is_reached = asyncio.Event()

    async def hold(self) -> None:
        self._is_open.clear()
        self._is_reached.clear()

    async def reached(self) -> None:
        await self._is_reached.wait()

    async def open(self) -> None:
        self._is_open.set()

    async def wait(self) -> None:
        self._is_reached.set()
        await self._is_open.wait()


class Server:
    """Its methods are the commands, and those of its gates: "reading.hold"."""

    def __init__(self) -> None:
        self.reading = Gate()  # between a read and its effect
        self.sending = Gate()  # before a page is sent its rows
        self.reads = 0  # at present

    async def receive(self) -> None:
        """Wait until the views have been notified of all that was published."""
        while (group := get_hub()._groups.get(TOPIC)) is None or group.position != await get_streams().atop(TOPIC):
            await asyncio.sleep(POLL_SECONDS)

    async def settle(self) -> None:
        """Wait until they have read and sent it, too."""
        await self.receive()
        while self.reads or any(view._changed.is_set() for view in get_views()._views.values()):
            await asyncio.sleep(POLL_SECONDS)

    async def rest(self, count: str) -> None:
        """Wait until so many pages have their rows and nothing more follows, and say so to each of them."""
        while len(pages := _pages()) != int(count):
            await asyncio.sleep(POLL_SECONDS)
        if pages:
            await self.settle()
        for page in pages:
            page.write('{"type":"rest"}')

    async def end_marks(self) -> None:
        """As the lag check does, but for marks of any age."""
        with patch.object(base, "MARK_SECONDS", 0):
            await get_streams()._end_marks(TOPIC)

    async def switch_off(self, defect: str) -> None:
        DEFECTS[defect].start()

    async def switch_on(self, defect: str) -> None:
        DEFECTS[defect].stop()


def _pages():
    pages = [page for view in get_views()._views.values() for page in view.pages]
    return [page for page in pages if page.revision >= 0 and not page.is_over]


server = Server()


async def read(views, query):
    server.reads += 1
    try:
        rows = await READ(views, query)
        await server.reading.wait()
        return rows
    finally:
        server.reads -= 1


async def send_text(connection, text):
    await server.sending.wait()
    await SEND_TEXT(connection, text)


Views._read, Connection.send_text = read, send_text
redis_lag_check.CHECK_SECONDS, redis_lag_check.ARRIVAL_SECONDS = 0.1, 0.3  # finds a loss sooner


async def control(scope, receive, send):
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.receive":
            name, *arguments = event["text"].split()
            place, _, method = name.rpartition(".")
            await getattr(getattr(server, place) if place else server, method)(*arguments)
            await send({"type": "websocket.send", "text": "done"})
