"""The ASGI application, as a WebSocket passes it."""

import warnings
from collections.abc import Iterator
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter, get_default_application


def outermost() -> Any:
    """What ASGI_APPLICATION names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # WhiteNoise would miss the files that collectstatic is still to bring
        return get_default_application()


def layers(application: Any) -> Iterator[Any]:
    """The application and those that it hands on to, as far as the router or the consumer."""
    while application is not None:
        yield application
        if isinstance(application, ProtocolTypeRouter):
            application = application.application_mapping.get("websocket")
        else:  # Channels' own middleware keeps it as inner
            application = getattr(application, "application", None) or getattr(application, "inner", None)


def router(application: Any) -> URLRouter | None:
    """The router inside, if there is one."""
    return next((layer for layer in layers(application) if isinstance(layer, URLRouter)), None)
