"""How uvicorn is run, in development and in production alike: `python -m apps.common.server`.

The environment: HOST (127.0.0.1), PORT (8000), WORKERS (1; more than one process needs REDIS_URL), and
DJANGO_SETTINGS_MODULE where the settings are not config.settings.
"""

import os
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured

DESCRIPTORS = 65_536  # that a process asks the system for

# Sources: uvicorn's documentation of its settings; sizes and times in bytes and seconds.
UVICORN_OPTIONS: dict[str, Any] = {
    "http": "apps.common.uvicorn_protocol:BoundedHTTPProtocol",
    "ws": "apps.common.uvicorn_protocol:BoundedProtocol",
    "backlog": 128,  # BACKLOG there
    # Compression costs 30 KiB for each connection and half the throughput; frames here are small.
    "ws_per_message_deflate": False,
    # Above a consumer's own max_bytes, which answers with an error; this one closes with 1009.
    "ws_max_size": 256 * 1024,
    # The server's own pings find a peer that is gone.
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    "timeout_graceful_shutdown": 10,
    "log_config": None,  # LOGGING in the settings says what is logged
}


def application() -> str:
    """ASGI_APPLICATION, as uvicorn wants it: "config.asgi:application"."""
    module, _, name = getattr(settings, "ASGI_APPLICATION", "").rpartition(".")
    if not module:
        raise ImproperlyConfigured('ASGI_APPLICATION is not set. Name yours in the settings: "mysite.asgi.application"')
    return f"{module}:{name}"


def with_static_files(application: Any) -> Any:
    """For development and tests: serves static files from where they lie, unless WhiteNoise does."""
    has_whitenoise = "whitenoise.middleware.WhiteNoiseMiddleware" in settings.MIDDLEWARE
    return application if has_whitenoise else ASGIStaticFilesHandler(application)


def main() -> None:
    """Serve until a signal ends it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    _raise_descriptors()
    workers = int(os.environ.get("WORKERS", "1"))
    if workers > 1 and not settings.REDIS_URL:
        raise ImproperlyConfigured(f"WORKERS={workers} needs REDIS_URL: processes share no memory.")
    uvicorn.run(
        application(),
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8000")),
        workers=workers,
        **UVICORN_OPTIONS,
    )


def _raise_descriptors() -> None:
    """Let the process open as many descriptors as it may: each connection needs one, and 1,024 is a usual default."""
    if sys.platform != "win32":
        from resource import RLIMIT_NOFILE, getrlimit, setrlimit

        soft, hard = getrlimit(RLIMIT_NOFILE)
        if 0 < soft < DESCRIPTORS:
            with suppress(ValueError, OSError):  # of a system that allows fewer than it says
                setrlimit(RLIMIT_NOFILE, (DESCRIPTORS if hard < 0 else min(DESCRIPTORS, hard), hard))


if __name__ == "__main__":
    main()
