"""Two servers over one Valkey and one database, as in production."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from websockets.asyncio.client import connect

from apps.common.tests import valkey

PREPARE = """
from django.contrib.auth import get_user_model
from django.core.management import call_command
call_command("migrate", verbosity=0)
get_user_model().objects.create_user(username="ann", password="ann-password")
"""

# As `manage.py changepassword` does.
CHANGE_PASSWORD = """
from django.contrib.auth import get_user_model
user = get_user_model().objects.get()
user.set_password("ann-password")
user.save()
"""
DELETE_SESSIONS = """
from django.contrib.sessions.models import Session
Session.objects.all().delete()
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        command = [sys.executable, "-m", "apps.common.tests.server_process"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    @cached_property
    def port(self) -> int:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the server did not start"
        return int(line)

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=15)


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[list[Server]]:
    """Three of them, with a user."""
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "DEBUG": "true"}
    prepare = [sys.executable, "manage.py", "shell", "-v", "0", "-c", PREPARE]
    subprocess.run(prepare, env=environment, check=True)
    program = valkey.find()
    assert program, valkey.HOW_TO_INSTALL
    redis = valkey.ValkeyServer(program, folder)
    redis.start()
    servers = [Server({**environment, "REDIS_URL": redis.url}) for _ in range(3)]
    yield servers
    for server in servers:
        server.stop()
    redis.stop()


class Browser:
    """Signing in and out, as a browser does."""

    def __init__(self, port: int) -> None:
        self.site = f"http://127.0.0.1:{port}"
        self.jar = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.jar))

    def sign_in(self) -> None:
        self._post("/accounts/login/", username="ann", password="ann-password")

    def sign_out(self) -> None:
        self._post("/accounts/logout/")

    def connect(self, port: int):
        cookie = "; ".join(f"{each.name}={each.value}" for each in self.jar)
        return connect(
            f"ws://127.0.0.1:{port}/ws/1/", additional_headers={"Cookie": cookie}, origin=f"http://127.0.0.1:{port}"
        )

    def _post(self, path: str, **fields: str) -> None:
        token = next((each.value for each in self.jar if each.name == "csrftoken"), None) or self._token()
        data = urlencode({**fields, "csrfmiddlewaretoken": token}).encode()
        self.opener.open(self.site + path, data).read()

    def _token(self) -> str:
        page = self.opener.open(self.site + "/accounts/login/").read().decode()
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        return token


async def receive(websocket, type: str):
    """The next frame of this type."""
    async with asyncio.timeout(5):
        while (frame := json.loads(await websocket.recv()))["type"] != type:
            pass
        return frame


async def close_code(websocket, seconds: float = 5) -> int:
    async with asyncio.timeout(seconds):
        await websocket.wait_closed()
    return websocket.close_code


async def test_a_broadcast_reaches_the_pages_of_both_processes(servers):
    one, other, _ = (server.port for server in servers)
    browser = Browser(one)
    await asyncio.to_thread(browser.sign_in)
    async with browser.connect(one) as page, browser.connect(other) as neighbour:
        for websocket in (page, neighbour):
            await receive(websocket, "welcome")
        for number in range(3):
            await page.send(json.dumps({"type": "say", "data": {"text": str(number)}}))
        for websocket in (page, neighbour):
            received = [(await receive(websocket, "said"))["data"]["text"] for _ in range(3)]
            assert received == ["0", "1", "2"]


async def test_logout_in_one_process_closes_the_page_in_the_other_within_a_second(servers):
    one, other, _ = (server.port for server in servers)
    browser, phone = Browser(one), Browser(one)
    for device in (browser, phone):
        await asyncio.to_thread(device.sign_in)
    async with browser.connect(other) as page, phone.connect(other) as stays:
        for websocket in (page, stays):
            await receive(websocket, "welcome")
        await asyncio.to_thread(browser.sign_out)
        assert await close_code(page, seconds=1) == 3000
        await stays.send('{"type": "ping"}')
        await receive(stays, "pong")
    async with browser.connect(other) as page:
        assert await close_code(page) == 4401


@pytest.mark.parametrize("code", [CHANGE_PASSWORD, DELETE_SESSIONS], ids=["password", "sessions"])
async def test_a_change_by_a_command_closes_the_pages_within_a_second(servers, code):
    one, other, _ = servers
    browser = Browser(one.port)
    await asyncio.to_thread(browser.sign_in)
    async with browser.connect(one.port) as page, browser.connect(other.port) as neighbour:
        for websocket in (page, neighbour):
            await receive(websocket, "welcome")
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
        await asyncio.to_thread(subprocess.run, command, env=one.environment, check=True)
        for websocket in (page, neighbour):
            assert await close_code(websocket, seconds=1) == 3000
    async with browser.connect(other.port) as page:
        assert await close_code(page) == 4401


async def test_a_server_that_is_stopped_says_that_it_restarts(servers):
    *_, server = servers
    browser = Browser(server.port)
    await asyncio.to_thread(browser.sign_in)
    page = await browser.connect(server.port)
    await receive(page, "welcome")
    await asyncio.to_thread(server.stop)
    assert await close_code(page) == 1012
