"""uvicorn's protocols, with bounds where they have none: for handshakes, for frames that are no messages, for clients
that do not read, and for the connections of a process.

A consumer's limits count messages of connections that are accepted. Everything before, beneath and beside is bounded
here. The WebSocket's also takes frames past ASGI: see `Frames` in websockets/connection/frames.py.
"""

import asyncio
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    HTTPProtocol: Any = object
    apply_mask: Any = None
else:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HTTPProtocol
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as HTTPProtocol
    try:
        from websockets.speedups import apply_mask
    except ImportError:
        apply_mask = None

if sys.platform == "win32":
    DESCRIPTORS = 1_000_000
else:
    from resource import RLIMIT_NOFILE, getrlimit

    DESCRIPTORS = getrlimit(RLIMIT_NOFILE)[0]  # that the process may open

BACKLOG = 128  # connections that an event loop accepts at a time, before it looks at any of them
# The rest is for what is being accepted and closed, and for databases, Redis and files.
MAX_CONNECTIONS = max(DESCRIPTORS - 3 * BACKLOG - 128, DESCRIPTORS // 4)
MAX_WEBSOCKETS = MAX_CONNECTIONS - 64  # the rest is for pages, and for /ready/
REQUEST_SECONDS = 10.0  # until a request line and its headers are complete
MAX_HEADER_BYTES = 64 * 1024  # of them; a WebSocket's single header may have 8 KiB
FRAMES_PER_SECOND = 1_000  # of one client, of any kind
FRAMES_AT_ONCE = 4_000  # then a client is closed, with TOO_FAST
MAX_FRAGMENTS = 1_000  # of one message
READ_BYTES = 16 * 1024  # that are parsed at a time; an event loop may read 256 KiB at once
MAX_UNREAD = 8  # messages, or one of so many bytes, that wait for the application before reading pauses
UNREAD_BYTES = 4 * 1024
ABORT_SECONDS = 1.0  # after a close, for a client that does not read
TOO_FAST, TOO_LARGE = 4429, 1009
OWN_HEADERS = {b"authorization", b"cookie", b"sec-websocket-key", b"x-forwarded-for"}  # no other client sends the same
WRITABLE = asyncio.Event()  # of all connections whose client reads; one of its own would take 800 bytes
WRITABLE.set()


class BoundedHTTPProtocol(HTTPProtocol):
    """An HTTP connection: a request must be complete in time. Beyond MAX_CONNECTIONS, the one that has waited for its
    request the longest is closed."""

    _waiting: "dict[BoundedHTTPProtocol, asyncio.TimerHandle]" = {}  # for a request, in order
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > MAX_CONNECTIONS:
            next(iter(self._waiting)).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_idle():
            self._header_bytes += len(data)
            self._wait()
        super().data_received(data)
        if not self._is_idle() or self.transport.get_protocol() is not self:  # a request, or a WebSocket by now
            self._stop_waiting()
        elif self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")

    def on_response_complete(self) -> None:
        self._header_bytes = 0
        super().on_response_complete()

    def handle_websocket_upgrade(self, *event: Any) -> None:
        if self.flow.write_paused:  # of which the WebSocket is not notified
            self.abort()
        else:
            super().handle_websocket_upgrade(*event)
            self.__dict__.pop("parser", None)  # refers to this object, which would stay until a garbage collection

    def abort(self) -> None:
        """Drop the connection."""
        self._stop_waiting()
        self.transport.abort()

    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _wait(self) -> None:
        if self not in self._waiting:
            self._waiting[self] = self.loop.call_later(REQUEST_SECONDS, self.abort)

    def _stop_waiting(self) -> None:
        if timer := self._waiting.pop(self, None):
            timer.cancel()


class _Queue:
    """The part of asyncio.Queue that uvicorn uses, without its deques, which take 3 KiB of each connection. With a
    sink, nothing waits here."""

    __slots__ = ("_items", "_waiters", "sink")

    def __init__(self) -> None:
        self._items: list[Any] = []  # MAX_UNREAD, and a few of uvicorn's own
        self._waiters: list[asyncio.Future[None]] = []
        self.sink: Callable[[Any], object] | None = None

    def qsize(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        return not self._items

    def take_all(self) -> list[Any]:
        items, self._items = self._items, []
        return items

    def put_nowait(self, item: Any) -> None:
        if self.sink:
            self.sink(item)
            return
        self._items.append(item)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def get(self) -> Any:
        while not self._items:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return self._items.pop(0)


def _is_between_frames(parser: Any) -> bool:
    """Whether the generator of websockets that parses a connection waits for a frame, and not for the rest of one."""
    while (inner := parser.gi_yieldfrom) is not None:
        parser = inner
    return bool(parser.__name__ == "at_eof")


def _drop(event: Any) -> None:
    """For events of a connection that is over."""


@lru_cache(maxsize=256)
def _share(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """The same object for a header that many clients send."""
    return header


class BoundedProtocol(WebSocketsSansIOProtocol):
    """One connection, and its Frames. What it does not override is uvicorn's."""

    # Some of uvicorn's attributes: with more than 30, each takes 50 bytes of a dictionary, instead of 8.
    __slots__ = (
        "_may_pass_by", "app", "app_state", "asgi_version", "client", "close_timeout", "config", "connections",
        "curr_msg_data_type", "default_headers", "loop", "ping_interval", "ping_timeout", "request", "response",
        "root_path", "scheme", "scope", "server", "tasks",
    )  # fmt: skip

    takes_frames = False
    on_stop: Callable[[], None] | None = None
    queue: Any  # _Queue

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = _Queue()
        self.writable = WRITABLE
        self._may_pass_by = False  # the parser
        self._frames = float(FRAMES_AT_ONCE)  # that may come
        self._counted_at = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_frames()
        super().connection_lost(exc)

    def start_keepalive(self) -> None:
        super().start_keepalive()  # the handshake is complete, and uvicorn keeps it
        self.request.headers.clear()
        self.response.headers.clear()
        self.takes_frames = self.writable.is_set() and not self.conn.extensions  # compressed, each one's would differ
        self._may_pass_by = bool(apply_mask and self.config.ws_max_size >= READ_BYTES and not self.conn.debug)

    def deliver_to(self, sink: Callable[[Any], object] | None) -> list[Any]:
        self.queue.sink = sink or _drop
        waiting: list[Any] = self.queue.take_all()
        return waiting

    def pause_writing(self) -> None:
        self.writable = asyncio.Event()
        super().pause_writing()
        self._stop_frames()

    def resume_writing(self) -> None:
        super().resume_writing()
        is_open = self.handshake_complete and not (self.close_sent or self.disconnected or self.transport.is_closing())
        self.takes_frames = is_open and not self.conn.extensions

    def eof_received(self) -> None:
        self._stop_frames()
        super().eof_received()
        self._abort_soon()  # the transport closes, as soon as the client has read what is left

    def shutdown(self) -> None:
        self._stop_frames()
        super().shutdown()
        self._abort_soon()

    def _stop_frames(self) -> None:
        self.takes_frames = False
        if on_stop := self.on_stop:
            self.on_stop = None
            on_stop()

    def handle_connect(self, event: Any) -> None:
        if len(self.connections) > MAX_WEBSOCKETS:
            self._reject(503, "Too many connections.")
        else:
            super().handle_connect(event)
            if headers := getattr(self, "scope", {}).get("headers"):
                headers[:] = [each if each[0] in OWN_HEADERS else _share(each) for each in headers]

    def data_received(self, data: bytes) -> None:
        if (sink := self.queue.sink) and (text := self._only_message(data)) is not None:
            if self._is_within_bounds():
                sink({"type": "websocket.receive", "text": text})
            return
        for start in range(0, len(data), READ_BYTES):
            if start and self.transport.is_closing():
                return
            super().data_received(data[start : start + READ_BYTES])
        if self.conn.handshake_exc and not self.handshake_complete and not self.transport.is_closing():
            self._reject(400, "The headers are too large or malformed.")

    def _only_message(self, data: bytes) -> str | None:
        """The text of data that is one whole message and nothing else, as most are: RFC 6455, 5.2. The parser, which
        costs five times as much, takes all other data, and refuses some."""
        is_usual = self._may_pass_by and self.takes_frames and not (self.frames or self.close_sent)
        if not is_usual or not _is_between_frames(self.conn.parser):
            return None
        size = len(data)
        if size < 132:
            head = 6
            if size < head or data[0] != 0x81 or data[1] != 0x80 | size - head:
                return None
        else:
            head = 8
            is_whole = data[0] == 0x81 and data[1] == 0xFE and int.from_bytes(data[2:4], "big") == size - head
            if not is_whole or size > READ_BYTES:
                return None
        try:
            text: str = apply_mask(data[head:], data[head - 4 : head]).decode()
        except UnicodeDecodeError:
            return None
        return text

    def handle_text(self, event: Any) -> None:
        if self._is_within_bounds():
            super().handle_text(event)

    def handle_bytes(self, event: Any) -> None:
        if self._is_within_bounds():
            super().handle_bytes(event)

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self._refuse(TOO_LARGE, "too many fragments")
        elif self._is_within_bounds():
            super().handle_cont(event)

    def handle_close(self, event: Any) -> None:
        self._stop_frames()
        super().handle_close(event)
        if self.transport.is_closing():
            self._abort_soon()

    def send_receive_event_to_app(self) -> None:
        # uvicorn pauses reading at each message, and resumes when the application takes it: two system calls.
        is_paused, self.read_paused = self.read_paused, True
        size = sum(map(len, self.frames))
        super().send_receive_event_to_app()
        self.read_paused = is_paused
        is_much = not self.queue.sink and (size > UNREAD_BYTES or self.queue.qsize() >= MAX_UNREAD)
        if is_much and not (is_paused or self.close_sent or self.disconnected):
            self.read_paused = True
            self.transport.pause_reading()

    def handle_ping(self) -> None:
        if not self._is_within_bounds():
            return
        if self.conn.close_rcvd:
            return  # of the same segment: handle_close() writes the answers to both
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the client does not read: the pong is dropped

    def handle_pong(self, event: Any) -> None:
        if self._is_within_bounds():
            super().handle_pong(event)

    def handle_parser_exception(self) -> None:
        self._stop_frames()
        super().handle_parser_exception()
        self._abort_soon()
        self.disconnected = True  # what the application still sends meets a client that has left

    def keepalive_timeout(self) -> None:
        self._stop_frames()
        super().keepalive_timeout()
        self._abort_soon()

    def _is_within_bounds(self) -> bool:
        if not self.handshake_complete:  # RFC 6455, 4.1: the client must wait for the response
            self.disconnected = True
            self.transport.abort()
            return False
        # A token bucket, as in connection/rate_limit.py; an object for each connection would cost memory.
        now = self.loop.time()
        self._frames = min(self._frames + (now - self._counted_at) * FRAMES_PER_SECOND, FRAMES_AT_ONCE) - 1
        self._counted_at = now
        if self._frames < 0:
            self._refuse(TOO_FAST, "too many frames")
        return self._frames >= 0

    def _reject(self, status: int, text: str) -> None:
        head = f"HTTP/1.1 {status} \r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}"
        self.handshake_complete = self.close_sent = True
        self.transport.write(f"{head}\r\n\r\n{text}".encode())
        self.transport.close()

    def _refuse(self, code: int, reason: str) -> None:
        self.frames = []
        if self.close_sent or self.transport.is_closing():
            return
        self._stop_frames()
        from apps.common.websockets.process.metrics import count  # uvicorn imports this module before Django is set up

        count("refused_connections")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.disconnected = True
        self.transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        # close() waits until the peer has read what was written to it.
        transport: asyncio.Transport = self.transport
        self.loop.call_later(ABORT_SECONDS, transport.abort)
