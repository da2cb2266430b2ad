"""The link between two programs does what a schedule says."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ClassVar

import pytest

from tests.served.chaos.network import Link

Scenario = Callable[[Link, list[bytes]], Awaitable[None]]


class Peer:
    """A client of an echo server, beyond the link."""

    all: ClassVar[list["Peer"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, link: Link) -> "Peer":
        peer = cls(*await asyncio.open_connection("127.0.0.1", link.port))
        cls.all.append(peer)
        return peer

    def send(self, text: bytes) -> None:
        self.writer.write(text)

    async def read(self) -> bytes:
        return await asyncio.wait_for(self._reader.read(100), 5)

    async def reads_nothing(self) -> bool:
        try:
            await asyncio.wait_for(self._reader.read(100), 0.2)
        except TimeoutError:
            return True
        return False


def through_a_link(scenario: Scenario) -> None:
    """Run it with a link to an echo server, and with what this server received."""

    async def run() -> None:
        received: list[bytes] = []
        echoes: list[asyncio.Task[None]] = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            echoes.append(asyncio.create_task(echo(reader, writer)))

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(100):
                    received.append(data)
                    writer.write(data)
                received.append(b"end")
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        link = Link(lambda: server.sockets[0].getsockname()[1])
        await link.open()
        try:
            await scenario(link, received)
        finally:
            for peer in Peer.all:
                peer.writer.close()
            Peer.all.clear()
            await link.close()
            server.close()
            await asyncio.gather(*echoes)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def test_passes_everything_on_in_both_directions() -> None:
    async def scenario(link: Link, received: list[bytes]) -> None:
        peer = await Peer.connect(link)
        peer.send(b"a")
        assert await peer.read() == b"a"
        peer.writer.write_eof()
        assert await peer.read() == b""
        assert received == [b"a", b"end"]

    through_a_link(scenario)


def test_a_cut_link_resets_its_connections_and_refuses_others_until_it_is_healed() -> None:
    async def scenario(link: Link, received: list[bytes]) -> None:
        peer = await Peer.connect(link)
        peer.send(b"a")
        await peer.read()
        link.cut()
        with pytest.raises(ConnectionResetError):
            await peer.read()
        refused = await Peer.connect(link)
        with pytest.raises(ConnectionResetError):
            await refused.read()
        link.heal()
        peer = await Peer.connect(link)
        peer.send(b"b")
        assert await peer.read() == b"b"

    through_a_link(scenario)


def test_a_delay_is_that_of_each_direction() -> None:
    async def scenario(link: Link, received: list[bytes]) -> None:
        peer = await Peer.connect(link)
        link.delay(0.1)
        start = time.monotonic()
        peer.send(b"a")
        assert await peer.read() == b"a"
        assert time.monotonic() - start >= 0.2

    through_a_link(scenario)


def test_what_a_stalled_link_holds_arrives_when_it_is_healed_though_its_sender_has_closed() -> None:
    async def scenario(link: Link, received: list[bytes]) -> None:
        peer = await Peer.connect(link)
        link.stall("up")
        peer.send(b"a")
        peer.writer.close()
        assert await (await Peer.connect(link)).reads_nothing()
        assert received == []
        link.heal()
        await until(lambda: received[:1] == [b"a"])

    through_a_link(scenario)


def test_a_link_stalled_downwards_delivers_upwards() -> None:
    async def scenario(link: Link, received: list[bytes]) -> None:
        peer = await Peer.connect(link)
        link.stall("down")
        peer.send(b"a")
        await until(lambda: received == [b"a"])
        assert await peer.reads_nothing()
        link.heal()
        assert await peer.read() == b"a"

    through_a_link(scenario)


def test_a_forgotten_connection_is_silent_for_good_and_another_one_works() -> None:
    async def scenario(link: Link, received: list[bytes]) -> None:
        forgotten = await Peer.connect(link)
        forgotten.send(b"a")
        await forgotten.read()
        link.forget()
        forgotten.send(b"b")
        forgotten.writer.write_eof()
        assert await forgotten.reads_nothing()
        peer = await Peer.connect(link)
        peer.send(b"c")
        assert await peer.read() == b"c"
        assert received == [b"a", b"c"]

    through_a_link(scenario)
