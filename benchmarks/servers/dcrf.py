"""djangochannelsrestframework, as its documentation has it: actions, and a group. In the generated project."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import re_path  # noqa: E402
from djangochannelsrestframework.consumers import AsyncAPIConsumer  # noqa: E402
from djangochannelsrestframework.decorators import action  # noqa: E402
from djangochannelsrestframework.permissions import BasePermission  # noqa: E402


class IsSignedIn(BasePermission):
    async def can_connect(self, scope, consumer, message=None):
        return scope["user"].is_authenticated


class EchoConsumer(AsyncAPIConsumer):
    @action()
    async def echo(self, text, **kwargs):
        return {"text": text}, 200


class IdleConsumer(EchoConsumer):
    permission_classes = (IsSignedIn,)


class FanoutConsumer(AsyncAPIConsumer):
    async def accept(self, **kwargs):
        self.group = self.scope["path"].strip("/").replace("/", ".")
        await self.add_group(self.group)
        await super().accept(**kwargs)

    @action()
    async def publish(self, text, times=1, **kwargs):
        for _ in range(times):
            await self.channel_layer.group_send(self.group, {"type": "news", "text": text})

    async def news(self, event):
        await self.send_json({"type": "news", "data": {"text": event["text"]}})


routes = [
    re_path(r"^ws/echo/$", EchoConsumer.as_asgi()),
    re_path(r"^ws/idle/$", IdleConsumer.as_asgi()),
    re_path(r"^ws/(fanout|room/\d+)/$", FanoutConsumer.as_asgi()),
]
application = ProtocolTypeRouter({"websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes)))})
