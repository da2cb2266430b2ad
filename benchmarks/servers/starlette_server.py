"""Starlette, which FastAPI is built on, as its documentation has it: a loop over the connections of a manager."""

from collections import defaultdict

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

rooms: defaultdict[str, dict[WebSocket, None]] = defaultdict(dict)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_json(await websocket.receive_json())
    except WebSocketDisconnect:
        return


async def fan_out(websocket: WebSocket) -> None:
    await websocket.accept()
    members = rooms[websocket.url.path]
    members[websocket] = None
    try:
        while True:
            data = (await websocket.receive_json())["data"]
            for _ in range(data.get("times", 1)):
                for member in list(members):
                    await member.send_json({"type": "news", "data": {"text": data["text"]}})
    except WebSocketDisconnect:
        del members[websocket]


application = Starlette(
    routes=[WebSocketRoute("/ws/echo/", echo), WebSocketRoute("/ws/{room:path}", fan_out)],
)
