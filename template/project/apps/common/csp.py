"""A Content-Security-Policy on every page, which keeps a browser from running a script that somebody slipped in.

Django has this from 6.0 on, and 5.2 does not. These few lines do it for all, under Django's names: on 6.0 or later
"django.middleware.csp.ContentSecurityPolicyMiddleware" and "django.template.context_processors.csp" may take their
place in the settings, with the same SECURE_CSP.
"""

import secrets
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

NONCE = "<CSP_NONCE_SENTINEL>"  # stands for the request's nonce in SECURE_CSP; Django's CSP.NONCE is the same
HEADER = "Content-Security-Policy"


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Gives each request a nonce, and each response the policy of SECURE_CSP, unless the view set one."""

    def process_request(self, request: HttpRequest) -> None:
        request.csp_nonce = secrets.token_urlsafe(16)  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        # Django's own error pages, which DEBUG shows, have inline styles and scripts.
        if settings.DEBUG and response.status_code >= 400:
            return response
        # Django's decorator csp_override leaves a view's policy here, and {} for none.
        directives = getattr(response, "_csp_config", settings.SECURE_CSP)
        if directives and HEADER not in response.headers:
            response.headers[HEADER] = policy(directives, nonce(request)["csp_nonce"], _is_page(response))
        return response


def nonce(request: HttpRequest) -> dict[str, Any]:
    """For templates: <script nonce="{{ csp_nonce }}"> is an inline script that runs."""
    return {"csp_nonce": getattr(request, "csp_nonce", None)}


def policy(directives: dict[str, list[str]], nonce: str, is_page: bool = True) -> str:
    """The header's value. A page's policy also allows the import map by its content, since a page from a cache has
    another nonce, and the origin of a storage that is neither this site nor STATIC_URL's host."""
    from apps.common import import_map  # which needs the settings, and they import this module

    own = import_map.origin() if is_page else ""
    allowed = f"'nonce-{nonce}'"
    if is_page and not settings.DEBUG:  # on a developer's machine no page comes from a cache
        allowed = f"{allowed} {import_map.content_hash()}"
    header = "; ".join(" ".join([name, *_with(own, name, sources)]) for name, sources in directives.items())
    return header.replace(NONCE, allowed)


def _with(origin: str, name: str, sources: list[str]) -> list[str]:
    is_own = name in ("default-src", "script-src") and "'self'" in sources
    return [*sources, origin] if origin and is_own and origin not in sources else sources


def _is_page(response: HttpResponseBase) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


def own_sources(static_url: str) -> list[str]:
    """Where this site's files come from: itself, and the host of its static files if that is another."""
    url = urlsplit(static_url)
    host = f"{url.scheme}://{url.netloc}" if url.scheme else url.netloc
    return ["'self'", host] if host else ["'self'"]
