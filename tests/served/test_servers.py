"""A generated project is served by each ASGI server for WebSockets: uvicorn, Daphne and Hypercorn."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import Tools
from tests.served.faults import DEADLINE_SECONDS, Process, free_port
from tests.template import run

SERVERS = {
    "uvicorn": ["-m", "apps.common.server"],
    "daphne": ["-m", "daphne", "--port", "PORT", "--verbosity", "0", "config.asgi:application"],
    # One process: of more, those that it starts would outlive it.
    "hypercorn": ["-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:PORT", "config.asgi:application"],
}


@pytest.fixture(scope="module")
def programs(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The servers that a project does not bring."""
    folder = tmp_path_factory.mktemp("servers")
    python = tools.home / ".venv/bin/python"
    run(folder, "uv", "pip", "install", "--quiet", "--python", python, "--target", folder, "daphne", "hypercorn")
    return folder


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, cafe: Path, tools: Tools, programs: Path) -> Iterator[Process]:
    port = free_port()
    arguments = [word.replace("PORT", str(port)) for word in SERVERS[request.param]]
    environment = {"PYTHONPATH": str(programs), "PORT": str(port), "LOG_LEVEL": "CRITICAL"}
    process = Process([str(tools.home / ".venv/bin/python"), *arguments], port, cafe, **environment)
    process.start()
    yield process
    process.stop()


def page(server: Process, path: str) -> connect:
    return connect(f"ws://127.0.0.1:{server.port}{path}", compression=None)


async def next_frame(connection: ClientConnection, type: str) -> Any:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (frame := json.loads(await connection.recv()))["type"] != type:
            pass
    return frame


async def close_code(connection: ClientConnection) -> int | None:
    """The code with which the server closes; whatever the page goes on sending."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            while True:
                await connection.send('{"type": "place_order", "data": {"item": "tea", "quantity": 1}}')
                await connection.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


def test_requests_are_answered_and_broadcasts_arrive(server: Process) -> None:
    async def scenario() -> None:
        async with page(server, "/ws/live-chat/1/") as one, page(server, "/ws/live-chat/1/") as other:
            await next_frame(one, "welcome")
            await next_frame(other, "welcome")
            await one.send('{"type": "send_line", "ref": 1, "data": {"text": "tea"}}')
            assert (await next_frame(one, "send_line_result"))["ref"] == 1
            assert (await next_frame(other, "line_sent"))["seq"] == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("path", "code"), [("/ws/orders/1/", 4401), ("/ws/nowhere/", 4404)])
def test_a_refused_client_gets_the_reason(path: str, code: int, server: Process) -> None:
    async def scenario() -> None:
        async with page(server, path) as connection:
            assert await close_code(connection) == code

    asyncio.run(scenario())


def test_a_page_without_permission_gets_nothing(server: Process) -> None:
    async def scenario() -> None:
        async with page(server, "/ws/orders/1/") as connection:
            with pytest.raises(ConnectionClosed):
                await next_frame(connection, "welcome")

    asyncio.run(scenario())
