"""Whole messages pass the WebSocket parser by: whatever a client sends, the same events arrive as without that."""

import asyncio
import struct
from functools import cache

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from apps.common.server import UVICORN_OPTIONS
from apps.common.uvicorn_protocol import READ_BYTES, BoundedProtocol

from .wire import until

HANDSHAKE = (
    b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
SIZES = [0, 1, 124, 125, 126, 127, READ_BYTES - 9, READ_BYTES - 8, READ_BYTES - 7, 65_535, 65_536]


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data):
        self.written += data

    def close(self):
        self.is_closed = True

    abort = close

    def is_closing(self):
        return self.is_closed

    def pause_reading(self):
        """Nothing reads."""


class Parsed:
    """Counts what the parser is given."""

    def __init__(self, protocol) -> None:
        self.count = 0
        self._receive_data = protocol.conn.receive_data
        protocol.conn.receive_data = self.receive_data

    def receive_data(self, data):
        self.count += 1
        self._receive_data(data)


async def application(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await scope["state"]["end"].wait()


@cache
def configured(**options) -> uvicorn.Config:
    config = uvicorn.Config(application, lifespan="off", **UVICORN_OPTIONS | options)
    config.load()
    return config


async def receive(chunks, has_sink=True, **options):
    """The events that these give, what was written, whether it closed, and how many chunks were parsed."""
    events, end = [], asyncio.Event()
    protocol = BoundedProtocol(configured(**options), ServerState(), {"end": end})
    transport = Transport()
    protocol.connection_made(transport)
    protocol.data_received(HANDSHAKE)
    await until(lambda: protocol.handshake_complete)
    if has_sink:
        protocol.deliver_to(events.append)
    parsed = Parsed(protocol)
    transport.written = b""
    for chunk in chunks:
        if not transport.is_closed:
            protocol.data_received(chunk)
    if not has_sink:
        events = protocol.queue.take_all()
    result = events, transport.written, transport.is_closed, parsed.count
    end.set()
    await asyncio.gather(*protocol.tasks)
    protocol.stop_keepalive()
    return result


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    chunks = []
    for length in lengths:
        chunks.append(data[:length])
        data = data[length:]
    return [chunk for chunk in [*chunks, data] if chunk]


def masked(first: int, payload: bytes, mask: bytes = b"mask") -> bytes:
    """A frame as a client sends it, with this first byte: RFC 6455, 5.2."""
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65_536:
        head = bytes([first, 0xFE]) + struct.pack("!H", size)
    else:
        head = bytes([first, 0xFF]) + struct.pack("!Q", size)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


TEXT = 0x81
masks = st.binary(min_size=4, max_size=4)
firsts = st.sampled_from([TEXT] * 6 + [0x01, 0x00, 0x00, 0x80, 0x80, 0x82, 0x89, 0x8A, 0x88, 0xC1, 0x09])
frames = st.builds(masked, firsts, st.binary(max_size=200) | st.text(max_size=200).map(str.encode), masks)
texts = st.builds(masked, st.just(TEXT), st.text(max_size=200).map(str.encode), masks)
streams = st.lists(texts | frames | st.binary(max_size=20), max_size=8)


@settings(max_examples=200, deadline=None)
@given(parts=streams, is_cut=st.booleans(), lengths=st.lists(st.integers(1, 150), max_size=10))
def test_whatever_comes_gives_the_same_events(parts, is_cut, lengths):
    chunks = cut(b"".join(parts), lengths) if is_cut else [part for part in parts if part]

    async def both():
        return await receive(chunks), await receive(chunks, has_sink=False)

    (events, *ending, parsed), (other_events, *other_ending, other_parsed) = asyncio.run(both())
    assert (events, ending) == (other_events, other_ending)
    assert parsed <= other_parsed


@pytest.mark.parametrize("size", SIZES)
async def test_a_message_of_any_size_arrives(size):
    data = masked(TEXT, b"x" * size)
    events, written, is_closed, parsed = await receive([data])
    assert events == [{"type": "websocket.receive", "text": "x" * size}]
    assert (written, is_closed) == (b"", False)
    assert (parsed == 0) == (len(data) <= READ_BYTES)  # a larger one, and only that, is parsed


async def test_a_length_that_is_longer_than_it_must_be_is_left_to_the_parser():
    long = b"\x81\xfe" + struct.pack("!H", 5) + bytes(4) + b"hello"
    events, *_, parsed = await receive([long])
    assert (events, parsed) == ([{"type": "websocket.receive", "text": "hello"}], 1)


@pytest.mark.parametrize("options", [{"ws_max_size": 1_000}, {"ws_per_message_deflate": True}])
async def test_with_a_smaller_limit_or_compression_every_message_is_parsed(options):
    data = masked(TEXT, b"x" * 1_001)
    *_, parsed = await receive([data], **options)
    assert parsed == 1
