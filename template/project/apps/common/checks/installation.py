"""The settings, routes and addresses that the common part needs; docs/existing-project.md lists them."""

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from channels.layers import channel_layers
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.handlers.asgi import ASGIHandler
from django.core.management import get_commands
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, URLPattern, get_script_prefix, is_valid_path, resolve
from django.utils.module_loading import import_string
from django.utils.translation import get_language

from apps.common import features
from apps.common.checks.application import middleware_chain, modules, root_application, router
from apps.common.checks.scripts import AppConfigs
from apps.common.features import live_pages, local_apps

E004 = Error(
    "manage.py runserver speaks no WebSocket: another app's comes before that of apps.common.",
    hint="Put 'apps.common' first in INSTALLED_APPS, before 'django.contrib.staticfiles'.",
    id="common.E004",
)
E005 = Error(
    "ASGI_APPLICATION is not set: there is nothing to serve a WebSocket.",
    hint="Name the application of asgi.py in the settings: ASGI_APPLICATION = 'mysite.asgi.application'.",
    id="common.E005",
)
E006 = Error(
    "No WebSocket reaches a route: the application in asgi.py is for HTTP alone.",
    hint=(
        "In asgi.py: ProtocolTypeRouter({'http': …, 'websocket': OriginCheck(SessionAuth(URLRouter([…]))), "
        "'lifespan': lifespan})."
    ),
    id="common.E006",
)
E007 = Error(
    "There is no channel layer named 'default', or its BACKEND cannot be imported: a broadcast reaches no client.",
    hint="Set CHANNEL_LAYERS, for one process: {'default': {'BACKEND': 'channels.layers.InMemoryChannelLayer'}}.",
    id="common.E007",
)
E008 = Error(
    "REDIS_URL is not among the settings.",
    hint="Set REDIS_URL = os.environ.get('REDIS_URL', ''); empty means memory, which is right for one process.",
    id="common.E008",
)
E016 = Error(
    "The sessions are in signed cookies, which cannot be revoked: a logout does not close the user's connections.",
    hint="Set SESSION_ENGINE to another one, such as 'django.contrib.sessions.backends.cached_db'.",
    id="common.E016",
)
W005 = Warning(
    "The application in asgi.py does not show its WebSocket routes, so it is unknown whether a feature is served.",
    hint=(
        "Make it a ProtocolTypeRouter; a wrapper may keep the inner application as self.app. If the routes are right, "
        "add 'common.W005' to SILENCED_SYSTEM_CHECKS."
    ),
    id="common.W005",
)
W006 = Warning(
    "LOGIN_URL leads nowhere: an anonymous visitor of a live page gets an error instead of a login page.",
    hint="Until you have a login page of your own: LOGIN_URL = 'admin:login'.",
    id="common.W006",
)
W007 = Warning(
    "Sites on one Redis server receive each other's messages, unless each has a prefix of its own.",
    hint="Set WEBSOCKET_PREFIX, and the 'prefix' in CHANNEL_LAYERS to redis_prefix(WEBSOCKET_PREFIX, REDIS_URL).",
    id="common.W007",
)


@register()
def check_settings(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    has_own_runserver = get_commands()["runserver"] not in ("django.core", "django.contrib.staticfiles")
    found = [
        (E004, has_own_runserver),
        (E005, bool(getattr(settings, "ASGI_APPLICATION", ""))),
        (E007, _is_importable(channel_layers.configs.get("default", {}).get("BACKEND"))),
        (E008, hasattr(settings, "REDIS_URL")),
        (E016, not _are_in_cookies(settings.SESSION_ENGINE)),
    ]
    return [error for error, is_right in found if not is_right]


@register()
def check_prefix(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    if not getattr(settings, "REDIS_URL", ""):
        return []
    layers = [each for each in channel_layers.configs.values() if each.get("BACKEND", "").startswith("channels_redis.")]
    prefixes = [each.get("CONFIG", {}).get("prefix", "asgi") for each in layers]  # Channels' default
    return [] if hasattr(settings, "WEBSOCKET_PREFIX") and "asgi" not in prefixes else [W007]


@register()
def check_features(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    left_out = local_apps(already_installed=settings.INSTALLED_APPS)
    return [_not_installed(app) for app in left_out if _has_routes(app)]


@register(Tags.urls)
def check_application(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    application = root_application()
    if application is None:  # E005
        return []
    if found := router(application):
        served = set(_consumers(found.routes))
        return [_not_routed(app) for app, routes in _routes().items() if not served.issuperset(_consumers(routes))]
    *_, innermost = middleware_chain(application)
    return [E006] if isinstance(innermost, ASGIHandler | ProtocolTypeRouter) else [W005]


@register(Tags.urls)
def check_live_pages(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    return [_not_in_urls(page) for page in live_pages() if not _is_shown(page)]


@register(Tags.urls)
def check_login_page(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    asks = any(map(_asks_to_sign_in, live_pages()))
    return [W006] if asks and not _is_served(settings.LOGIN_URL) else []


def _has_routes(app: str) -> bool:
    """As its folder says: an app that is not installed is not imported either."""
    return (features.APPS_DIR / app.removeprefix("apps.") / "routing.py").exists()


def _is_importable(name: Any) -> bool:
    try:
        return bool(import_string(name))
    except (ImportError, TypeError, AttributeError):
        return False


def _are_in_cookies(session_engine: str) -> bool:
    try:
        return issubclass(import_module(session_engine).SessionStore, SignedCookies)
    except (ImportError, AttributeError):  # which Django reports
        return False


def _routes() -> dict[str, list[URLPattern]]:
    return {app: module.websocket_urlpatterns for app, module in modules("routing").items()}


def _consumers(routes: list[URLPattern]) -> Iterator[Any]:
    """The consumers of these routes. One that is wrapped in another path is the same consumer still."""
    for route in routes:
        if isinstance(route.callback, URLRouter):
            yield from _consumers(route.callback.routes)
        else:
            yield getattr(route.callback, "consumer_class", route.callback)


def _is_shown(page: ModuleType) -> bool:
    """Whether its address leads to its view, and not to a route before it that takes any address."""
    try:
        return resolve(page.URL).func in [pattern.callback for pattern in page.urlpatterns]
    except Resolver404:
        return False


def _asks_to_sign_in(page: ModuleType) -> bool:
    """Whether one of its views is for those who are signed in: login_required notes so, and where else it sends to."""
    return any(getattr(pattern.callback, "login_url", "") is None for pattern in page.urlpatterns)


def _is_served(url: Any) -> bool:
    """Whether an address, or the name of a view, leads to a page, as far as a check can know."""
    try:
        address = urlsplit(resolve_url(url))
    except NoReverseMatch:
        return False
    if address.netloc or not address.path.startswith(get_script_prefix()):
        return True  # by another site, or by what else this host has
    path = f"/{address.path.removeprefix(get_script_prefix())}"
    # The others are what CommonMiddleware and LocaleMiddleware make of an address that is not there.
    return any(map(is_valid_path, [path, f"{path}/", f"/{get_language() or settings.LANGUAGE_CODE}{path}"]))


def _not_installed(app: str) -> Error:
    return Error(
        f"{app} is not installed: no page of it connects.",
        hint=f"Add *local_apps() or {app!r} to INSTALLED_APPS.",
        id="common.E009",
    )


def _not_routed(app: str) -> Error:
    return Error(
        f"The routes of {app} are not in asgi.py: no page of it connects.",
        hint=f"In asgi.py: URLRouter([*websocket_urlpatterns(), UnknownPath.route()]). It takes in {app}.routing.",
        id="common.E010",
    )


def _not_in_urls(page: ModuleType) -> Warning:
    return Warning(
        f"The live page of {page.__package__} is not served: {page.URL} leads elsewhere, or nowhere.",
        hint="In urls.py, before a route that takes any address: the urlpatterns of each page of live_pages().",
        id="common.W004",
    )
