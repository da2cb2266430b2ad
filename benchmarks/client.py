"""A WebSocket client that costs little enough to load a server from one core. Text frames alone."""

import asyncio
import json
import os
import selectors
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

ROUND_SECONDS = 0.001
SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"


class _Rounds(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout > 0:
            time.sleep(ROUND_SECONDS)
        return super().select(timeout)


def run_in_rounds(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run() for a client that takes what has come once in a millisecond.

    One that waits for each frame is asleep whenever the server is slower than it, and on the same machine it is the
    server's send() that pays for waking it: a server that is a little slower then seems to be far slower.
    """
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Rounds())) as runner:
        return runner.run(main)


def masked(text: bytes) -> bytes:
    """A text frame as a client sends it. The mask is zero, which RFC 6455 allows, and which costs nothing."""
    length = len(text)
    head = bytes([0x81, 0x80 | length]) if length < 126 else bytes([0x81, 0xFE]) + struct.pack("!H", length)
    return head + bytes(4) + text


class Client(asyncio.Protocol):
    """One connection: calls on_frame(payload) for each text frame."""

    def __init__(self, host: str, path: str, cookie: str, on_frame: Callable[["Client", bytes], None]) -> None:
        lines = [
            f"GET {path} HTTP/1.1", f"Host: {host}", f"Origin: http://{host}", "Upgrade: websocket",
            "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]  # fmt: skip
        if cookie:
            lines.append(f"Cookie: {cookie}")
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._buffer = b""
        self.on_frame = on_frame
        self._is_upgraded = False
        self.open = asyncio.get_running_loop().create_future()
        self.closed: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(ConnectionError("closed during the handshake"))
        self.closed = self.closed or 1006

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self._is_upgraded:
            head, found, buffer = buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0] + b" ":
                self.open.set_exception(ConnectionError(head.decode("latin-1")))
                return
            self._is_upgraded = True
            self._on_upgraded()
        position, size = 0, len(buffer)
        while size - position >= 2:
            length, start = buffer[position + 1], position + 2
            if length == 126:
                if size - position < 4:
                    break
                length, start = int.from_bytes(buffer[position + 2 : position + 4], "big"), position + 4
            elif length == 127:
                if size - position < 10:
                    break
                length, start = int.from_bytes(buffer[position + 2 : position + 10], "big"), position + 10
            if size < start + length:
                break
            opcode, position = buffer[position] & 0x0F, start + length
            if opcode == 1:
                if length == 1:  # Engine.IO's ping, the only text that is so short
                    self.transport.write(masked(b"3"))
                else:
                    self.on_frame(self, buffer[start:position])
            elif opcode == 8:
                self.closed = int.from_bytes(buffer[start : start + 2], "big")
                self.transport.write(bytes([0x88, 0x80]) + bytes(4))
            elif opcode == 9:
                self.transport.write(bytes([0x8A, 0x80 | length]) + bytes(4) + buffer[start:position])
        self._buffer = buffer[position:]

    def _on_upgraded(self) -> None:
        self.open.set_result(self)


class SocketIOClient(Client):
    """The same over Engine.IO's WebSocket transport: the path is the room that it asks for when it connects."""

    def __init__(self, host: str, path: str, cookie: str, on_frame: Callable[[Client, bytes], None]) -> None:
        super().__init__(host, SOCKET_IO, cookie, self._on_handshake)
        self._connect = masked(b"40" + json.dumps({"room": path}).encode())
        self._on_event = on_frame

    def _on_upgraded(self) -> None:
        """Not open yet: Engine.IO's handshake and Socket.IO's follow."""

    def _on_handshake(self, client: Client, payload: bytes) -> None:
        if payload.startswith(b"40"):
            self.on_frame = self._on_event
            self.open.set_result(self)
        else:
            self.transport.write(self._connect)


async def connect(
    url: str, on_frame: Callable[[Client, bytes], None], cookie: str = "", kind: type[Client] = Client
) -> Client:
    """A client whose handshake is done."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: kind(parts.netloc, path, cookie, on_frame), parts.hostname or "127.0.0.1", parts.port or 80
    )
    try:
        await client.open
    except BaseException:
        client.transport.abort()
        raise
    return client


async def connect_many(
    url: str, count: int, on_frame: Callable[[Client, bytes], None], cookie: str = "", kind: type[Client] = Client
) -> list[Client]:
    """Many of them, fifty at a time."""
    clients: list[Client] = []
    while len(clients) < count:
        batch = min(50, count - len(clients))
        clients += await asyncio.gather(*(connect(url, on_frame, cookie, kind) for _ in range(batch)))
    return clients


def memory_of(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_of(pid: int) -> float:
    """CPU time that a process and its children have used, of themselves and of the system for them, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_of, children_of(pid)))


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, such as the workers of a server."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
