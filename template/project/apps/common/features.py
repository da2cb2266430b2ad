"""Finds the local apps, their WebSocket routes and their live pages.

Every folder of apps/ with an __init__.py is an app, in order of name; a feature that is added to it is live, and one
that is removed is gone. A broken one raises: nothing is skipped silently.
"""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from django.apps import apps
from django.urls import URLPattern, URLResolver

APPS_DIR = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class LivePage:
    """A feature's page, as its urls.py describes it."""

    title: str
    description: str
    url: str
    urlpatterns: list[URLPattern | URLResolver]


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


def live_pages() -> list[LivePage]:
    """The pages of the installed features, in order of INSTALLED_APPS."""
    pages = live_page_modules().values()
    return [LivePage(page.TITLE, page.DESCRIPTION, page.URL, page.urlpatterns) for page in pages]


def live_page_modules() -> dict[str, ModuleType]:
    """The urls.py of each feature. One without TITLE is an ordinary app's, which the project's urls.py includes."""
    return {app: module for app, module in modules("urls").items() if hasattr(module, "TITLE")}


def modules(name: str) -> dict[str, ModuleType]:
    """The module of that name of each installed local app that has one: {"apps.orders": apps.orders.routing, …}."""
    names = [config.name for config in apps.get_app_configs() if config.name.startswith("apps.")]
    # find_spec finds out whether the module exists; catching ImportError would conceal an error inside it.
    return {app: import_module(f"{app}.{name}") for app in names if find_spec(f"{app}.{name}")}


def _is_listed(name: str, listed: Collection[str]) -> bool:
    return any(f"{entry}.".removeprefix("apps.").startswith(f"{name}.") for entry in listed)
