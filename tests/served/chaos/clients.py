"""Pages that follow a group as the browser service does, and clients that make a server publish."""

import asyncio
import json
import random
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.served.chaos.judge import History, Received, Reloaded
from tests.served.chaos.network import Link

CONNECT_SECONDS = 5.0
HEARTBEAT_SECONDS = 3.0
PONG_SECONDS = 2.0
PUBLISH_SECONDS = 5.0  # until an answer
LOST = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake)
FINAL = range(4400, 4500)
NOT_FINAL = (4408, 4429)


class Client:
    """A page: a server renders it; it connects, each time to the next server, with its position; it pings, and reloads
    its state when it is asked to, or if it was rendered without a position."""

    def __init__(self, number: int, group: str, servers: dict[str, Link], seed: int) -> None:
        self.history = History(f"client {number}", f"chaos.{group}")
        self.final_code: int | None = None
        self._group = group
        self._servers = list(servers.items())
        self._next = number
        self._chance = random.Random(f"{seed} {number}")  # noqa: S311
        self._page: dict[str, str] | None = None  # as rendered
        self._epoch = ""
        self._seq = 0
        self._connection: ClientConnection | None = None
        self._may_connect = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_connect.set()
        self._may_read.set()
        self.is_welcome = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    def drop(self) -> None:
        """Lose the connection as a network does: without a close."""
        if self._connection:
            self._connection.transport.abort()

    def freeze(self) -> None:
        """As a suspended page: it keeps its connection, and reads nothing."""
        self._may_read.clear()

    def leave(self) -> None:
        """As a laptop that is closed."""
        self._may_connect.clear()
        self.drop()

    def open(self) -> None:
        """As a person who opens the page again."""
        self._page = None
        self.drop()

    def heal(self) -> None:
        self._may_read.set()
        self._may_connect.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _follow(self) -> None:
        while self.final_code is None:
            await self._may_connect.wait()
            name, link = self._servers[self._next % len(self._servers)]
            self._next += 1
            self.history.servers.append((time.monotonic(), name))
            with suppress(*LOST):
                if self._page is None:
                    self._page = await self._render(link)
                query = {**self._page, **({"epoch": self._epoch, "seq": self._seq} if self._epoch else {})}
                self._connection = await _connect(link, f"/ws/chaos/{self._group}/?{urlencode(query)}")
                try:
                    await self._read(self._connection)
                finally:
                    self._connection.transport.abort()
            await asyncio.sleep(self._chance.uniform(0.1, 1))

    async def _render(self, link: Link) -> dict[str, str]:
        async with asyncio.timeout(CONNECT_SECONDS):
            answer = await _get(link, f"/chaos/{self._group}/")
        page: dict[str, Any] = json.loads(answer["page_data"])
        self._epoch, self._seq = page.pop("epoch", ""), page.pop("seq", 0)
        if self._epoch:
            self.history.events.append(Reloaded(answer["at"], self._epoch, self._seq, is_new_page=True))
        return page

    async def _read(self, connection: ClientConnection) -> None:
        awaits_pong = False
        while True:
            try:
                async with asyncio.timeout(PONG_SECONDS if awaits_pong else HEARTBEAT_SECONDS):
                    text = await connection.recv()
            except TimeoutError:
                await self._may_read.wait()
                if awaits_pong:
                    return
                await connection.send('{"type":"ping"}')
                awaits_pong = True
                continue
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code in FINAL and code not in NOT_FINAL:
                    self.final_code = code
                raise
            await self._may_read.wait()
            awaits_pong = False
            self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        kind, data = message["type"], message.get("data", {})
        if kind == "news":
            self._seq = message["seq"]
            event = Received(time.monotonic(), self._epoch, self._seq, data["publisher"], data["number"])
            self.history.events.append(event)
        elif kind == "resync" or (kind == "welcome" and (data["recovered"] is False or not self._epoch)):
            is_new_page = not self._epoch  # rendered without a position
            self._epoch, self._seq = data["epoch"], data["seq"]
            self.history.events.append(Reloaded(time.monotonic(), self._epoch, self._seq, is_new_page))
        if kind == "welcome":
            self.is_welcome.set()


class HandlerPublisher:
    """Makes a server publish from a handler, one broadcast after the other: a new publisher with each connection."""

    def __init__(self, server: str, link: Link, groups: list[str], per_second: float, seed: int) -> None:
        self._server = server
        self._link = link
        self._groups = groups
        self._pause = 2 / per_second
        self._chance = random.Random(f"{seed} {server}")  # noqa: S311
        self._connections = 0
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        while True:
            self._connections += 1
            with suppress(*LOST):
                connection = await _connect(self._link, "/ws/publish/")
                try:
                    await self._publish(connection, f"{self._server}/handler {self._connections}")
                finally:
                    connection.transport.abort()
            await asyncio.sleep(self._chance.uniform(0.1, 1))

    async def _publish(self, connection: ClientConnection, publisher: str) -> None:
        numbers = dict.fromkeys(self._groups, 0)
        ref = 0
        while True:
            group = self._chance.choice(self._groups)
            numbers[group] += 1
            ref += 1
            data = {"group": group, "publisher": publisher, "number": numbers[group]}
            await connection.send(json.dumps({"type": "publish", "ref": ref, "data": data}))
            async with asyncio.timeout(PUBLISH_SECONDS):
                while json.loads(await connection.recv()).get("ref") != ref:
                    pass
            await asyncio.sleep(self._chance.uniform(0, self._pause))


async def _get(link: Link, path: str) -> Any:
    """The JSON at an address. Raises OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.transport.abort()
    if b" 200 " not in head:
        raise OSError(head)
    return json.loads(body)


async def _connect(link: Link, path: str) -> ClientConnection:
    return await connect(
        f"ws://127.0.0.1:{link.port}{path}",
        compression=None,
        open_timeout=CONNECT_SECONDS,
        close_timeout=1,
        ping_interval=None,
    )
