"""The floor: an ASGI application without a framework. Echoes, and hands a publisher's frame to every subscriber."""

import json
from typing import Any

members: dict[Any, None] = {}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/ws/fanout/":
        await fan_out(receive, send)
    else:
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


async def fan_out(receive: Any, send: Any) -> None:
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
