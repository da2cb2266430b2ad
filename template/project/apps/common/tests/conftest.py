"""One server process and one browser for all tests in a browser that ask for them; they last to the end."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from apps.common.testing.fixtures import launch
from apps.common.tests.browser_client import DEADLINE, Client
from apps.common.tests.process import ServerProcess, free_port
from apps.common.tests.valkey import valkey, valkey_server

__all__ = ["valkey", "valkey_server"]  # fixtures

expect.set_options(timeout=1_000 * DEADLINE)

SITE = "apps.common.tests.browser_site:application"


@pytest.fixture(autouse=True)
def _memory_store(settings):
    """A developer's .env has no effect here: a test that needs a Valkey server starts its own."""
    settings.REDIS_URL = ""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    server = ServerProcess(SITE, tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def server(shared_server):
    """A server of browser_site.py, which runs when a test begins, whatever that does to it."""
    shared_server.start()
    return shared_server


@pytest.fixture
def other_server(tmp_path):
    """One more, which a test starts."""
    server = ServerProcess(SITE, tmp_path)
    yield server
    server.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_browser(chromium_path):
    async with launch(chromium_path) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(shared_browser, server):
    """A page of the server, on which nothing has begun."""
    async with await shared_browser.new_context() as context:
        yield await Client.open(context, server.url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_tabs(chromium_path):
    # Playwright shows all its pages at once, and turns the back/forward cache off; a page in the default context of a
    # browser to which it only connects is left as it is.
    port = free_port()
    like_a_users = {"ignore_default_args": ["--disable-back-forward-cache"]}
    async with launch(chromium_path, f"--remote-debugging-port={port}", **like_a_users) as owner:
        browser = await owner.browser_type.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True)
        yield browser.contexts[0]


@pytest_asyncio.fixture(loop_scope="session")
async def tab(shared_tabs, server):
    """The same in a tab that is hidden by another, frozen, and kept for going back, as those of a user are."""
    tab = await Client.open(shared_tabs, server.url)
    yield tab
    await tab.page.close()
