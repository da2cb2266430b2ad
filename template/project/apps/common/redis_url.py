"""REDIS_URL and WEBSOCKET_PREFIX, as the settings and the stream store read them."""

import re
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured

HINT = "For example redis://127.0.0.1:6379/0, rediss://… with TLS, or unix:///run/redis.sock?db=0."


def redis_prefix(name: str, url: str) -> str:
    """The beginning of all keys and channels of a project: a name that each project on one server has for itself, and
    the number of its database, since the databases of a server share their channels.

    Raises ImproperlyConfigured for another name or URL than Redis takes.
    """
    if not re.fullmatch(r"[\w.-]{1,100}", name, re.ASCII):
        raise ImproperlyConfigured(f"WEBSOCKET_PREFIX is {name!r}: give up to 100 letters, digits, '_', '.' and '-'.")
    # In braces: all keys belong together in a cluster.
    return f"{{{name}:{_database(url)}}}"


def _database(url: str) -> int:
    """The number of the database in a Redis URL. The errors do not show it: it may have a password."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(f"REDIS_URL does not begin with redis://, rediss:// or unix://. {HINT}")
    with suppress(ValueError):
        parts = urlsplit(url)
        is_socket = parts.scheme == "unix"
        path = "" if is_socket else parts.path.strip("/")
        number = int(parse_qs(parts.query).get("db", [path or "0"])[0])
        has_place = bool(parts.path if is_socket else parts.hostname and parts.port != 0)
        if has_place and number >= 0 and not parts.fragment:
            return number
    raise ImproperlyConfigured(
        "REDIS_URL has a host, port or database that cannot be read. Write '/', '#', '?' and '%' in a password as "
        f"%2F, %23, %3F and %25. {HINT}"
    )
