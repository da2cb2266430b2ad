"""Frames that the server itself refuses, and behaviour that only a real connection shows."""

import asyncio
import gc
import json
import socket
import struct
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from apps.common import uvicorn_protocol
from apps.common.server import UVICORN_OPTIONS
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process import registry

from .serving import PublicConsumer, connections, consumers, members, serve
from .wire import until

pytestmark = pytest.mark.django_db(transaction=True)

HANDSHAKE = (
    b"GET /ws/1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class News(Message):
    text: str


class ReadingConsumer(PublicConsumer):
    outbox_bytes = 64 * 1024
    close_seconds = 0.1


class Server(uvicorn.Server):
    started_up: asyncio.Event

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.started_up.set()

    @property
    def port(self) -> int:
        return self.servers[0].sockets[0].getsockname()[1]


@asynccontextmanager
async def served(consumer=ReadingConsumer, wrap=lambda application: application, **options) -> AsyncIterator[Server]:
    server = Server(uvicorn.Config(wrap(serve(consumer)), port=0, lifespan="off", **UVICORN_OPTIONS | options))
    server.started_up = asyncio.Event()
    serving = asyncio.create_task(server.serve())
    await asyncio.wait_for(server.started_up.wait(), 5)
    try:
        yield server
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 15)


def page(server: Server):
    return connect(f"ws://127.0.0.1:{server.port}/ws/1/")


async def close_code(websocket) -> int:
    async with asyncio.timeout(5):
        await websocket.wait_closed()
    return websocket.close_code


async def test_the_consumer_answers_what_is_too_large_for_it():
    async with served() as server, page(server) as one:
        await one.recv()
        await one.send("x" * (ReadingConsumer.max_bytes + 1))
        assert json.loads(await one.recv())["data"]["code"] == "too_large"


async def test_the_server_refuses_what_is_too_large_for_it():
    async with served() as server, page(server) as one:
        await one.send("x" * (UVICORN_OPTIONS["ws_max_size"] + 1))
        assert await close_code(one) == 1009
        await until(lambda: members() == 0)


async def test_the_server_refuses_bad_utf_8():
    async with served() as server, page(server) as one:
        await one.send(b"\xff\xfe", text=True)
        assert await close_code(one) == 1007
        await until(lambda: members() == 0)


async def test_a_close_of_the_consumer_reaches_the_page():
    async with served() as server, page(server) as one:
        await one.recv()
        [connection] = connections()
        await connection.close(4403)
        assert await close_code(one) == 4403
        await until(lambda: members() == 0)


async def test_a_page_that_stops_reading_is_freed_and_delays_no_other():
    async with served() as server, page(server) as lively:
        await lively.recv()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
        writer.write(HANDSHAKE)
        await reader.readexactly(12)  # and nothing more: the limit stops the rest
        await until(lambda: members() == 2)
        stalled = weakref.ref(consumers()[1])
        sent = 0
        while members() == 2:
            sent += 1
            assert sent < 1_000, "64 MB were sent to a page that does not read"
            await abroadcast("room", News(text="x" * 64 * 1024))
            assert json.loads(await asyncio.wait_for(lively.recv(), 5))["type"] == "news"
        await _until_gone(server, left=1)
        await until(lambda: gc.collect() is not None and stalled() is None)
        writer.transport.abort()


async def test_a_stalled_page_that_is_silent_is_freed_too(monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)
    async with served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
        writer.write(HANDSHAKE)
        await reader.readexactly(12)
        await until(lambda: members() == 1)
        [connection] = connections()
        connection.consumer.outbox_bytes = connection.outbox._limit_bytes = 1e9
        for _ in range(200):
            connection.write("x" * 64 * 1024)
        assert connection.outbox.is_busy
        connection.last_message_at = 0
        await _until_gone(server, left=0)
        writer.transport.abort()


@pytest.fixture
def _without_gc():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_gc")
async def test_of_a_handshake_the_scope_alone_stays_in_memory(monkeypatch):
    seen = []
    made = uvicorn_protocol.BoundedHTTPProtocol.connection_made
    monkeypatch.setattr(
        uvicorn_protocol.BoundedHTTPProtocol,
        "connection_made",
        lambda self, transport: seen.append(weakref.ref(self)) or made(self, transport),
    )
    async with served() as server, page(server) as one, page(server) as other:
        await one.recv()
        await other.recv()
        await until(lambda: [each() for each in seen] == [None, None])
        first, second = (dict(each.scope["headers"]) for each in consumers())
        assert first[b"host"] is second[b"host"]
        assert first[b"sec-websocket-key"] != second[b"sec-websocket-key"]
        frames = connections()[0].outbox.frames
        assert (list(frames.request.headers), list(frames.response.headers)) == ([], [])
        assert len(vars(frames)) <= 30  # more, and the names of its class no longer share their dictionary's keys


async def test_the_queue_of_events_serves_all_tasks_that_wait():
    queue = uvicorn_protocol._Queue()
    cancelled, *waiting = (asyncio.create_task(queue.get()) for _ in range(3))
    await asyncio.sleep(0)
    queue.put_nowait(1)
    cancelled.cancel()
    queue.put_nowait(2)
    assert sorted(await asyncio.gather(*waiting)) == [1, 2]
    queue.put_nowait(3)
    assert (queue.qsize(), queue.empty(), await queue.get(), queue.empty()) == (1, False, 3, True)


@asynccontextmanager
async def unread(server: Server) -> AsyncIterator[socket.socket]:
    """A client whose transport is paused, because it reads nothing."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", server.port))
        yield client


@pytest.mark.parametrize("end", ["close", "garbage", "end of file"])
async def test_who_ends_without_reading_is_dropped_soon(end):
    async with served() as server, unread(server) as client:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, HANDSHAKE)
        await until(lambda: members() == 1)
        [connection] = connections()
        while connection.outbox.frames.writable.is_set():
            await abroadcast("room", News(text="x" * 30_000))
            await asyncio.sleep(0)
        if end == "end of file":
            client.shutdown(socket.SHUT_WR)
        else:
            closing = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
            await loop.sock_sendall(client, closing if end == "close" else b"\xff" * 6)
        await _until_gone(server, left=0)


async def test_who_does_not_read_does_not_delay_the_end_of_the_server():
    async with served() as server, unread(server) as client:
        await asyncio.get_running_loop().sock_sendall(client, HANDSHAKE)
        await until(lambda: members() == 1)
        [connection] = connections()
        while connection.outbox.frames.writable.is_set():
            await abroadcast("room", News(text="x" * 30_000))
            await asyncio.sleep(0)
        server.should_exit = True
        await until(lambda: not server.server_state.connections)


def with_pages(application):
    """Beside it, a page of 60 kB."""

    async def wrapped(scope, receive, send):
        if scope["type"] == "websocket":
            await application(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"60000")]})
            await send({"type": "http.response.body", "body": b"x" * 60_000})

    return wrapped


async def test_a_websocket_behind_pages_that_are_not_read_is_dropped():
    async with served(wrap=with_pages) as server, unread(server) as client:
        loop = asyncio.get_running_loop()
        await until(lambda: server.server_state.connections)
        [http] = server.server_state.connections
        while not http.flow.write_paused:
            last = http.cycle
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            # One at a time: uvicorn reads no further while a request waits for the one before it.
            await until(lambda last=last: http.cycle is not last)
            await until(lambda: http.cycle.response_complete or http.flow.write_paused)
        await loop.sock_sendall(client, HANDSHAKE)
        await _until_gone(server, left=0)


async def _until_gone(server: Server, left: int) -> None:
    await until(lambda: len(server.server_state.connections) == left)
    await until(lambda: (members(), len(connections())) == (left, left))
