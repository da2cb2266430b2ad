"""The ASGI application, as a WebSocket passes it."""

import warnings
from collections.abc import Iterator
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter, get_default_application
from django.conf import settings

# Where middleware keeps the application that it hands on to: this project's, Channels' own, most of other people's.
INNER = ("application", "inner", "app")


def outermost() -> Any:
    """What ASGI_APPLICATION names, or None where it is not set, which common.E005 tells."""
    if not getattr(settings, "ASGI_APPLICATION", None):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # WhiteNoise would miss the files that collectstatic is still to bring
        return get_default_application()


def layers(application: Any) -> Iterator[Any]:
    """The application and those that it hands on to, as far as the router or the consumer."""
    while application is not None:
        yield application
        if isinstance(application, ProtocolTypeRouter):
            application = application.application_mapping.get("websocket")
        else:
            application = next((inner for name in INNER if (inner := getattr(application, name, None))), None)


def router(application: Any) -> URLRouter | None:
    """The router inside, if there is one."""
    return next((layer for layer in layers(application) if isinstance(layer, URLRouter)), None)
