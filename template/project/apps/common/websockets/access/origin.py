"""The origin check: browsers send cookies with a WebSocket whatever page opens it."""

import logging
from io import BytesIO
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.utils.http import is_same_domain

from apps.common.websockets.protocol import CloseCode

logger = logging.getLogger(__name__)

SCHEMES = {"ws": "http", "wss": "https"}
PORTS = {"http": ":80", "https": ":443"}


class OriginCheck:
    """ASGI middleware that refuses a WebSocket opened by a page of another site."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        origins = [value.decode("latin-1") for key, value in scope["headers"] if key == b"origin"]
        if all(is_allowed_origin(origin, scope) for origin in origins):
            await self.application(scope, receive, send)
            return
        logger.warning(
            "Refused a WebSocket from the origin %.200r to %.200r. A page of another host, scheme or port needs its "
            "origin in CSRF_TRUSTED_ORIGINS; a proxy must pass Host and X-Forwarded-Proto on, and ALLOWED_HOSTS name "
            "the host",
            ", ".join(origins),
            dict(scope["headers"]).get(b"host", b"").decode("latin-1"),
        )
        await receive()
        await send({"type": "websocket.close", "code": int(CloseCode.NOT_ALLOWED)})


def is_allowed_origin(origin: str, scope: Any) -> bool:
    """Whether a page of this origin may connect: one of this site, or of CSRF_TRUSTED_ORIGINS, as for a POST in Django.

    scope: the connection's. A page over HTTPS may also connect where a proxy does not say that it ends TLS. A client
    without an origin is no browser, and carries no cookies.
    """
    page = _split(origin)
    if page is None:
        return False
    if any(_matches(page, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS):
        return True
    request = ASGIRequest(
        {**scope, "type": "http", "method": "GET", "scheme": SCHEMES.get(scope.get("scheme", "ws"), "http")}, BytesIO()
    )
    try:
        own = _split(f"{request.scheme}://{request.get_host()}")
    except DisallowedHost:
        return False
    return own is not None and own.netloc == page.netloc and page.scheme in (own.scheme, "https")


def _split(origin: str) -> SplitResult | None:
    """An origin in lower case, without the scheme's own port and the dot of an absolute name; None if it is none."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:  # such as http://[
        return None
    if parts.scheme not in PORTS or origin.lower() != f"{parts.scheme}://{parts.netloc}" or "@" in origin:
        return None
    host, colon, port = parts.netloc.removesuffix(PORTS[parts.scheme]).partition("]")
    if not colon:
        host, _, port = host.partition(":")
        port = f":{port}" if port else ""
    return parts._replace(netloc=f"{host.removesuffix('.')}{colon}{port}")


def _matches(page: SplitResult, trusted: str) -> bool:
    pattern = _split(trusted.replace("://*.", "://."))
    return (
        pattern is not None
        and pattern.scheme == page.scheme
        and is_same_domain(page.netloc, f".{pattern.netloc.removeprefix('.')}" if "*" in trusted else pattern.netloc)
    )
