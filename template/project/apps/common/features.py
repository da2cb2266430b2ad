"""Finds the local apps, their WebSocket routes and their live pages.

Every folder of apps/ with an __init__.py is an app, in order of name; a feature that is added to it is live, and one
that is removed is gone. A broken one raises: nothing is skipped silently.
"""

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from django.apps import apps
from django.urls import URLPattern

APPS_DIR = Path(__file__).resolve().parent.parent


def local_apps(already_installed: Collection[str] = ()) -> list[str]:
    """The dotted names of the owner's apps: ["apps.orders", …]. apps.common, which all build on, is not among them.

    already_installed: entries of INSTALLED_APPS to leave out: "apps.users", or "apps.users.apps.UsersConfig"; or
    "users", where apps/ is on sys.path.
    """
    folders = sorted(path.parent.name for path in APPS_DIR.glob("*/__init__.py"))
    return [f"apps.{name}" for name in folders if name != "common" and not _is_listed(name, already_installed)]


def websocket_urlpatterns() -> list[URLPattern]:
    """The routes of every installed local app's routing.py, in order of INSTALLED_APPS."""
    return [pattern for module in modules("routing").values() for pattern in module.websocket_urlpatterns]


def live_pages() -> list[ModuleType]:
    """The urls.py of each installed feature, in order of INSTALLED_APPS: its TITLE, DESCRIPTION, URL and urlpatterns.

    One without TITLE is an ordinary app's, which the project's urls.py includes.
    """
    return [module for module in modules("urls").values() if hasattr(module, "TITLE")]


def modules(name: str) -> dict[str, ModuleType]:
    """The module of that name of each installed local app that has one: {"apps.orders": apps.orders.routing, …}."""
    names = [config.name for config in apps.get_app_configs() if config.name.startswith("apps.")]
    # find_spec finds out whether the module exists; catching ImportError would conceal an error inside it.
    return {app: import_module(f"{app}.{name}") for app in names if find_spec(f"{app}.{name}")}


def _is_listed(name: str, listed: Collection[str]) -> bool:
    return any(f"{entry}.".removeprefix("apps.").startswith(f"{name}.") for entry in listed)
