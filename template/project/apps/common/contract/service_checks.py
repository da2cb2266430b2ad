"""The messages and the path of a feature are the same in Python and in its JavaScript service."""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern

from apps.common.checks import javascript
from apps.common.checks.application import modules, root_application, router
from apps.common.checks.endpoints import is_served, readable
from apps.common.checks.scripts import AppConfigs, Script, local_scripts
from apps.common.contract.features import answers, own_messages
from apps.common.websockets.messages import Message

SERVICE = "_websocket.js"


@register(Tags.urls)
def check_service_paths(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    found = router(root_application())
    routing = modules("routing")
    return [
        _not_in_routing(app, literal, script)
        for app, services in _services(app_configs).items()
        if app in routing
        for script in services
        for literal in javascript.endpoints(script.source)
        if _is_of_another(literal.text, routing[app].websocket_urlpatterns, found and found.routes)
    ]


@register()
def check_service_messages(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    messages = modules("messages")
    return [
        _not_named(app, message, services[0])
        for app, services in _services(app_configs).items()
        if app in messages
        for message in own_messages(messages[app])
        # An answer is matched to its request by ref, not by type.
        if message.message_type not in _answers(app)
        and not any(_names(script, message.message_type) for script in services)
    ]


def _services(app_configs: AppConfigs) -> dict[str, list[Script]]:
    """The services of each local app that has some: static/orders/js/services/orders_websocket.js."""
    configs = [config for config in app_configs or apps.get_app_configs() if config.name != "apps.common"]
    found = {
        config.name: [script for script in local_scripts([config]) if script.path.endswith(SERVICE)]
        for config in configs
    }
    return {app: services for app, services in found.items() if services}


def _answers(app: str) -> set[str]:
    found = answers((modules("consumers") or {}).get(app))
    return {answer.message_type for returned in found.values() for answer in returned}


def _names(script: Script, message_type: str) -> bool:
    """Whether the type is named, in code or in the JSDoc of an answer's type."""
    return any(quote + message_type + quote in script.source for quote in "'\"`")


def _is_of_another(endpoint: str, own: list[URLPattern], all_routes: list[URLPattern] | None) -> bool:
    """Whether no route of the feature serves the endpoint. One that no route at all serves is common.E003."""
    path = endpoint.partition("?")[0]
    if not path.startswith("/") or is_served(path, own):
        return False
    return all_routes is None or is_served(path, all_routes)


def _not_in_routing(app: str, literal: javascript.Literal, script: Script) -> Error:
    return Error(
        f"The endpoint {readable(literal.text)!r} is served by no route of {app}.routing.",
        hint=f"Write the path of {app}.routing into the service, or add a route for this one there.",
        obj=script.place(literal.line),
        id="common.E013",
    )


def _not_named(app: str, message: type[Message], script: Script) -> Error:
    return Error(
        f"{app}.messages has {message.__name__}, but the service does not name {message.message_type!r}.",
        hint=f"Send or handle {message.message_type!r} there, or remove {message.__name__} from messages.py.",
        obj=script.place(1),
        id="common.E014",
    )
