"""The bounds of a client's use of the process: memory in bytes, the time of others, and connections."""

import asyncio
import gc
import time
import tracemalloc

import pytest
from django.contrib.auth.models import AnonymousUser

from apps.common import uvicorn_protocol
from apps.common.testing import connect
from apps.common.uvicorn_protocol import FRAMES_AT_ONCE, MAX_FRAGMENTS
from apps.common.websockets.messages import Message
from apps.common.websockets.process import registry
from apps.common.websockets.process.metrics import counts

from .serving import PATH, PublicConsumer, connections, members, serve
from .test_uvicorn import HANDSHAKE, page, served
from .wire import CONNECT, Wire, until

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 1024 * 1024


class Work(Message):
    pass


class Take(Message):
    anything: list | dict | str = ""


class SlowConsumer(PublicConsumer):
    linger_seconds = 0.01

    async def handle_work(self, data: Work) -> None:
        await asyncio.Event().wait()

    async def handle_take(self, data: Take) -> None:
        await asyncio.Event().wait()


# ---------------------------------------------------------------------------------------------------------------------
# Memory
# ---------------------------------------------------------------------------------------------------------------------

LIMIT = SlowConsumer.max_bytes
FAT = {
    "objects": "{}",
    "lists": "[]",
    "objects in objects": '{"":{}}',
    "strings": '"語"',
    "numbers": "1.5",
    "text": '"' + "x" * 40 + '"',
}


def fat(value: str, type: str = "take") -> str:
    """A message full of one kind of value, as large as it may be."""
    head = f'{{"type":"{type}","data":{{"anything":['
    count = (LIMIT - len(head) - 10) // (len(value.encode()) + 1)
    return head + ",".join([value] * count) + "]}}"


@pytest.mark.parametrize("waits_behind", ["work", "take"])
@pytest.mark.parametrize("kind", FAT)
async def test_a_connection_takes_at_most_2_mib_whatever_it_sends(kind, waits_behind):
    wire = Wire(CONNECT)
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": AnonymousUser()}
    running = asyncio.create_task(SlowConsumer()(scope, wire.receive, wire.send))
    await wire.until_sent(2)
    wire.stall()  # and it reads nothing
    messages = [fat(FAT[kind], waits_behind) for _ in range(SlowConsumer.burst - 10)]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for message in messages:
            # A server hands each text over once.
            wire.push({"type": "websocket.receive", "text": message[:-1] + "}"})
        await until(lambda: wire._incoming.empty())
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 2 * MIB
    finally:
        tracemalloc.stop()
    running.cancel()
    await asyncio.wait([running])


async def test_all_connections_together_stay_below_the_limit_and_the_greediest_is_shed(settings):
    settings.WEBSOCKET_WAITING_BYTES = MIB
    shed = counts()["shed_connections"]
    application = serve(SlowConsumer)
    async with connect(PATH, application=application) as modest:
        await modest.send("work")
        greedy = []
        for _ in range(6):
            client = connect(PATH, application=application)
            greedy.append(client)
            one = await client.__aenter__()
            await one.send("work")
            for _ in range(60):
                await one.send_text('{"type":"work","x":"' + "x" * 20_000 + '"}')
        await until(lambda: counts()["shed_connections"] > shed)
        assert sum(each.waiting_bytes for each in connections()) < MIB * 9 / 8
        await modest.assert_alive()
        for client in greedy:
            await client.__aexit__(None, None, None)


# ---------------------------------------------------------------------------------------------------------------------
# Number
# ---------------------------------------------------------------------------------------------------------------------


async def test_anonymous_visitors_of_one_address_have_a_limit_of_their_own(user, other_user):
    limited = serve(PublicConsumer, max_connections_per_address=2, max_connections=1)
    async with connect(PATH, application=limited), connect(PATH, application=limited):
        async with connect(PATH, application=limited) as third:
            await third.assert_closed(4429)
        async with connect(PATH, user, application=limited) as ann, connect(PATH, other_user, application=limited):
            await ann.assert_silent()
            async with connect(PATH, user, application=limited) as second:
                await second.assert_closed(4429)
    async with connect(PATH, application=limited) as again:
        await again.assert_silent()


async def test_a_connection_is_in_a_bounded_number_of_groups():
    class Follow(Message):
        group: str

    class Following(PublicConsumer):
        max_groups = 3

        async def handle_follow(self, data: Follow) -> None:
            await self.join(data.group)

    async with connect(PATH, application=serve(Following)) as client:
        for name in ("a", "b", "b"):
            await client.request("follow", group=name)
        assert (await client.request("follow", group="c"))["data"]["code"] == "too_many_groups"
        await client.assert_alive()
        assert (members("a"), members("b"), members("c")) == (1, 1, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Frames that never become a message, on a real server
# ---------------------------------------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes = b"", fin: bool = True) -> bytes:
    """A client's frame, masked with zeros. Source: RFC 6455, 5.2."""
    assert len(payload) < 126
    return bytes([(0x80 if fin else 0) | opcode, 0x80 | len(payload)]) + bytes(4) + payload


CONT, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10
FLOODS = {
    "pings": frame(PING, b"x" * 125) * 40_000,
    "pongs": frame(PONG) * 200_000,
    "empty messages": frame(TEXT) * 200_000,
    "small messages": frame(TEXT, b"{}") * 200_000,
    "fragments": frame(TEXT, fin=False) + frame(CONT, fin=False) * 200_000,
    "fragments with pings": frame(TEXT, fin=False) + (frame(CONT, fin=False) + frame(PING)) * 100_000,
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_ends_and_no_other_notices(kind, caplog):
    async with served(PublicConsumer) as server, page(server) as other:
        await other.recv()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: len(server.server_state.connections) == 2)
        writer.write(FLOODS[kind])
        longest = 0.0
        while len(server.server_state.connections) > 1:
            began = time.thread_time()  # of this event loop's own work, whatever else the machine does
            await other.send('{"type":"ping"}')
            await asyncio.wait_for(other.recv(), 5)
            longest = max(longest, time.thread_time() - began)
        writer.transport.abort()
        assert longest < 0.25
        await until(lambda: members() == 1)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_who_sends_frames_before_the_handshake_is_answered_is_dropped(caplog):
    asked = asyncio.Event()

    class HesitantConsumer(PublicConsumer):
        async def is_allowed(self) -> bool:
            asked.set()
            await until(lambda: not server.server_state.connections)
            return True

    async with served(HesitantConsumer) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HANDSHAKE)
        await asked.wait()
        writer.write(frame(PONG))
        await until(lambda: not server.server_state.connections and not connections())
        writer.transport.abort()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_slow_fragments_are_bounded_too():
    async with served(PublicConsumer) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: members() == 1)
        writer.write(frame(TEXT, fin=False))
        assert MAX_FRAGMENTS < FRAMES_AT_ONCE
        writer.write(frame(CONT, fin=False) * MAX_FRAGMENTS)
        rest = await asyncio.wait_for(reader.read(), 10)
        assert b"\x03\xf1too many fragments" in rest  # 1009
        writer.transport.abort()
        await until(lambda: not members())


@pytest.mark.parametrize("then", [b"", frame(TEXT, b'{"type":"ping"}') * 100, frame(PING) * 100, b"\xff" * 100])
async def test_a_client_that_ignores_a_close_is_dropped(then, monkeypatch):
    monkeypatch.setattr("apps.common.websockets.connection.connection.END_SECONDS", 0.1)
    async with served(PublicConsumer) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: members() == 1)
        [connection] = connections()
        await connection.close(4403)
        writer.write(then)
        await asyncio.wait_for(_until_end(reader), 5)
        await until(lambda: not server.server_state.connections and not connections())
        writer.transport.abort()


async def test_a_client_that_never_completes_its_message_is_closed_as_silent(monkeypatch):
    monkeypatch.setattr(registry, "HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr("apps.common.websockets.connection.connection.END_SECONDS", 0.1)
    silent = type("Silent", (PublicConsumer,), {"silent_seconds": 0.2})
    async with served(silent) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(TEXT, b"half", fin=False) + frame(TEXT, b"x" * 100)[:20])
        rest = await asyncio.wait_for(reader.read(), 10)
        assert b"\x11\x38" in rest  # 4408
        writer.transport.abort()
        await until(lambda: not members())


async def _until_end(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65_536):
            pass
    except ConnectionResetError:
        pass


async def test_ten_times_nothing_is_left_of_connections_that_came_and_went_in_every_bad_way():
    async with served(PublicConsumer) as server:
        for kind in FLOODS.values():
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
            writer.write(HANDSHAKE + kind[:50_000])
            writer.transport.abort()
        await until(lambda: not server.server_state.connections and not connections() and not members())
        assert not registry.get_registry()._by_address


# ---------------------------------------------------------------------------------------------------------------------
# Handshakes
# ---------------------------------------------------------------------------------------------------------------------


def handshake(**headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return HANDSHAKE[:-2] + more.encode() + b"\r\n"


async def answer_to(port: int, *sent: bytes) -> bytes:
    """The beginning of the server's answer; b"" if it closes without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in sent:
        writer.write(part)
    try:
        return await asyncio.wait_for(reader.read(100), 5)
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Cookie": "a=" + "v" * 4_000}, b"101"),
        ({"Cookie": "a=" + "v" * 8_300}, b"400"),
        ({"Cookie": "a=" + "v" * 60_000}, b"400"),
        ({f"X_{number}": "x" for number in range(200)}, b"400"),
        ({f"X_{number}": "x" * 4_000 for number in range(50)}, b"400"),
    ],
)
async def test_a_handshake_of_any_size_gets_an_answer(headers, status):
    async with served(PublicConsumer) as server:
        answer = await answer_to(server.port, handshake(**headers))
        assert answer.startswith(b"HTTP/1.1 " + status)
        await until(lambda: not connections() and not server.server_state.connections)


@pytest.mark.parametrize("sent", [b"", b"GET /ws/1/ HT", HANDSHAKE[:-2], b"GET /" + b"x" * 1_000])
async def test_a_handshake_that_is_never_complete_ends(sent, monkeypatch):
    async with served(PublicConsumer) as server, page(server) as other:
        await other.recv()
        monkeypatch.setattr(uvicorn_protocol, "REQUEST_SECONDS", 0.1)
        assert not (await answer_to(server.port, sent)).startswith(b"HTTP/1.1 101")
        await until(lambda: len(server.server_state.connections) == 1)
        await other.send('{"type":"ping"}')
        assert await other.recv() == '{"type":"pong"}'


async def test_beyond_the_limit_a_websocket_is_refused_and_a_request_is_answered(monkeypatch):
    monkeypatch.setattr(uvicorn_protocol, "MAX_WEBSOCKETS", 2)
    monkeypatch.setattr(uvicorn_protocol, "MAX_CONNECTIONS", 4)
    async with served(PublicConsumer) as server:
        async with page(server), page(server):
            assert (await answer_to(server.port, HANDSHAKE)).startswith(b"HTTP/1.1 503")
            idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(6)]
            await until(lambda: len(server.server_state.connections) == 4)
            request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            assert (await answer_to(server.port, request)).startswith(b"HTTP/1.1 ")
            assert members() == 2
            for _, writer in idle:
                writer.transport.abort()
        await until(lambda: not server.server_state.connections)
        assert (await answer_to(server.port, HANDSHAKE)).startswith(b"HTTP/1.1 101")
