"""A page of browser_site.py in a browser, and the events of its service."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from playwright.async_api import BrowserContext, Page
from websockets.asyncio.client import connect

DEADLINE = 30  # seconds, for one event on a busy machine

# For a server that is unavailable until it has started again, however long a busy machine takes: quick attempts, and
# messages that wait for them.
PATIENT = {"minDelay": 20, "maxDelay": 200, "maxAttempts": 1_000, "queueTtl": 600_000}


class Client:
    """Events are waited for in their order: each wait goes on where the last one ended."""

    _rooms = count(1)

    def __init__(self, page: Page) -> None:
        self.page = page
        self.path = f"/ws/room/{next(self._rooms)}/"  # of a room that no other test has used
        self.events: list[tuple[str, ...]] = []  # with their arguments
        self.sockets: list[str] = []  # the addresses of all that were opened
        self.console: list[str] = []  # errors and warnings
        self._seen = 0
        self._news = asyncio.Event()

    @classmethod
    async def open(cls, context: BrowserContext, url: str) -> "Client":
        """A page on which nothing has begun."""
        self = cls(await context.new_page())
        self.page.on("websocket", lambda socket: self.sockets.append(socket.url))
        self.page.on("console", lambda message: message.type in ("error", "warning") and self._log(message.text))
        self.page.on("pageerror", lambda error: self._log(str(error)))
        await self.page.expose_function("onEvent", self._on_event)
        await self.page.goto(f"{url}/page/")
        return self

    async def start(self, path: str = "", **options: Any) -> None:
        """Connect its service."""
        await self.page.evaluate("([path, options]) => start(path, options)", [path or self.path, options])

    async def connect(self, **options: Any) -> None:
        """The same, to its room, and wait until the greeting is read."""
        await self.start(**options)
        await self.event("latency")

    async def say(self, text: str) -> None:
        """Ask the server to broadcast a text, and wait for the answer."""
        await self.page.evaluate("(text) => service.request({ type: 'say', data: { text } })", text)

    async def event(self, name: str, fits: Callable[..., bool] = lambda *args: True) -> tuple[Any, ...]:
        """The arguments of the next event of this name that fits."""
        async with self._deadline(name):
            while True:
                event, *args = await self._next()
                if event == name and fits(*args):
                    return tuple(args)

    async def each(self, *names: str) -> None:
        """Wait until an event of each name came, in whatever order."""
        missing = set(names)
        async with self._deadline(" and ".join(names)):
            while missing:
                event, *_ = await self._next()
                missing.discard(event)

    async def status(self, status: str) -> Any:
        """The details of the next connectionStatus that is this one."""
        _, details = await self.event("connectionStatus", lambda word, details: word == status)
        return details

    @property
    def statuses(self) -> list[str]:
        """All of them, up to now."""
        return [args[0] for name, *args in self.events if name == "connectionStatus"]

    @property
    def texts(self) -> list[str]:
        """Of all broadcasts, up to now."""
        return [args[0]["data"]["text"] for name, *args in self.events if name == "said"]

    @property
    def position(self) -> dict[str, str]:
        """Which the last connection gave."""
        return dict(parse_qsl(urlsplit(self.sockets[-1]).query))

    @asynccontextmanager
    async def _deadline(self, awaited: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(DEADLINE):
                yield
        except TimeoutError:
            raise AssertionError(f"waited {DEADLINE} s for {awaited}; came: {self.events}") from None

    async def _next(self) -> tuple[Any, ...]:
        while self._seen == len(self.events):
            self._news.clear()
            await self._news.wait()
        self._seen += 1
        return self.events[self._seen - 1]

    def _on_event(self, *event: Any) -> None:
        self.events.append(event)
        self._news.set()

    def _log(self, text: str) -> None:
        self.console.append(text)


class Operator:
    """Somebody else who is connected, but with no browser."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def position(self) -> Any:
        """Of the greeting, which comes first."""
        greeting = json.loads(await self._socket.recv())["data"]
        return {"epoch": greeting["epoch"], "seq": greeting["seq"]}

    async def request(self, type: str, **data: Any) -> None:
        """Send it, and wait until it is done."""
        await self._socket.send(json.dumps({"type": type, "ref": 1, "data": data}))
        while json.loads(await self._socket.recv()).get("ref") != 1:
            pass


@asynccontextmanager
async def operator(url: str, path: str) -> AsyncIterator[Operator]:
    """Connected to the path."""
    async with connect(f"ws{url.removeprefix('http')}{path}") as socket:
        yield Operator(socket)
