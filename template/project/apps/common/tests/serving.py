"""Serves a test's own consumer, through what every WebSocket of the project meets first."""

from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from apps.common.websockets.access.origin import OriginCheck
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.asgi import UnknownPath
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.registry import get_registry

PATH = "/ws/1/"


class PublicConsumer(BaseWebSocketConsumer):
    """Lets everyone into the group "room"."""

    async def connect(self) -> None:
        self.group_name = "room"
        await super().connect()

    async def is_allowed(self) -> bool:
        return True


def serve(consumer: type[BaseWebSocketConsumer], **attributes: Any) -> Any:
    """The application of a consumer at PATH, with other class attributes if given: max_bytes=100."""
    if attributes:
        consumer = type(consumer.__name__, (consumer,), attributes)
    routes = [re_path(r"^ws/(?P<room>\w+)/$", consumer.as_asgi()), UnknownPath.route()]
    return OriginCheck(SessionAuth(URLRouter(routes)))


def connections() -> list[Any]:
    """The open connections, in order of connecting."""
    return list(get_registry().connections)


def consumers() -> list[Any]:
    """Their consumers."""
    return [connection.consumer for connection in connections()]


def members(group: str = "room") -> int:
    """How many connections are in the group."""
    return get_hub().members(group)
