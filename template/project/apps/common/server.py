"""How uvicorn is run, in development and in production alike: `python -m apps.common.server`.

The environment: HOST (127.0.0.1), PORT (8000), WORKERS (1; more than one process needs REDIS_URL).
"""

import os
from typing import Any

import uvicorn

# Sources: uvicorn's documentation of its settings; sizes and times in bytes and seconds.
UVICORN_OPTIONS: dict[str, Any] = {
    "ws": "websockets-sansio",
    # Compression costs 30 KiB for each connection and half the throughput; frames here are small.
    "ws_per_message_deflate": False,
    # Above a consumer's own max_bytes, which answers with an error; this one closes with 1009.
    "ws_max_size": 1024 * 1024,
    # The server's own pings find a peer that is gone.
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    "timeout_graceful_shutdown": 10,
    "log_config": None,  # LOGGING in the settings says what is logged
}


def main() -> None:
    """Serve until a signal ends it."""
    uvicorn.run(
        "config.asgi:application",
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8000")),
        workers=int(os.environ.get("WORKERS", "1")),
        **UVICORN_OPTIONS,
    )


if __name__ == "__main__":
    main()
