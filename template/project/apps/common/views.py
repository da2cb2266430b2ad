"""The health of a process for a load balancer, and its metrics for a monitor."""

import hmac
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.decorators import sync_and_async_middleware

from apps.common.websockets.process.hub import all_members
from apps.common.websockets.process.metrics import prometheus
from apps.common.websockets.process.registry import asgi_connection_count, connection_count, is_draining
from apps.common.websockets.service import broken


def health(request: HttpRequest) -> HttpResponse:
    """For a liveness probe: the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def ready(request: HttpRequest) -> HttpResponse:
    """The process takes new connections; 503 while it is drained before a restart, or fails at what all need."""
    if is_draining():
        return HttpResponse("draining\n", content_type="text/plain", status=503)
    if broken:
        return HttpResponse(f"failing: {', '.join(sorted(broken))}\n", content_type="text/plain", status=503)
    return HttpResponse("ready\n", content_type="text/plain")


def metrics(request: HttpRequest) -> HttpResponse:
    """This process's counts, for staff, or with the header `Authorization: Bearer METRICS_TOKEN`."""
    if not (_has_token(request) or _is_staff(request.user)):
        return HttpResponseForbidden("sign in as staff, or send the METRICS_TOKEN\n", content_type="text/plain")
    text = prometheus(all_members(), connection_count(), asgi_connection_count())
    return HttpResponse(text, content_type="text/plain; version=0.0.4; charset=utf-8")


@sync_and_async_middleware
def monitoring(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware, the first of all: answers /health/ and /ready/, and /metrics/ for its token, whatever the request's
    host and scheme: a load balancer names an address or no host at all, and does not follow a redirect to HTTPS."""

    def answer(request: HttpRequest) -> HttpResponse | None:
        for view in (health, ready, metrics):
            if request.path_info == _path(view) and (view is not metrics or _has_token(request)):
                return view(request)
        return None

    if not iscoroutinefunction(get_response):
        return lambda request: answer(request) or get_response(request)

    async def middleware(request: HttpRequest) -> Any:
        return answer(request) or await get_response(request)

    return middleware


def _path(view: Callable[[HttpRequest], HttpResponse]) -> str:
    """Without the site's prefix, which a load balancer's request may lack."""
    try:
        return f"/{reverse(view).removeprefix(get_script_prefix())}"
    except NoReverseMatch:  # a project that has left it out of its urls.py
        return ""


def _has_token(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    token = getattr(settings, "METRICS_TOKEN", "").encode()
    return bool(token) and hmac.compare_digest(given, token)


def _is_staff(user: AbstractBaseUser | AnonymousUser) -> bool:
    return user.is_active and bool(getattr(user, "is_staff", False))
