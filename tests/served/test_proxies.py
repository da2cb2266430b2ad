"""A generated project behind the proxies of its guide, with exactly what the guide prints, and health checks."""

import asyncio
import http.client
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.conftest import Tools
from tests.served.faults import DEADLINE_SECONDS, Process, free_port
from tests.template import ROOT, apt_install

GUIDE = (ROOT / "template/project/docs/websockets.md").read_text()
PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "caddyfile": "caddy"}
SECRET = "of a test that only this machine can reach " * 2


@pytest.fixture(scope="session", params=PACKAGES)
def program(request: pytest.FixtureRequest, tools: Tools) -> tuple[str, str]:
    """The guide's name of the proxy's language, and the program. After the tools, for which apt may be needed, too."""
    name = PACKAGES[request.param]
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    if not shutil.which(name, path=path):
        apt_install(*PACKAGES.values())
    found = shutil.which(name, path=path)
    assert found, f"No {name} was found, which these tests need. Install the system's package {name}."
    return request.param, found


@pytest.fixture(params=["false", "true"], ids=["http", "https"])
def site(request: pytest.FixtureRequest, cafe: Path, tools: Tools) -> Iterator[Process]:
    port = free_port()
    environment = {
        "PORT": str(port),
        "ALLOWED_HOSTS": "example.com",
        "HTTPS": request.param,
        "DEBUG": "true",
        "SECRET_KEY": SECRET,
        "LOG_LEVEL": "WARNING",
    }
    process = Process([str(tools.home / ".venv/bin/python"), "-m", "apps.common.server"], port, cafe, **environment)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def proxy(program: tuple[str, str], site: Process, tmp_path: Path) -> Iterator[Process]:
    language, path = program
    port = free_port()
    [printed] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    file = tmp_path / "proxy.conf"
    file.write_text(
        configuration(language, printed.replace("127.0.0.1:8000", f"127.0.0.1:{site.port}"), port, tmp_path)
    )
    commands = {
        "nginx": [path, "-c", str(file), "-p", str(tmp_path)],
        "haproxy": [path, "-db", "-f", str(file)],
        "caddyfile": [path, "run", "--adapter", "caddyfile", "--config", str(file)],
    }
    process = Process(commands[language], port, tmp_path, HOME=str(tmp_path))
    process.start()
    yield process
    process.stop()


def configuration(language: str, printed: str, port: int, folder: Path) -> str:
    """The guide's text at a port of the test's own, within the lines that a system's package has around it."""
    if language == "nginx":
        user = "user root; " if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        server = printed.replace("listen 80;", f"listen 127.0.0.1:{port};")
        around = f"{user}daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}"
        return f"{around} http {{ access_log off; {folders}\n{server} }}\n"
    if language == "haproxy":
        return printed.replace("bind :80", f"bind 127.0.0.1:{port}").replace(" check\n", " check inter 100 rise 1\n")
    return "{\n admin off\n auto_https off\n}\n" + printed.replace("example.com {", f"http://example.com:{port} {{")


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    connection.putrequest("GET", path, skip_host=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    with closing(connection), connection.getresponse() as response:
        return response.status, response.read().decode()


@pytest.mark.parametrize("site", ["false"], indirect=True, ids=["http"])
def test_pages_and_sockets_work_behind_it(proxy: Process, site: Process) -> None:
    asyncio.run(use(proxy))


async def use(proxy: Process) -> None:
    host = f"example.com:{proxy.port}"
    async with asyncio.timeout(DEADLINE_SECONDS):  # until its own health checks have found the site
        while (await asyncio.to_thread(get, proxy.port, "/live-chat/demo/", Host=host))[0] != 200:
            await asyncio.sleep(0.05)
    address = f"ws://{host}/ws/live-chat/demo/"
    async with connect(address, host="127.0.0.1", port=proxy.port, origin=Origin(f"http://{host}"), proxy=None) as page:
        assert json.loads(await page.recv())["type"] == "welcome"
        await page.send('{"type": "send_line", "ref": 1, "data": {"text": "hello"}}')
        received = {json.loads(await page.recv())["type"] for _ in range(2)}
        assert received == {"line_sent", "send_line_result"}
    with pytest.raises(Exception, match="403"):
        await connect(address, host="127.0.0.1", port=proxy.port, origin=Origin("http://evil.example"), proxy=None)


@pytest.mark.parametrize("path", ["/health/", "/ready/"])
@pytest.mark.parametrize(
    "headers", [{"Host": "10.0.0.7:8000"}, {"Host": "example.com"}, {"Host": "[::1]"}, {"Host": "not a host"}, {}]
)
def test_a_load_balancer_gets_its_answer_whatever_host_and_scheme_it_names(
    site: Process, path: str, headers: dict[str, str]
) -> None:
    if not headers:
        assert get_without_host(site.port, path).startswith("HTTP/1.1 200")
    else:
        assert get(site.port, path, **headers)[0] == 200
    assert get(site.port, "/", Host="10.0.0.7")[0] in (301, 400)  # the rest of the site is as it was


def get_without_host(port: int, path: str) -> str:
    """As HAProxy's `option httpchk` does: HTTP/1.0."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return connection.recv(65_536).decode()
