"""websockets with its broadcast(): echoes, or hands a publisher's frame to every subscriber. PORT=8000"""

import asyncio
import json
import os
from collections import defaultdict
from contextlib import suppress
from typing import Any

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def handle(connection: ServerConnection) -> None:
    assert connection.request
    path = connection.request.path
    if path.startswith("/ws/echo/"):
        async for text in connection:
            json.loads(text)
            await connection.send(text)
        return
    members = rooms[path]
    members.add(connection)
    with suppress(ConnectionClosedError):  # without a close frame, as the clients of a benchmark leave
        async for text in connection:
            data: Any = json.loads(text)["data"]
            news = json.dumps({"type": "news", "data": {"text": data["text"]}})
            for _ in range(data.get("times", 1)):
                broadcast(members, news)
    members.discard(connection)


async def main() -> None:
    async with serve(handle, "127.0.0.1", int(os.environ["PORT"]), compression=None, ping_interval=20) as server:
        await server.serve_forever()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
