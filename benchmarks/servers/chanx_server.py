"""chanx, as its documentation has it: typed messages on Channels, with DRF's permissions. In the generated project."""

import os
from typing import Literal

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from chanx.channels.authenticator import DjangoAuthenticator  # noqa: E402
from chanx.channels.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from chanx.core.decorators import channel, ws_handler  # noqa: E402
from chanx.messages.base import BaseMessage  # noqa: E402
from django.urls import re_path  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402


class Text(BaseModel):
    text: str


class Published(Text):
    times: int = 1


class Echo(BaseMessage):
    action: Literal["echo"] = "echo"
    payload: Text


class EchoResult(BaseMessage):
    action: Literal["echo_result"] = "echo_result"
    payload: Text


class Publish(BaseMessage):
    action: Literal["publish"] = "publish"
    payload: Published


class News(BaseMessage):
    action: Literal["news"] = "news"
    payload: Text


class SignedIn(DjangoAuthenticator):
    permission_classes = (IsAuthenticated,)


@channel(name="echo")
class EchoConsumer(AsyncJsonWebsocketConsumer):
    @ws_handler(output_type=EchoResult)
    async def echo(self, message: Echo) -> EchoResult:
        return EchoResult(payload=message.payload)


@channel(name="idle")
class IdleConsumer(EchoConsumer):
    authenticator_class = SignedIn


@channel(name="fanout")
class FanoutConsumer(AsyncJsonWebsocketConsumer):
    async def post_authentication(self) -> None:
        await self.join_group(self.scope["path"].strip("/").replace("/", "."))

    @ws_handler(output_type=News)
    async def publish(self, message: Publish) -> None:
        news = News(payload=Text(text=message.payload.text))
        for _ in range(message.payload.times):
            await self.broadcast_message(news)


routes = [
    re_path(r"^ws/echo/$", EchoConsumer.as_asgi()),
    re_path(r"^ws/idle/$", IdleConsumer.as_asgi()),
    re_path(r"^ws/(fanout|room/\d+)/$", FanoutConsumer.as_asgi()),
]
application = ProtocolTypeRouter({"websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes)))})
