"""Stock Channels, as its tutorial has it: a consumer that echoes, and one that broadcasts to its group.

It runs inside the same generated project, with the same settings, database and channel layer: the consumers and the
middleware alone differ.
"""

import os
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import re_path  # noqa: E402


class EchoConsumer(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content):
        if content["type"] == "block":
            await sync_to_async(time.sleep)(0.5)
        else:
            await self.send_json(content)


class IdleConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        if self.scope["user"].is_authenticated:
            await self.accept()
        else:
            await self.close()


class FanoutConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.group = self.scope["path"].strip("/").replace("/", ".")
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content):
        event = {"type": "broadcast_message", "data": {"type": "news", "data": {"text": content["data"]["text"]}}}
        for _ in range(content["data"].get("times", 1)):
            await self.channel_layer.group_send(self.group, event)

    async def broadcast_message(self, event):
        await self.send_json(event["data"])


routes = [
    re_path(r"^ws/echo/$", EchoConsumer.as_asgi()),
    re_path(r"^ws/idle/$", IdleConsumer.as_asgi()),
    re_path(r"^ws/(fanout|room/\d+)/$", FanoutConsumer.as_asgi()),
]
application = ProtocolTypeRouter({"websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes)))})
