"""A TCP link between two programs, which a test cuts, delays, stalls, or makes forget its connections."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

CHUNK = 65_536
CONNECT_SECONDS = 5.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Link:
    """A proxy: what connects to `port` is connected to the port that `target` returns then."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self._delay = 0.0
        self._flows = {"up": asyncio.Event(), "down": asyncio.Event()}
        for flow in self._flows.values():
            flow.set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server:
            self._server.close()
        self.cut()
        for flow in self._flows.values():
            flow.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Reset all connections, and refuse others."""
        self._is_cut = True
        for pair in list(self._pairs):
            pair.reset()

    def delay(self, seconds: float) -> None:
        """In each direction."""
        self._delay = seconds

    def stall(self, *directions: str) -> None:
        """Nothing passes in these directions, "up" to the target or "down" from it; heal() then delivers it, also what
        was sent by a client that has closed since."""
        for direction in directions:
            self._flows[direction].clear()

    def forget(self) -> None:
        """As a firewall does: what is sent on the open connections is lost from now on, also their end."""
        for pair in self._pairs:
            pair.is_forgotten = True

    def heal(self) -> None:
        self._is_cut = False
        self._delay = 0.0
        for flow in self._flows.values():
            flow.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            reset(writer)
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                from_target, to_target = await asyncio.open_connection("127.0.0.1", self._target())
        except (OSError, TimeoutError):
            reset(writer)
            return
        pair = _Pair(writer, to_target)
        self._pairs.add(pair)
        pumps = [
            asyncio.create_task(self._pump("up", reader, to_target, pair)),
            asyncio.create_task(self._pump("down", from_target, writer, pair)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        if pair.is_forgotten:
            await pair.is_over.wait()
        self._pairs.discard(pair)
        pair.reset()
        for ended in await asyncio.gather(*pumps, return_exceptions=True):
            if ended and not isinstance(ended, OSError):
                raise ended

    async def _pump(
        self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: "_Pair"
    ) -> None:
        flow = self._flows[direction]
        while data := await reader.read(CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await flow.wait()
            if not pair.is_forgotten:
                writer.write(data)
                await writer.drain()
        await flow.wait()
        if not pair.is_forgotten:
            writer.write_eof()


class _Pair:
    """A client's connection and the target's."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.is_forgotten = False
        self.is_over = asyncio.Event()
        self._writers = writers

    def reset(self) -> None:
        self.is_over.set()
        for writer in self._writers:
            reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
