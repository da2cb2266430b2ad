"""The ASGI application: HTTP goes to Django; a WebSocket passes the origin check, the session, and the routes."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
http = get_asgi_application()  # sets Django up; what is imported below needs it

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from apps.common.features import websocket_urlpatterns  # noqa: E402
from apps.common.websockets.access.origin import OriginCheck  # noqa: E402
from apps.common.websockets.access.sessions import SessionAuth  # noqa: E402
from apps.common.websockets.asgi import UnknownPath, lifespan  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": OriginCheck(SessionAuth(URLRouter([*websocket_urlpatterns(), UnknownPath.route()]))),
        "lifespan": lifespan,
    }
)
