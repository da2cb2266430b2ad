"""python-socketio under uvicorn, as its documentation has it: an event that is acknowledged, and one for a room."""

import os
from typing import Any

import socketio

# With REDIS_URL, what it publishes passes through Redis or Valkey.
manager = socketio.AsyncRedisManager(url) if (url := os.environ.get("REDIS_URL")) else None
server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], client_manager=manager)
application = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: Any, auth: Any) -> None:
    async with server.session(sid) as session:
        session["room"] = auth["room"]
    if auth["room"] != "/ws/echo/":
        await server.enter_room(sid, auth["room"])


@server.event
async def echo(sid: str, data: Any) -> Any:
    return data


@server.event
async def publish(sid: str, data: Any) -> None:
    session = await server.get_session(sid)
    for _ in range(data.get("times", 1)):
        await server.emit("news", {"text": data["text"]}, room=session["room"])
