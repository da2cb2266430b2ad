"""The guide's import paths, in a browser, under every way of serving static files.

Each has a server process of its own, with a page that loads the base service directly, and imports it by its absolute
path, by a relative one, dynamically, and from an inline script. The import map is what makes it work: without it the
same page fails as `without_map` says.
"""

import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import pytest
import pytest_asyncio
from django.conf import settings

from apps.common.testing.fixtures import launch
from apps.common.tests.process import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
WHITENOISE = "apps.common.storage.StaticFilesStorage"
NOT_FOUND = "404 "
TWO_COPIES = "2 copies"


@dataclass(frozen=True)
class Serving:
    """A way of serving static files."""

    path: str = "/static/"
    storage: str = ""  # where it is empty: runserver, with DEBUG
    is_cdn: bool = False
    keeps_only_hashed: bool = False
    without_map: str = ""  # the fault, if there is one


SERVINGS = {
    "runserver": Serving(),
    "runserver under assets": Serving("/assets/", without_map=NOT_FOUND),
    "runserver under app static": Serving("/app/static/", without_map=NOT_FOUND),
    "runserver under static v2": Serving("/static/v2/", without_map=NOT_FOUND),
    "manifest": Serving(storage=MANIFEST, without_map=TWO_COPIES),
    "manifest under assets": Serving("/assets/", MANIFEST, without_map=NOT_FOUND),
    "whitenoise": Serving(storage=WHITENOISE, without_map=TWO_COPIES),
    "whitenoise with only hashed": Serving(storage=WHITENOISE, keeps_only_hashed=True, without_map=NOT_FOUND),
    "CDN": Serving(storage=MANIFEST, is_cdn=True, without_map=TWO_COPIES),
    "CDN with a prefix": Serving("/v2/static/", MANIFEST, is_cdn=True, without_map=NOT_FOUND),
}

SETTINGS = """
from pathlib import Path

from config.settings import *

HERE = Path(__file__).parent
ROOT_URLCONF = "page_urls"
TEMPLATES[0]["DIRS"].insert(0, HERE / "templates")
STATICFILES_DIRS = [HERE / "static"]
STATIC_ROOT = HERE / "collected{serving.path}"
STORAGES["staticfiles"]["BACKEND"] = "{serving.storage}" or STORAGES["staticfiles"]["BACKEND"]
WHITENOISE_KEEP_ONLY_HASHED_FILES = {serving.keeps_only_hashed}
"""
URLS = """
from django.urls import path
from django.views.generic import TemplateView

from config.urls import urlpatterns

urlpatterns = [path("page/", TemplateView.as_view(template_name="page.html")), *urlpatterns]
"""
PAGE = """{% extends "base.html" %}{% load static %}
{% block head %}
    <script type="module" src="{% static 'js/services/websocket.js' %}"></script>
    <script type="module" src="{% static 'page/js/page.js' %}"></script>
    <script type="module" nonce="{{ csp_nonce }}">
        import * as inline from '/static/js/services/websocket.js';
        window.inline = inline;
    </script>
{% endblock %}
"""
SCRIPT = """
import * as absolute from '/static/js/services/websocket.js';
import * as relative from '../../js/services/websocket.js';
import { base as nested } from './services/nested.js';

const dynamic = await Promise.all(['/static/', '../../'].map((root) => import(`${root}js/services/websocket.js`)));
window.imported = [absolute, relative, nested, ...dynamic];
"""
NESTED = """
export * as base from '/static/js/services/websocket.js';
"""

# Resolves when all imports were tried. Not Playwright's wait_for_function, which evaluates a text at each attempt: a
# page's policy forbids that.
LOADED = """() => new Promise((resolve) => {
    const check = () =>
        window.failed || (window.imported && window.inline) ? resolve() : requestAnimationFrame(check);
    check();
})"""

# In one process, which saves a second.
COLLECT_AND_SERVE = """
import django
from django.core.management import call_command

django.setup()
call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["admin"])

from apps.common.server import main

main()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium_path):
    async with launch(chromium_path) as browser:
        yield browser


@pytest.mark.parametrize("serving", SERVINGS.values(), ids=SERVINGS)
async def test_every_import_leads_to_the_one_base(browser, serving, tmp_path):
    write_site(serving, tmp_path)
    with cdn(tmp_path / "collected") as cdn_address:
        static_url = cdn_address + serving.path if serving.is_cdn else serving.path
        with running(serving, static_url, tmp_path) as address:
            assert await faults(browser, f"{address}/page/") == []
            found = await faults(browser, f"{address}/page/", has_map=False)
            assert any(serving.without_map in fault for fault in found) == bool(serving.without_map), found


async def faults(browser, url, *, has_map=True):
    """The problems of the page: failed requests, errors, warnings, violations of the policy, copies of the base."""
    found = []
    page = await browser.new_page()
    page.on("response", lambda response: response.ok or found.append(f"{response.status} {response.url}"))
    page.on("console", lambda message: message.type in ("error", "warning") and found.append(message.text))
    page.on("pageerror", lambda error: found.append(str(error)))
    if not has_map:
        await page.route(url, drop_map)
    await page.add_init_script("addEventListener('error', () => { window.failed = true; }, true)")
    response = await page.goto(url)
    assert response.ok, f"{url}: {response.status}"
    await page.evaluate(LOADED)
    modules = await page.evaluate("new Set([window.inline, ...(window.imported ?? [])]).size")
    loads = await page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('js/services/websocket.')).length"
    )
    await page.close()
    return found if modules == loads == 1 else [*found, f"{max(modules, loads)} copies"]


async def drop_map(route):
    response = await route.fetch()
    html = re.sub(r'<script type="importmap".*?</script>', "", await response.text())
    await route.fulfill(response=response, body=html)


def write_site(serving, folder):
    """The project, with one more page."""
    files = {
        "page_settings.py": SETTINGS.format(serving=serving),
        "page_urls.py": URLS,
        "templates/page.html": PAGE,
        "static/page/js/page.js": SCRIPT,
        "static/page/js/services/nested.js": NESTED,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@contextmanager
def running(serving, static_url, folder):
    """The site's server; its address."""
    port = str(free_port())
    env = os.environ | {
        "PYTHONPATH": str(folder),
        "DJANGO_SETTINGS_MODULE": "page_settings",
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "SECRET_KEY": "for-tests-alone",
        "DEBUG": "false" if serving.storage else "true",
        "ALLOWED_HOSTS": "127.0.0.1",
        "HTTPS": "false",
        "REDIS_URL": "",
        "STATIC_URL": static_url,
        "PORT": port,
    }
    command = ["-c", COLLECT_AND_SERVE] if serving.storage else ["manage.py", "runserver", "--noreload", port]
    log = folder / "log.txt"
    with log.open("wb") as output:
        options = {"cwd": settings.BASE_DIR, "env": env, "stdout": output, "stderr": subprocess.STDOUT}
        server = subprocess.Popen([sys.executable, *command], **options)
    try:
        wait_for(int(port), server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def wait_for(port, server, log):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", port)).close()
        time.sleep(0.05)
    return pytest.fail(log.read_text())


@contextmanager
def cdn(folder):
    """Another host, which lets pages of all origins load its files; its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header("Access-Control-Allow-Origin", "*")
            super().end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, name="cdn")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
