"""The ASGI application, as a WebSocket passes it."""

import warnings
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from channels.routing import ProtocolTypeRouter, URLRouter, get_default_application
from django.conf import settings

# The attributes in which middleware keeps its inner application: this project's, Channels' own, most third-party ones.
INNER = ("application", "inner", "app")


def root_application() -> Any:
    """The application that ASGI_APPLICATION names, or None where it is not set (common.E005) or cannot be imported
    (common.E017)."""
    try:
        return load_application()
    except Exception:
        return None


def load_application() -> Any:
    """As root_application(), but raises what its import raises."""
    if not getattr(settings, "ASGI_APPLICATION", None):
        return None
    with warnings.catch_warnings(), patch("django.setup"):  # Django is set up; a second time changes its logging
        warnings.simplefilter("ignore")  # WhiteNoise warns about files that collectstatic has not collected yet
        return get_default_application()


def middleware_chain(application: Any) -> Iterator[Any]:
    """The application and each one inside it, down to the router or the consumer."""
    while application is not None:
        yield application
        if isinstance(application, ProtocolTypeRouter):
            application = application.application_mapping.get("websocket")
        else:
            application = next((inner for name in INNER if (inner := getattr(application, name, None))), None)


def router(application: Any) -> URLRouter | None:
    """The URLRouter that the middleware wraps; None without one."""
    return next((layer for layer in middleware_chain(application) if isinstance(layer, URLRouter)), None)
