"""The floor: an ASGI application without a framework. Echoes, and hands a publisher's frame to every subscriber."""

import json
from collections import defaultdict
from typing import Any

rooms: defaultdict[str, dict[Any, None]] = defaultdict(dict)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] != "/ws/echo/":
        await fan_out(rooms[scope["path"]], receive, send)
    else:
        while (message := await receive())["type"] == "websocket.receive":
            json.loads(message["text"])
            await send({"type": "websocket.send", "text": message["text"]})


async def fan_out(members: dict[Any, None], receive: Any, send: Any) -> None:
    members[send] = None
    try:
        while (message := await receive())["type"] == "websocket.receive":
            data = json.loads(message["text"])["data"]
            text = json.dumps({"type": "news", "data": {"text": data["text"]}})
            for _ in range(data.get("times", 1)):
                for member in list(members):
                    await member({"type": "websocket.send", "text": text})
    finally:
        members.pop(send, None)
