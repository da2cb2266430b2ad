"""Checks for production: manage.py check --deploy."""

from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from channels.security.websocket import OriginValidator
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.utils.module_loading import import_string

from apps.common.checks.application import middleware_chain, root_application
from apps.common.checks.scripts import AppConfigs
from apps.common.websockets.access.origin import OriginCheck

W001 = Warning(
    "The channel layer is in memory: with more than one process, a broadcast reaches the pages of its own alone.",
    hint="Set REDIS_URL. Where one process serves the whole site, add 'common.W001' to SILENCED_SYSTEM_CHECKS.",
    id="common.W001",
)
W002 = Warning(
    "ALLOWED_HOSTS allows any host: a page of any site may open a WebSocket, with its visitor's cookies.",
    hint="Name the hosts in ALLOWED_HOSTS: example.com, or .example.com for all below it.",
    id="common.W002",
)
W003 = Warning(
    "Nothing checks the origin of a WebSocket: a page of any site may open one, with its visitor's cookies.",
    hint="Wrap the routes in asgi.py: OriginCheck(SessionAuth(URLRouter(…))).",
    id="common.W003",
)


@register(Tags.security, deploy=True)
def check_channel_layer(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    backends = [config.get("BACKEND") for config in channel_layers.configs.values()]
    return [W001] if any(map(_is_memory, backends)) else []


@register(Tags.security, deploy=True)
def check_hosts(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    return [W002] if "*" in settings.ALLOWED_HOSTS else []


@register(Tags.security, deploy=True)
def check_origin(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    application = root_application()
    is_checked = any(map(_checks_origin, middleware_chain(application)))
    return [] if application is None or is_checked else [W003]


def _is_memory(backend: Any) -> bool:
    try:
        return issubclass(import_string(backend), InMemoryChannelLayer)
    except (ImportError, TypeError, AttributeError):  # common.E007
        return False


def _checks_origin(layer: Any) -> bool:
    if isinstance(layer, OriginValidator):  # Channels' own
        return "*" not in layer.allowed_origins
    return isinstance(layer, OriginCheck)
