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
async def connect(
    path: str, user: AbstractBaseUser | None = None, *, origin: str = "http://testserver", application: Any = None
) -> AsyncIterator["Page"]:
    """A page that has connected to the path, signed in as the user, if one is given.

    application: another than the project's own, for tests of a consumer without a route.
    """
    page = Page(path, await sign_in(user) if user else "", origin, application or get_default_application())
    await page.open()
    try:
        yield page
    finally:
        await page.drop()


async def sign_in(user: AbstractBaseUser) -> str:
    """A new session of the user; its cookie, as a browser sends it."""
    client = AsyncClient()
    await client.aforce_login(cast(Any, user))
    return client.cookies[settings.SESSION_COOKIE_NAME].OutputString(attrs=[])


class Page:
    """The browser's end of a connection."""

    def __init__(self, path: str, cookie: str, origin: str, application: Any) -> None:
        self.path = path
        self.cookie = cookie
        self.frames: list[Frame] = []  # that came and were not asked for yet
        self._origin = origin
        self._application = application
        self._refs = count(1)
        self._communicator: ApplicationCommunicator | None = None

    async def open(self) -> None:
        """Connect. Fails if the server refuses the handshake; one that accepts and then closes is open first."""
        self._communicator = ApplicationCommunicator(self._application, self._scope())
        await self._communicator.send_input({"type": "websocket.connect"})
        event = await self._receive("the handshake")
        assert event["type"] == "websocket.accept", f"{self.path} refused the handshake: {event}"

    async def drop(self, code: int = 1006) -> None:
        """Lose the connection, and wait until the server has cleaned up. Harmless if it is lost already."""
        if self._communicator is None:
            return
        communicator, self._communicator = self._communicator, None
        await communicator.send_input({"type": "websocket.disconnect", "code": code})
        await communicator.wait(timeout=DEADLINE)

    async def reconnect(self) -> None:
        """Lose the connection and come back, as a page does when the network was away."""
        await self.drop()
        await self.open()

    async def send(self, type: str, **data: Any) -> None:
        """Send a frame."""
        await self.send_text(json.dumps({"type": type, "data": data}))

    async def send_text(self, text: str) -> None:
        """Send a text message, whatever it is."""
        await self.send_event({"type": "websocket.receive", "text": text})

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send what a server would tell the application, such as a binary message."""
        assert self._communicator, f"{self.path} is not connected"
        await self._communicator.send_input(event)

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

    async def assert_error(self, code: str) -> Frame:
        """Wait for an error frame with this code."""
        return await self.next_frame(
            f"the error {code}", lambda frame: frame["type"] == "error" and frame["data"]["code"] == code
        )

    async def assert_alive(self) -> None:
        """The server answers a ping."""
        await self.send_text('{"type": "ping"}')
        await self.next_frame("a pong", lambda frame: frame["type"] == "pong")

    async def assert_silent(self) -> None:
        """Nothing came but the greeting. What was sent before a ping has come when its pong has."""
        await self.assert_alive()
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
        assert self._communicator, f"{self.path} is not connected"
        try:
            event: dict[str, Any] = await self._communicator.receive_output(timeout=DEADLINE)
            return event
        except TimeoutError:
            raise AssertionError(f"{self.path}: waited {DEADLINE} s for {what}; came: {self.frames}") from None

    def _scope(self) -> dict[str, Any]:
        parts = urlsplit(self.path)
        headers = {"host": "testserver", "origin": self._origin, "cookie": self.cookie}
        return {
            "type": "websocket",
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value],
            "subprotocols": [],
        }
