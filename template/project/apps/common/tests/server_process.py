"""Serves this test's consumer in a process of its own, as production does: `python -m …server_process`.

Prints its port, once it listens. The environment says which database and which Redis.
"""

import os
from socket import socket

import uvicorn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

http = get_asgi_application()

from apps.common.server import UVICORN_OPTIONS  # noqa: E402
from apps.common.tests.serving import serve  # noqa: E402
from apps.common.websockets.asgi import lifespan  # noqa: E402
from apps.common.websockets.base_consumer import BaseWebSocketConsumer  # noqa: E402
from apps.common.websockets.messages import Message  # noqa: E402


class Say(Message):
    text: str


class SayResult(Message):
    text: str


class Said(Message):
    text: str


class SayingConsumer(BaseWebSocketConsumer):
    group_name = "room"

    async def handle_say(self, data: Say) -> SayResult:
        await self.broadcast(Said(text=data.text))
        return SayResult(text=data.text)


class PublicSayingConsumer(SayingConsumer):
    async def is_allowed(self) -> bool:
        return True


class TellingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def application(consumer: type[BaseWebSocketConsumer]) -> ProtocolTypeRouter:
    return ProtocolTypeRouter({"http": http, "websocket": serve(consumer), "lifespan": lifespan})


if __name__ == "__main__":
    TellingServer(uvicorn.Config(application(SayingConsumer), port=0, **UVICORN_OPTIONS)).run()
