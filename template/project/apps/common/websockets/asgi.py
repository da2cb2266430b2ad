"""The ends of the ASGI application: paths without a consumer, and the server's start and stop."""

import gc
import logging
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import URLPattern, re_path

from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.streams import get_streams

logger = logging.getLogger(__name__)

NEW_OBJECTS = 5_000  # between two garbage collections; by default 700 to 2,000


class UnknownPath(AsyncWebsocketConsumer):
    """Closes the connections of a path that no feature serves with a code that names the reason."""

    async def connect(self) -> None:
        logger.warning("No consumer for %.200r; see the routing.py of the feature", self.scope["path"])
        await self.accept()
        await self.close(int(CloseCode.NO_SUCH_PATH))

    @classmethod
    def route(cls) -> URLPattern:
        """Its route: after all others, it matches every path."""
        route: URLPattern = re_path(r"", cls.as_asgi())
        return route


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Subscribe to commands when the server starts; close the groups and the stream store when it stops."""
    while (await receive())["type"] != "lifespan.shutdown":
        await get_registry().start()
        _collect_less_garbage()
        await send({"type": "lifespan.startup.complete"})
    await get_hub().close()
    await get_streams().close()
    await send({"type": "lifespan.shutdown.complete"})


def _collect_less_garbage() -> None:
    """Connections make objects that stay. Python takes them for possible garbage, and looks at them, and at all that is
    loaded, so often that it would cost a third of the time of accepting one."""
    gc.collect()
    gc.freeze()  # what is loaded by now stays
    if 0 < gc.get_threshold()[0] < NEW_OBJECTS:
        gc.set_threshold(NEW_OBJECTS)
