"""A client of the project's WebSockets, for tests: through the whole ASGI application, without a network.

    async with connect("/ws/orders/1/", user) as client, connect("/ws/orders/1/", user) as other:
        answer = await client.request("place_order", text="tea")
        await other.assert_broadcast("status_update", text="tea")

Every wait has a deadline, and fails with what it waited for and what arrived instead. An exception that a consumer
raises fails the test, with its traceback.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from asgiref.testing import ApplicationCommunicator
from channels.routing import get_default_application
from django.conf import settings
from django.test import AsyncClient

if TYPE_CHECKING:  # not for chromium.py, which runs without settings
    from django.contrib.auth.models import AbstractBaseUser

DEADLINE = 5.0  # seconds
ORIGIN = "http://testserver"

Message = dict[str, Any]


@asynccontextmanager
async def connect(
    path: str,
    user: "AbstractBaseUser | None" = None,
    *,
    origin: str = ORIGIN,
    application: Any = None,
    raise_exceptions: bool = True,
    page_data: str = "",
) -> AsyncIterator["Client"]:
    """A client that has connected to the path, signed in as the user, if one is given.

    origin: of the page that connects; empty for a client that is no browser.
    application: another than the project's own, for tests of a consumer without a route.
    raise_exceptions: False for a test that provokes an exception in a consumer, to see what the client receives.
    page_data: what the view's page_data() returned, with the position and the user of the page.
    """
    client = Client(path, await sign_in(user) if user else "", origin, application, raise_exceptions)
    page = json.loads(page_data or "{}")
    client.page = {name: page.pop(name) for name in ("page_user", "contract") if name in page}
    client.position = page or None
    try:
        await client.open()
        yield client
    finally:
        await client.drop()


async def sign_in(user: "AbstractBaseUser") -> str:
    """A new session of the user; its cookie, as a browser sends it."""
    client = AsyncClient()
    await client.aforce_login(cast(Any, user))
    return client.cookies[settings.SESSION_COOKIE_NAME].OutputString(attrs=[])


class Client:
    """The browser's end of a connection. `connect()` opens and drops one; a test may also do so itself."""

    waits_for_state = True  # open() returns when the state has arrived that the greeting announces

    def __init__(
        self, path: str, cookie: str = "", origin: str = ORIGIN, application: Any = None, raise_exceptions: bool = True
    ) -> None:
        self.path = path
        self.cookie = cookie
        self.messages: list[Message] = []  # that arrived and were not asked for yet
        self.received: list[Message] = []  # all, since the last open()
        self.position: dict[str, Any] | None = None  # epoch and seq, with which the next open() connects
        self.page: dict[str, Any] = {}  # page_user and contract of the page, with which it connects
        self._origin = origin
        self._application = application or get_default_application()
        self._raises = raise_exceptions
        self._exceptions = _Exceptions()
        self._refs = count(1)
        self._communicator: ApplicationCommunicator | None = None
        self._close: Message | None = None

    async def open(self) -> None:
        """Connect, and wait for the greeting, and for the state if one follows. Fails if the server refuses the
        handshake; a consumer that refuses accepts and then closes, for assert_closed()."""
        self.received, self._close = [], None
        self._exceptions.start()
        self._communicator = ApplicationCommunicator(self._serve, self._scope())
        await self.send_event({"type": "websocket.connect"})
        event = await self._next_event("the handshake")
        assert event["type"] == "websocket.accept", f"{self.path} refused the handshake: {event}"
        await self._receive("the greeting")
        while self.waits_for_state and self._expects_state() and not self._close:
            await self._receive("the state")

    async def drop(self, code: int = 1006) -> None:
        """Lose the connection, and wait until the server has cleaned up. Harmless if it is lost already."""
        if self._communicator is None:
            return
        communicator, self._communicator = self._communicator, None
        try:
            while not communicator.output_queue.empty():  # what the network has delivered
                self._take(communicator.output_queue.get_nowait())
            communicator.input_queue.put_nowait({"type": "websocket.disconnect", "code": code})
            application = communicator.future
            # Not communicator.wait(), which cancels the application at its deadline, and then returns.
            await asyncio.wait([application], timeout=DEADLINE)
            if not application.done():
                application.cancel()
                await asyncio.wait([application], timeout=DEADLINE)
                raise AssertionError(f"{self.path}: waited {DEADLINE} s for the server to end the connection")
            if not application.cancelled():
                application.result()
        finally:
            self._exceptions.stop()
        self._raise_exceptions()

    async def reconnect(self) -> None:
        """Lose the connection and connect again with the position, as a page does after a network failure."""
        await self.drop()
        await self.open()

    async def send(self, type: str, **data: Any) -> None:
        """Send a message."""
        await self.send_text(json.dumps({"type": type, "data": data}))

    async def send_text(self, text: str) -> None:
        """Send a text frame, valid JSON or not."""
        await self.send_event({"type": "websocket.receive", "text": text})

    async def send_event(self, event: dict[str, Any]) -> None:
        """Pass an ASGI event to the application, such as a binary frame."""
        assert self._communicator, f"{self.path} is not connected"
        await self._communicator.send_input(event)

    async def request(self, type: str, /, **data: Any) -> Message:
        """Send a message, and return its answer or the error that refuses it."""
        ref = next(self._refs)
        await self.send_text(json.dumps({"type": type, "ref": ref, "data": data}))
        return await self.next_message(f"the answer to {type}", lambda message: message.get("ref") == ref)

    async def assert_broadcast(self, type: str, /, **data: Any) -> Message:
        """Wait for a message of this type with at least this data."""
        expected = data.items()
        return await self.next_message(
            f"{type} with {data}", lambda message: message["type"] == type and expected <= message["data"].items()
        )

    async def assert_error(self, code: str, fields: Collection[str] | None = None) -> Message:
        """Wait for an error with this code. fields: that it names, each of them: {"item", "tags.0"}."""
        error = await self.next_message(
            f"the error {code}", lambda message: message["type"] == "error" and message["data"]["code"] == code
        )
        named = error["data"].get("fields", {})
        assert fields is None or named.keys() == set(fields), f"{code} should name {set(fields or ())}, not {named}"
        return error

    async def assert_alive(self) -> None:
        """Assert that the server answers a ping."""
        await self.send_text('{"type": "ping"}')
        await self.next_message("a pong", lambda message: message["type"] == "pong")

    async def assert_silent(self) -> None:
        """Nothing arrived but the greeting and what was asked for. A message sent before a pong arrives before it."""
        await self.assert_alive()
        unexpected = [message for message in self.messages if message["type"] != "welcome"]
        assert not unexpected, f"{self.path} should have been silent. {_list(unexpected)}"

    async def assert_closed(self, code: int) -> None:
        """Wait for the server to close the connection with this code."""
        while not self._close:
            await self._receive(f"a close with {code}")
        closed_with = self._close.get("code", 1000)
        assert closed_with == code, f"{self.path} was closed with {closed_with}, not {code}. {_list(self.received)}"

    async def next_message(self, what: str, matches: Callable[[Message], bool] = lambda message: True) -> Message:
        """The next message that matches, now or later; others stay in `messages`.

        what: is waited for, for the failure's text.
        """
        while not (found := next(filter(matches, self.messages), None)):
            assert not self._close, (
                f"{self.path}: waited for {what}; the server sent {self._close}. {_list(self.received)}"
            )
            await self._receive(what)
        self.messages.remove(found)
        return found

    async def _receive(self, what: str) -> None:
        self._take(await self._next_event(what))
        self._raise_exceptions()

    async def _next_event(self, what: str) -> dict[str, Any]:
        assert self._communicator, f"{self.path} is not connected"
        application = self._communicator.future
        getting = asyncio.create_task(self._communicator.output_queue.get())
        waits = [getting, application, *([self._exceptions.happened] if self._raises else [])]
        await asyncio.wait(waits, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            event: dict[str, Any] = getting.result()
            return event
        getting.cancel()
        self._raise_exceptions()
        if application.done():
            application.result()
        raise AssertionError(f"{self.path}: waited {DEADLINE} s for {what}. {_list(self.received)}")

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] != "websocket.send":
            self._close = event
            return
        message: Message = json.loads(event.get("text") or event["bytes"])
        # As in a page, the messages of one frame are handled one after the other.
        self.messages += message["data"]["messages"] if message["type"] == "changes" else [message]
        self.received.append(message)
        self._follow(message)

    def _expects_state(self) -> bool:
        """Whether a state was announced and has not arrived as a whole."""
        is_announced = bool(self.received) and self.received[0].get("data", {}).get("state") is True
        return is_announced and not any(_is_state(message) for message in self.received)

    def _follow(self, message: Message) -> None:
        """Keep the position and the view as the page's service does."""
        type_, data = message["type"], message.get("data", {})
        position = {name: data.get(name) for name in ("epoch", "seq")}
        is_welcome = type_ == "welcome" and not data.get("state")  # the position comes with the state
        is_lost = type_ == "resync" or (is_welcome and data["recovered"] is False)
        if position["epoch"] and (is_lost or _is_state(message) or (is_welcome and not self.position)):
            self.position = position
        elif self.position and "seq" in message:
            self.position["seq"] = message["seq"]
        if data.get("view") and type_ in ("state", "changes"):
            self.page["view"] = data["view"]

    def _scope(self) -> dict[str, Any]:
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        page = {**(self.position or {}), **self.page}
        if page:
            query = urlencode(dict(parse_qsl(query)) | page)
        headers = {"host": "testserver", "origin": self._origin, "cookie": self.cookie}
        return {
            "type": "websocket",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value],
            "client": ("127.0.0.1", 50_000),
            "subprotocols": [],
        }

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        _connection.set(self._exceptions.key)
        await self._application(scope, receive, send)

    def _raise_exceptions(self) -> None:
        exceptions = self._exceptions.take()
        if not exceptions or not self._raises:
            return
        first, *others = exceptions
        for other in others:
            first.add_note(f"Raised after it: {other!r}")
        if isinstance(first, asyncio.CancelledError):
            raise RuntimeError("A handler's own task was cancelled.") from first
        raise first


class _Exceptions(logging.Handler):
    """Collects what the consumer of a client raises: the connection logs it and survives."""

    _logger = logging.getLogger("apps.common.websockets")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.key = object()  # of the connection; the context of its tasks has it, and must not keep the event loop
        self._raised: list[BaseException] = []

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.take()
        self._logger.addHandler(self)

    def stop(self) -> None:
        self._logger.removeHandler(self)

    def take(self) -> list[BaseException]:
        """The exceptions since the last call."""
        raised, self._raised = self._raised, []
        self.happened = self._loop.create_future()  # is done when more is raised
        return raised

    def emit(self, record: logging.LogRecord) -> None:
        exception = record.exc_info and record.exc_info[1]
        if exception and _connection.get() in (None, self.key):
            self._raised.append(exception)
            self._loop.call_soon_threadsafe(_finish, self.happened)  # a thread may log, too


# The connection that runs; None in code that serves several, such as the delivery of events.
_connection: ContextVar[object] = ContextVar("connection", default=None)


def _is_state(message: Message) -> bool:
    return message["type"] == "state" and bool(message["data"]["complete"])


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _list(messages: list[Message]) -> str:
    return "\n".join(["Received:", *map(json.dumps, messages)]) if messages else "Nothing was received."
