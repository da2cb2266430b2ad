"""The project with one more page, which has the base service and nothing else, and with consumers to try it on.

A process of its own serves it; see process.py.
"""

import asyncio
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path, re_path

from config.asgi import http  # first: it sets Django up

# isort: split
from apps.common.fragments import Action, Fragment
from apps.common.tests import rows_page
from apps.common.websockets.access.origin import OriginCheck
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.asgi import UnknownPath, lifespan
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.protocol import encode
from config.urls import urlpatterns as urls_of_the_project

PAGE = """{% extends "base.html" %}
{% block head %}
    <script type="module" nonce="{{ csp_nonce }}">
        import '/static/js/components/connection_status.js';
        import { applyFragment } from '/static/js/components/fragments.js';
        import { BaseWebSocketService } from '/static/js/services/websocket.js';

        class Service extends BaseWebSocketService {
            emit(event, ...args) {
                super.emit(event, ...args);
                // An Error is not copied to the test with its code.
                window.onEvent?.(event, ...args.map((arg) => arg instanceof Error ? { code: arg.code } : arg));
            }
        }

        window.BaseWebSocketService = BaseWebSocketService;
        window.start = (path, options) => {
            window.endpoint = path;
            window.service = new Service({ endpoint: () => window.endpoint, ...options });
            window.service.on('error', () => {});
            window.service.on('fragment', applyFragment);
            document.querySelector('connection-status').service = window.service;
            window.service.connect();
        };
    </script>
{% endblock %}
{% block content %}<h1>Connection</h1> <connection-status></connection-status><ul id="list"></ul>{% endblock %}
"""


class Say(Message):
    text: str


class Said(Message):
    text: str


class Work(Message):
    """Takes its time."""

    seconds: float


class Show(Message):
    """HTML for the list."""

    action: Action
    target: str
    html: str


class Drain(Message):
    """A deploy is at hand."""

    within: float


class RoomConsumer(BaseWebSocketConsumer):
    """Lets everyone into a room."""

    heartbeat_seconds = 0.2  # type: ignore[assignment]

    async def is_allowed(self) -> bool:
        return True

    async def connect(self) -> None:
        self.group_name = "room." + self.scope["url_route"]["kwargs"]["room"]
        await super().connect()

    async def handle_say(self, data: Say) -> None:
        await self.broadcast(Said(text=data.text))

    async def handle_show(self, data: Show) -> None:
        await abroadcast(self.group_name, Fragment(**data.model_dump()))

    async def handle_work(self, data: Work) -> None:
        await asyncio.sleep(data.seconds)

    async def handle_drain(self, data: Drain) -> None:
        for connection in get_registry().connections:
            connection.write(encode({"type": "draining", "data": {"within": data.within}}))


class QuietConsumer(RoomConsumer):
    """Wants no ping for as long as a test lasts."""

    heartbeat_seconds = 3_600


class MembersConsumer(RoomConsumer):
    """Lets in who is signed in."""

    async def is_allowed(self) -> bool:
        return await BaseWebSocketConsumer.is_allowed(self)


class ClosingConsumer(AsyncWebsocketConsumer):
    """Accepts, and then closes with the code that its path says."""

    async def connect(self) -> None:
        await self.accept()
        await self.close(int(self.scope["url_route"]["kwargs"]["code"]), "As you wish.")


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


settings.ROOT_URLCONF = __name__
urlpatterns: list[Any] = [path("page/", page), *rows_page.urlpatterns, *urls_of_the_project]
application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": OriginCheck(
            SessionAuth(
                URLRouter(
                    [
                        re_path(r"^ws/room/(?P<room>\w+)/$", RoomConsumer.as_asgi()),
                        re_path(r"^ws/quiet/(?P<room>\w+)/$", QuietConsumer.as_asgi()),
                        re_path(r"^ws/members/(?P<room>\w+)/$", MembersConsumer.as_asgi()),
                        re_path(r"^ws/close/(?P<code>\d+)/$", ClosingConsumer.as_asgi()),
                        UnknownPath.route(),
                    ]
                )
            )
        ),
        "lifespan": lifespan,
    }
)
