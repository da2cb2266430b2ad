"""picows (Cython): echoes, or hands a publisher's frame to every subscriber. PORT=8000 python picows_server.py"""

import asyncio
import json
import os
from collections import defaultdict
from typing import Any

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

rooms: defaultdict[bytes, dict[WSTransport, None]] = defaultdict(dict)


class Echo(WSListener):  # type: ignore[misc]
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            text = frame.get_payload_as_bytes()
            json.loads(text)
            transport.send(WSMsgType.TEXT, text)


class Member(WSListener):  # type: ignore[misc]
    def __init__(self, path: bytes) -> None:
        self.members = rooms[path]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.members[transport] = None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.members.pop(transport, None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        data = json.loads(frame.get_payload_as_bytes())["data"]
        news = json.dumps({"type": "news", "data": {"text": data["text"]}}).encode()
        for _ in range(data.get("times", 1)):
            for member in self.members:
                member.send(WSMsgType.TEXT, news)


def listener(request: WSUpgradeRequest) -> WSListener:
    path = bytes(request.path)
    return Echo() if path.startswith(b"/ws/echo/") else Member(path)


async def main() -> None:
    server: Any = await ws_create_server(listener, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
