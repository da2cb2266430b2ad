"""A server's end of an ASGI connection, for tests of what lies directly beneath it."""

import asyncio
from collections.abc import Callable
from typing import Any

CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1001}


def text(value: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": value}


async def until(happens: Callable[[], object]) -> None:
    """Let the others work until it is so; fails after 5 s."""
    async with asyncio.timeout(5):
        while not happens():
            await asyncio.sleep(0)


class Handover:
    """A server that hands its events over, as ours does, with `push`."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._waiting = list(messages)
        self._sink: Callable[[Any], object] | None = None

    def deliver_to(self, sink: Callable[[Any], object] | None) -> list[dict[str, Any]]:
        waiting, self._waiting = self._waiting, []
        self._sink = sink
        return waiting

    def push(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            if self._sink:
                self._sink(message)
            else:
                self._waiting.append(message)

    async def receive(self) -> dict[str, Any]:
        raise AssertionError("events are handed over")


class Transport:
    """Records whether it was cut."""

    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


class Wire:
    """Gives an application what `push` takes, and keeps what it sends. `stall` makes `send` wait, as for a peer that
    does not read."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.transport = Transport()  # where uvicorn has it, too
        self.sent: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._changed = asyncio.Condition()
        self.push(*messages)

    def push(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self._incoming.put_nowait(message)

    def stall(self) -> None:
        self._writable.clear()

    def resume(self) -> None:
        self._writable.set()

    async def receive(self) -> dict[str, Any]:
        return await self._incoming.get()

    async def send(self, message: dict[str, Any]) -> None:
        await self._writable.wait()
        if self.failure:
            raise self.failure
        self.sent.append(message)
        async with self._changed:
            self._changed.notify_all()

    async def until_sent(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many messages were sent."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: len(self.sent) >= count)
        return self.sent
