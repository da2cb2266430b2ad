"""The fixtures of every test: users, a served site, and pages of a browser."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from channels.routing import get_default_application
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from playwright.async_api import Browser, Page, async_playwright

from apps.common.redis_url import redis_prefix
from apps.common.server import UVICORN_OPTIONS, with_static_files
from apps.common.testing import chromium, users
from apps.common.testing.client import sign_in
from apps.common.websockets.streams import get_streams

MakeUser = Callable[..., AbstractBaseUser]
OpenPage = Callable[..., Awaitable[Page]]

ACTION_MS = 10_000  # until a test fails that waits for an element, a wrong selector's for example
NAVIGATION_MS = 30_000

# Tests in a browser have the marker `browser`

left_out = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: a test in a browser, which every test with a browser's fixture is")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chromium_path" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        if item.config.option.markexpr and item.get_closest_marker("browser"):
            item.config.stash[left_out] = item.config.stash.get(left_out, 0) + 1


def pytest_collection_finish(session: pytest.Session) -> None:
    """Says once, before any test runs, that Chromium is missing."""
    is_needed = any(item.get_closest_marker("browser") for item in session.items)
    if is_needed and not session.config.option.collectonly and not chromium.find():
        raise pytest.UsageError(chromium.MISSING)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if count := config.stash.get(left_out, 0):
        terminalreporter.write_line(f"{count} browser tests were left out on purpose: -m '{config.option.markexpr}'")


# State that tests must not share


@pytest.fixture(autouse=True)
def _fresh_streams(settings: Any) -> Iterator[None]:
    """Each test begins without the history of another, and has a prefix of its own in a Redis that several runs use."""
    if settings.REDIS_URL:
        settings.WEBSOCKET_PREFIX = f"test-{uuid.uuid4()}"
        settings.CHANNEL_LAYERS = deepcopy(settings.CHANNEL_LAYERS)
        for layer in settings.CHANNEL_LAYERS.values():
            if "prefix" in (options := layer.get("CONFIG", {})):
                options["prefix"] = redis_prefix(settings.WEBSOCKET_PREFIX, settings.REDIS_URL)
    get_streams.cache_clear()
    yield
    get_streams.cache_clear()


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    """A password's hash is slow on purpose, which tests need not wait for."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The test database; connections that other threads keep open to it would keep it from being dropped."""
    opened: set[BaseDatabaseWrapper] = set()

    def remember(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        opened.add(connection)

    connection_created.connect(remember)
    yield
    connection_created.disconnect(remember)
    for connection in opened:
        connection.inc_thread_sharing()
        connection.close()


# Users


@pytest.fixture
def make_user(transactional_db: None) -> MakeUser:
    """Makes users: make_user("carl"), make_user("carl", is_staff=True). Override it to add what your model requires."""
    return users.make_user


@pytest.fixture
def user(make_user: MakeUser) -> AbstractBaseUser:
    return make_user("ann")


@pytest.fixture
def other_user(make_user: MakeUser) -> AbstractBaseUser:
    return make_user("bob")


@pytest.fixture
def staff_user(make_user: MakeUser) -> AbstractBaseUser:
    return make_user("eve", is_staff=True)


@pytest.fixture
def other_staff_user(make_user: MakeUser) -> AbstractBaseUser:
    return make_user("zoe", is_staff=True)


# A served site, and a browser


@pytest.fixture
def site(transactional_db: None, settings: Any) -> Iterator[str]:
    """The address of this project, served by uvicorn in a thread: http://127.0.0.1:PORT."""
    settings.ALLOWED_HOSTS = ["127.0.0.1", "testserver"]  # the second is the host of Django's test client
    application = with_static_files(get_default_application())
    server = uvicorn.Server(uvicorn.Config(application, port=0, **UVICORN_OPTIONS))
    started = threading.Event()

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        started.set()
        await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="site")
    thread.start()
    started.wait(timeout=30)
    assert server.started, "uvicorn did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = chromium.find()
    assert path, chromium.MISSING
    return path


@asynccontextmanager
async def launch(chromium_path: str, *more: str, **options: Any) -> AsyncIterator[Browser]:
    """A Chromium without a window. More arguments of its command line, and options of Playwright's, may be given."""
    # Offline: Chromium would otherwise look for updates while the tests run. No sandbox: it has none as root.
    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=[*arguments, *more], **options)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """A browser for one test. For more tests: `launch` in a fixture of the module, with its event loop."""
    async with launch(chromium_path) as browser:
        yield browser


@pytest_asyncio.fixture
async def open_page(browser: Browser, site: str) -> AsyncIterator[OpenPage]:
    """Opens a path in a browser context of its own, signed in as the user, if one is given. A page's errors fail the
    test."""
    errors: list[str] = []

    async def open_page(path: str, user: AbstractBaseUser | None = None, **options: Any) -> Page:
        context = await browser.new_context(base_url=site, **options)
        context.set_default_timeout(ACTION_MS)
        context.set_default_navigation_timeout(NAVIGATION_MS)
        if user:
            name, _, value = (await sign_in(user)).partition("=")
            await context.add_cookies([{"name": name, "value": value, "url": site}])
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(path)
        return page

    yield open_page
    assert not errors, errors
