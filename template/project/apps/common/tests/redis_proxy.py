"""A proxy in front of a Redis server, as a network, a failover or a firewall makes it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class RedisProxy:
    """Passes bytes on. What is changed here takes effect for the next of them."""

    def __init__(self, url: str) -> None:
        self.lead_to(url)
        self.loses_messages = False  # what the server publishes
        self.loses_answers = False  # everything that the server sends
        self.lost_answers = 0
        self.url = ""
        self.connections: set[asyncio.Task[None]] = set()
        self._frozen: set[asyncio.Task[None]] = set()

    def lead_to(self, url: str) -> None:
        """New connections lead there; those that are open stay."""
        self._port = int(url.rsplit(":", 1)[1])

    def freeze(self) -> None:
        """The open connections are half open from now on: nothing passes, and neither end notices."""
        self._frozen |= self.connections

    def cut(self) -> None:
        for task in self.connections:
            task.cancel()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)
        with suppress(asyncio.CancelledError, OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await asyncio.gather(self._pass(task, reader, back, False), self._pass(task, there, writer, True))
            finally:
                back.close()
        writer.close()

    async def _pass(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                is_lost = is_answer and (
                    self.loses_answers or (self.loses_messages and re.search(rb"\bmessage\r\n", data))
                )
                self.lost_answers += is_answer and self.loses_answers
                if task not in self._frozen and not is_lost:
                    writer.write(data)
        writer.close()


@asynccontextmanager
async def redis_proxy(url: str) -> AsyncIterator[RedisProxy]:
    """A proxy to a server, on a free port."""
    proxy = RedisProxy(url)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        if proxy.connections:
            await asyncio.wait(proxy.connections, timeout=5)
