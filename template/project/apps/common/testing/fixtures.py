"""The fixtures of every test: users, a served site, and pages of a browser."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import pytest_asyncio
import uvicorn
from channels.routing import get_default_application
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.test import AsyncClient
from playwright.async_api import Browser, Page, async_playwright

from apps.common.server import UVICORN_OPTIONS, with_static_files
from apps.common.testing import chromium
from apps.common.websockets.streams import get_streams

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture(autouse=True)
def _fresh_streams() -> Iterator[None]:
    """Each test begins without the history of another."""
    get_streams.cache_clear()
    yield
    get_streams.cache_clear()


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    """A password's hash is slow on purpose, which tests need not wait for."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def user(transactional_db: None) -> AbstractBaseUser:
    return get_user_model().objects.create_user(username="ann", password="ann-password")


@pytest.fixture
def other_user(transactional_db: None) -> AbstractBaseUser:
    return get_user_model().objects.create_user(username="bob", password="bob-password")


@pytest.fixture
def staff_user(transactional_db: None) -> AbstractBaseUser:
    return get_user_model().objects.create_user(username="eve", password="eve-password", is_staff=True)


@pytest.fixture
def site(transactional_db: None, settings: Any) -> Iterator[str]:
    """The address of this project, served by uvicorn in a thread: http://127.0.0.1:PORT."""
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
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
    """Found here, not in an async fixture: Playwright is asked with its sync API."""
    path = chromium.find()
    assert path, chromium.CURE
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
    """Opens a path in a browser of its own, signed in as the user, if one is given. A page's errors fail the test."""
    errors: list[str] = []

    async def open_page(path: str, user: AbstractBaseUser | None = None, **options: Any) -> Page:
        context = await browser.new_context(base_url=site, **options)
        if user:
            await context.add_cookies([await _session_cookie(user, site)])
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(path)
        return page

    yield open_page
    assert not errors, errors


async def _session_cookie(user: AbstractBaseUser, site: str) -> Any:
    client = AsyncClient()
    await client.aforce_login(cast(Any, user))
    name = django_settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value, "url": site}
