"""A page, for tests: connects through the whole application, asks, and says what it expects.

    async with connect("/ws/orders/1/", user) as page, connect("/ws/orders/1/", user) as other:
        answer = await page.request("place_order", text="tea")
        await other.assert_broadcast("status_update", text="tea")

Every wait has a deadline, and fails with what it waited for and what came instead.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast
from urllib.parse import urlsplit

from asgiref.testing import ApplicationCommunicator
from channels.routing import get_default_application
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.test import AsyncClient

DEADLINE = 5.0  # seconds

Frame = dict[str, Any]


@asynccontextmanager
async def connect(path: str, user: AbstractBaseUser | None = None, origin: str = "") -> AsyncIterator["Page"]:
    """A page that has connected to the path, signed in as the user, if one is given."""
    page = Page(path, await _headers(user, origin))
    await page.open()
    try:
        yield page
    finally:
        await page.close()


class Page:
    """The browser's end of a connection."""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        self.path = path
        self.frames: list[Frame] = []  # that came and were not asked for yet
        parts = urlsplit(path)
        scope = {
            "type": "websocket",
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        self._communicator = ApplicationCommunicator(get_default_application(), scope)
        self._refs = count(1)

    async def open(self) -> None:
        await self._communicator.send_input({"type": "websocket.connect"})
        event = await self._receive("the handshake")
        assert event["type"] == "websocket.accept", f"{self.path} refused the handshake: {event}"

    async def close(self, code: int = 1000) -> None:
        """Close as a page does, and wait until the server has cleaned up."""
        await self._communicator.send_input({"type": "websocket.disconnect", "code": code})
        await self._communicator.wait(timeout=DEADLINE)

    async def send(self, type: str, **data: Any) -> None:
        """Send a frame."""
        await self.send_text(json.dumps({"type": type, "data": data}))

    async def send_text(self, text: str) -> None:
        """Send whatever it is."""
        await self._communicator.send_input({"type": "websocket.receive", "text": text})

    async def request(self, type: str, **data: Any) -> Frame:
        """Send a frame, and return its answer or the error frame that refuses it."""
        ref = next(self._refs)
        await self.send_text(json.dumps({"type": type, "ref": ref, "data": data}))
        return await self.next_frame(f"the answer to {type}", lambda frame: frame.get("ref") == ref)

    async def assert_broadcast(self, type: str, **data: Any) -> Frame:
        """Wait for a frame of this type with at least this data."""
        expected = data.items()
        return await self.next_frame(
            f"{type} with {data}", lambda frame: frame["type"] == type and expected <= frame["data"].items()
        )

    async def assert_silent(self) -> None:
        """Nothing came but the greeting. What was sent before a ping has come when its pong has."""
        await self.send_text('{"type": "ping"}')
        await self.next_frame("a pong", lambda frame: frame["type"] == "pong")
        unexpected = [frame for frame in self.frames if frame["type"] != "welcome"]
        assert not unexpected, f"{self.path} should have been silent, but sent {unexpected}"

    async def assert_closed(self, code: int) -> None:
        """Wait for the server to close the connection with this code."""
        while (event := await self._receive(f"a close with {code}"))["type"] != "websocket.close":
            self.frames.append(json.loads(event["text"]))
        assert event["code"] == code, f"{self.path} was closed with {event['code']}, not {code}"

    async def next_frame(self, what: str, fits: Callable[[Frame], bool] = lambda frame: True) -> Frame:
        """The next frame that fits, now or later; others are kept for who asks for them."""
        while not (found := next(filter(fits, self.frames), None)):
            event = await self._receive(what)
            assert event["type"] == "websocket.send", f"waited for {what}; the server closed with {event['code']}"
            self.frames.append(json.loads(event["text"]))
        self.frames.remove(found)
        return found

    async def _receive(self, what: str) -> dict[str, Any]:
        try:
            event: dict[str, Any] = await self._communicator.receive_output(timeout=DEADLINE)
            return event
        except TimeoutError:
            raise AssertionError(f"{self.path}: waited {DEADLINE} s for {what}; came: {self.frames}") from None


async def _headers(user: AbstractBaseUser | None, origin: str) -> list[tuple[bytes, bytes]]:
    headers = [(b"host", b"testserver"), (b"origin", (origin or "http://testserver").encode())]
    if user:
        client = AsyncClient()
        await client.aforce_login(cast(Any, user))
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].OutputString(attrs=[])
        headers.append((b"cookie", cookie.encode()))
    return headers
