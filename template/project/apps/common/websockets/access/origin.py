"""The origin check: browsers send cookies with a WebSocket whatever page opens it."""

import logging
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host

from apps.common.websockets.protocol import CloseCode

logger = logging.getLogger(__name__)

LOCAL_HOSTS = [".localhost", "127.0.0.1", "[::1]"]  # as Django allows while DEBUG is on and ALLOWED_HOSTS is empty


class OriginCheck:
    """ASGI middleware that refuses a WebSocket opened by a page of another site."""

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
