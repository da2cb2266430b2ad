"""Pages with live rows, which lose their connection and reconnect, to one server or another."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.served.faults import Process

Row = dict[str, Any]


class RowsPage:
    """Applies what it is sent as the browser's LiveRows does."""

    def __init__(self, servers: Sequence[Process], cookie: str, is_staff: bool, seed: int) -> None:
        self.rows: list[Row] = []
        self.is_staff = is_staff
        self.states = self.changes = self.drops = 0
        self.too_much: list[Row] = []
        self._servers = servers
        self._cookie = cookie
        self._chance = random.Random(seed)  # noqa: S311
        self._query: dict[str, Any] = {}
        self._parts: list[Row] = []
        self._connection: ClientConnection | None = None
        self.rested = asyncio.Event()  # set after all that the server sent before it answers "rest"; see site/steps

    @property
    def items(self) -> str:
        return "".join(row["item"] for row in self.rows)

    async def run(self) -> None:
        while True:
            server = self._chance.choice(self._servers)
            address = f"ws://127.0.0.1:{server.port}/ws/orders/?{urlencode(self._query)}"
            headers = {"Cookie": self._cookie, "Origin": f"http://127.0.0.1:{server.port}"}
            try:
                async with connect(address, additional_headers=headers, open_timeout=5) as self._connection:
                    async for text in self._connection:
                        self._take(json.loads(text))
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError):
                self._connection = None
            await asyncio.sleep(self._chance.uniform(0.05, 0.5))

    def drop(self) -> None:
        if self._connection:
            self.drops += 1
            self._connection.transport.abort()

    def _take(self, message: dict[str, Any]) -> None:
        data = message.get("data", {})
        match message["type"]:
            case "welcome" if data.get("state"):
                self._query.pop("epoch", None)
                self._parts = []
            case "welcome":
                self._query |= {"epoch": data["epoch"], "seq": data["seq"]}
            case "rest":
                self.rested.set()
            case "state":
                self._take_state(data)
            case "changes":
                self._query["view"] = data["view"]
                for change in data["messages"]:
                    self._change(change["type"], dict(change["data"]))
        self.too_much += [row for row in self.rows if row["status"] == "paid" and not self.is_staff]

    def _take_state(self, data: dict[str, Any]) -> None:
        self._parts += [each["data"] for each in data["messages"]]
        if data["complete"]:
            self.rows, self._parts = self._parts, []
            self.states += 1
            self._query |= {name: data[name] for name in ("view", "epoch", "seq") if name in data}

    def _change(self, type_: str, row: Row) -> None:
        self.changes += 1
        keys = [each["id"] for each in self.rows]
        here = keys.index(row["id"]) if row["id"] in keys else len(keys)
        rest = [each for each in self.rows if each["id"] != row["id"]]
        if type_ == "order_saved":
            after = row.pop("after")
            others = [key for key in keys if key != row["id"]]
            unknown = here if after is not None else 0  # after an unknown row: where it is, or last
            rest.insert(others.index(after) + 1 if after in others else unknown, row)
        self.rows = rest
