"""The ASGI application, as a WebSocket passes it, and the modules of features that only a server imports."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import django
from channels.routing import ProtocolTypeRouter, URLRouter, get_default_application
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.management import get_commands

from apps.common.checks.scripts import AppConfigs
from apps.common.features import APPS_DIR

# The attributes in which middleware keeps its inner application: this project's, Channels' own, most third-party ones.
INNER = ("application", "inner", "app")
PATTERNS = "websocket_urlpatterns"
# Commands that read these modules. Any other, such as migrate, needs none of them, and so imports none.
COMMANDS = {"check", "contract", "runserver", "test"}


@register(Tags.urls)
def check_modules(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    loaders: list[Callable[[], Any]] = [
        partial(import_module, f"{app}.{name}") for app in _features() for name in _names(app)
    ]
    found = dict(_error(error) for load in [*loaders, _application] if (error := _failure(load)))
    return list(found.values())


def root_application() -> Any:
    """The application that ASGI_APPLICATION names. None where it is not set (common.E005), cannot be imported
    (common.E017), or is not read by this command."""
    with suppress(Exception):
        return _application()
    return None


def modules(name: str) -> dict[str, ModuleType]:
    """The routing.py or messages.py of each feature, as features.modules(), but for what root_application() lacks."""
    found = {}
    for app in _features():
        if name in _names(app):
            with suppress(Exception):
                found[app] = import_module(f"{app}.{name}")
    return {app: module for app, module in found.items() if name != "routing" or hasattr(module, PATTERNS)}


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


def _is_read() -> bool:
    command = "".join(sys.argv[1:2])
    return command in COMMANDS or command not in get_commands()  # pytest, and programs of the owner's


def _features() -> list[str]:
    names = [config.name for config in apps.get_app_configs() if config.name.startswith("apps.")]
    return [name for name in names if _is_read() and find_spec(f"{name}.routing")]


def _names(app: str) -> list[str]:
    return [name for name in ("messages", "consumers", "routing") if find_spec(f"{app}.{name}")]


def _application() -> Any:
    if not getattr(settings, "ASGI_APPLICATION", None) or not _is_read():
        return None
    with _set_up_once(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # WhiteNoise warns about files that collectstatic has not collected yet
        return get_default_application()


@contextmanager
def _set_up_once() -> Iterator[None]:
    """For asgi.py, which sets Django up: a second time would configure logging again."""
    setup, django.setup = django.setup, lambda set_prefix=True: None
    try:
        yield
    finally:
        django.setup = setup


def _failure(load: Callable[[], Any]) -> Exception | None:
    try:
        load()
    except Exception as error:
        # Channels raises its own in place of an ImportError: the cause is that, if it is within the project.
        inner = error.__context__
        return inner if isinstance(inner, Exception) and _place(inner) else error
    return None


def _error(error: Exception) -> tuple[str, Error]:
    """The error by its cause: what one module raises, each that imports it does, too."""
    place = _place(error)
    cause = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    message = Error(
        f"The WebSocket server cannot start: {cause}",
        hint="Correct it there; until then the checks of routes and messages leave that module out.",
        obj=place or settings.ASGI_APPLICATION,
        id="common.E017",
    )
    return f"{place} {cause}", message


def _place(error: Exception) -> str:
    """Where the project's own code raised it, as apps/orders/routing.py:1; "" if none did."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [f"{os.path.relpath(file)}:{line}" for file, line in places if _is_own(Path(file))]
    return own[-1] if own else ""


def _is_own(file: Path) -> bool:
    return file.is_relative_to(APPS_DIR.parent) and "site-packages" not in file.parts and file != Path(__file__)
