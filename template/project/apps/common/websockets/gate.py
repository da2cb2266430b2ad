"""What a WebSocket meets before a consumer, and where there is none."""

import logging
from typing import Any
from urllib.parse import urlsplit

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http.request import validate_host
from django.urls import URLPattern, re_path

from apps.common.websockets.hub import get_hub
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.registry import get_registry

logger = logging.getLogger(__name__)

LOCAL_HOSTS = [".localhost", "127.0.0.1", "[::1]"]  # as Django allows while DEBUG is on and ALLOWED_HOSTS is empty


class OriginGate:
    """Refuses a WebSocket that a page of another site opens: browsers send cookies along wherever it comes from."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        origin = next((value for key, value in scope["headers"] if key == b"origin"), b"").decode("latin-1")
        if is_allowed_origin(origin):
            await self.application(scope, receive, send)
            return
        logger.warning("Refused a WebSocket from the origin %r; ALLOWED_HOSTS names the hosts that may connect", origin)
        await receive()
        await send({"type": "websocket.close", "code": int(CloseCode.NOT_ALLOWED)})


def is_allowed_origin(origin: str) -> bool:
    """Whether a page of this origin may connect. A client without an origin is no browser, and carries no cookies."""
    if not origin:
        return True
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:  # such as http://[
        return False
    hosts = settings.ALLOWED_HOSTS or (LOCAL_HOSTS if settings.DEBUG else [])
    return validate_host(f"[{host}]" if ":" in host else host, hosts)


class UnknownPath(AsyncWebsocketConsumer):
    """Answers a path that no feature serves, so that the page learns why."""

    async def connect(self) -> None:
        logger.warning("No consumer for %s; see the routing.py of the feature", self.scope["path"])
        await self.accept()
        await self.close(int(CloseCode.NO_SUCH_PATH))

    @classmethod
    def route(cls) -> URLPattern:
        """The last of all routes."""
        route: URLPattern = re_path(r"", cls.as_asgi())
        return route


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """The server's start and end."""
    while (await receive())["type"] != "lifespan.shutdown":
        await get_registry().start()
        await send({"type": "lifespan.startup.complete"})
    await get_hub().close()
    await send({"type": "lifespan.shutdown.complete"})
