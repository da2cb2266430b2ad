"""Finds the local apps, their WebSocket routes and their live pages.

Every folder of apps/ with an __init__.py is an app, in order of name; a feature that is dropped in is live, and one
that is removed is gone. A broken one raises: nothing is skipped in silence.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from django.urls import URLPattern, URLResolver

APPS_DIR = Path(__file__).resolve().parent.parent / "apps"


@dataclass(frozen=True)
class LivePage:
    """A feature's page, as its live.py describes it."""

    title: str
    description: str
    url: str
    urlpatterns: list[URLPattern | URLResolver]


def local_apps() -> list[str]:
    """The dotted names of the owner's apps: ["apps.orders", …]. apps.common, which all build on, is not among them."""
    folders = sorted(path.parent.name for path in APPS_DIR.glob("*/__init__.py"))
    return [f"apps.{name}" for name in folders if name != "common"]


def websocket_urlpatterns() -> list[URLPattern]:
    """The routes of every local app's routing.py, in order of name."""
    return [pattern for module in _modules("routing") for pattern in module.websocket_urlpatterns]


def live_pages() -> list[LivePage]:
    """The pages of every local app's live.py, in order of name."""
    return [LivePage(page.TITLE, page.DESCRIPTION, page.URL, page.urlpatterns) for page in _modules("live")]


def _modules(name: str) -> list[ModuleType]:
    # find_spec asks whether the module is there without hiding an error inside it, as catching ImportError would.
    return [import_module(f"{app}.{name}") for app in local_apps() if find_spec(f"{app}.{name}")]
