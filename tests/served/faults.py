"""Servers that fail, and pages that follow a stream through it: the accounts of what was sent and what arrived."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PLAIN_UVICORN = [
    "uvicorn",
    "config.asgi:application",
    "--ws",
    "websockets-sansio",
    "--ws-per-message-deflate",
    "false",
    "--log-level",
    "warning",
    "--no-access-log",
]
DEADLINE_SECONDS = 60.0
PATH = "/ws/fanout/"
PORTS = range(20_000, 32_000)  # systems give connections higher ones
METRICS_TOKEN = "metrics"  # noqa: S105


def free_port() -> int:
    """A port of this machine for a server of a test, which no other test gets as long as this process runs."""
    # The workers of pytest-randomly share the seed of `random`.
    for port in random.SystemRandom().sample(PORTS, 100):
        reservation = socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            reservation.bind(("127.0.0.1", port))
            reservation.detach()  # the UDP port stays bound: it reserves the TCP port that a server may close and open
            return port
        reservation.close()
    raise OSError("No port is free.")


class Process:
    """A program that listens on a port of this machine, and that a test may kill, suspend and start again, together
    with the programs that it starts itself."""

    def __init__(self, command: list[str], port: int, directory: Path, **environment: str) -> None:
        self.port = port
        self.python = Path(command[0])  # of a server
        self._command = command
        self._directory = directory
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, f"{self._command[0]} ended with {self._process.returncode}"
            assert time.monotonic() < deadline, f"{self._command[0]} does not answer"
            time.sleep(0.02)

    @property
    def is_started(self) -> bool:
        return self._process is not None

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """Kill it. Harmless if it does not run."""
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True


def server(project: Path, python: Path, redis: str = "", by_asgi: bool = False, **environment: str) -> Process:
    """The project, served by one process: its own, or a plain uvicorn, whose connections use ASGI."""
    port = free_port()
    program = PLAIN_UVICORN if by_asgi else ["apps.common.server"]
    ports = {"PORT": str(port), "UVICORN_PORT": str(port)}
    environment |= {"REDIS_URL": redis, "LOG_LEVEL": "CRITICAL", "METRICS_TOKEN": METRICS_TOKEN, **ports}
    return Process([str(python), "-m", *program], port, project, **environment)


def metrics(server: Process) -> tuple[str, dict[str, int]]:
    """The label of the process that answers, and what it counts: {"websockets_connections": 5, …}."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    connection.request("GET", "/metrics/", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    counts = {name: int(number) for name, number in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
    [label] = {label for name in counts for label in re.findall(r'pid="\d+"', name)}
    return label, {re.sub(f"{label},?", "", name).replace("{}", ""): number for name, number in counts.items()}


def valkey(program: str, folder: Path) -> Process:
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    return Process([program, *options], port, folder)


async def flush(store: Process) -> None:
    """Have the store lose its data."""
    reader, writer = await asyncio.open_connection("127.0.0.1", store.port)
    writer.write(b"FLUSHALL\r\n")
    assert await reader.readline() == b"+OK\r\n"
    writer.close()


@dataclass
class Account:
    """The messages that one client received."""

    numbers: list[int] = field(default_factory=list)  # what the publishers counted, in the order of arrival
    resyncs: int = 0
    resync_at: int = 0  # how many it had at the last request to reload its state
    connections: int = 0
    drains: int = 0  # requests to move to another process
    close_codes: list[int | None] = field(default_factory=list)
    longest_gap: float = 0.0  # seconds without a broadcast
    twice: int = 0
    out_of_order: int = 0

    def lost(self, sent: set[int]) -> int:
        return len(sent - set(self.numbers))

    def lost_since_resync(self, sent: set[int]) -> int:
        """Of the numbers of one publisher, those lost after the last request to reload."""
        since = self.numbers[self.resync_at :]
        return len({number for number in sent if since and number > since[0]} - set(since))


class Page:
    """Follows the stream as the base service does: it reconnects with its position, at once."""

    def __init__(self, *servers: Process) -> None:
        self.account = Account()
        self.epoch = ""
        self._servers = servers
        self._seq = 0
        self._seen: set[tuple[str, int]] = set()
        self._arrived = asyncio.Event()
        self._last_message_at = 0.0
        self._connection: Any = None
        self._is_greeted = False
        self._task = asyncio.create_task(self._follow())

    async def has(self, sent: set[int]) -> None:
        """Wait until it has all of them."""
        await self._until(lambda: not sent - set(self.account.numbers), f"{len(sent)} broadcasts")

    async def has_number(self, number: int) -> None:
        await self._until(lambda: number in self.account.numbers, f"broadcast {number}")

    async def is_connected(self) -> None:
        await self._until(lambda: bool(self.epoch), "a greeting")

    async def is_asked_to_move(self) -> None:
        await self._until(lambda: self.account.drains > 0, "the message that its process is drained")

    async def is_closed(self, code: int) -> None:
        await self._until(lambda: code in self.account.close_codes, f"close code {code}")

    async def drop(self) -> None:
        """Lose the connection, as soon as there is one, as a network does: without a word."""
        await self._until(lambda: self._is_greeted, "a connection")
        self._is_greeted = False
        self._connection.transport.abort()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _until(self, condition: Any, what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not condition():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"a page waited {DEADLINE_SECONDS} s for {what}; it has {self.account}") from None

    async def _follow(self) -> None:
        while True:
            # Each time the next process, if there are several.
            port = self._servers[self.account.connections % len(self._servers)].port
            self.account.connections += 1
            query = f"?epoch={self.epoch}&seq={self._seq}" if self.epoch else ""
            try:
                async with connect(f"ws://127.0.0.1:{port}{PATH}{query}", compression=None) as self._connection:
                    await self._read()
            except (OSError, ConnectionClosed, InvalidHandshake):
                self._is_greeted = False
            await asyncio.sleep(0.05)

    async def _read(self) -> None:
        try:
            async for text in self._connection:
                self._take(json.loads(text))
        finally:
            self.account.close_codes.append(self._connection.close_code)
            self._arrived.set()

    def _take(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        self._is_greeted |= frame["type"] == "welcome"
        if frame["type"] == "welcome" and data["recovered"] is not True:
            if data["recovered"] is False:
                self._must_reload()
            self.epoch, self._seq = data["epoch"], data["seq"]
        elif frame["type"] == "draining":
            self.account.drains += 1
        elif frame["type"] == "resync":
            self._must_reload()
            self.epoch, self._seq = data["epoch"], data["seq"]
        elif frame["type"] == "news":
            self._count(frame["seq"], int(data["text"]))
        self._arrived.set()

    def _must_reload(self) -> None:
        self.account.resyncs += 1
        self.account.resync_at = len(self.account.numbers)

    def _count(self, seq: int, number: int) -> None:
        now = time.monotonic()
        if self._last_message_at:
            self.account.longest_gap = max(self.account.longest_gap, now - self._last_message_at)
        self._last_message_at = now
        self.account.twice += (self.epoch, seq) in self._seen
        self.account.out_of_order += seq < self._seq
        self._seen.add((self.epoch, seq))
        self._seq = seq
        self.account.numbers.append(number)


class Publisher:
    """Asks a server to broadcast numbers, one after the other; a broadcast counts as sent when it was answered.

    characters: each has at least as many.
    """

    def __init__(self, server: Process, numbers: range, characters: int = 0) -> None:
        self.sent: set[int] = set()
        self._characters = characters
        self._server = server
        self._numbers = numbers

    async def run(self, pause: float = 0.0) -> set[int]:
        async with connect(f"ws://127.0.0.1:{self._server.port}{PATH}", compression=None) as connection:
            for number in self._numbers:
                request = {"type": "publish", "ref": number, "data": {"text": str(number).rjust(self._characters)}}
                await connection.send(json.dumps(request))
                while json.loads(await connection.recv()).get("ref") != number:
                    pass
                self.sent.add(number)
                await asyncio.sleep(pause)
        return self.sent


class Follower:
    """A page in a process of its own, which a test may suspend."""

    def __init__(self, server: Process) -> None:
        command = [sys.executable, __file__, str(server.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def is_connected(self) -> None:
        """Wait until it is."""
        assert self._process.stdout
        assert self._process.stdout.readline() == "connected\n"

    def suspend(self) -> None:
        """It reads nothing, and keeps its connection."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def has_number(self, number: int) -> None:
        """Wait until it has the broadcast with this number."""
        assert self._process.stdin
        assert self._process.stdout
        print(number, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == f"{number}\n"

    def account(self, last: int) -> Account:
        """Its account, once it has the broadcast with this number. Then it ends."""
        printed, _ = self._process.communicate(f"{last}\n", timeout=DEADLINE_SECONDS)
        return Account(**json.loads(printed.splitlines()[-1]))

    def stop(self) -> None:
        """Kill it. Harmless if it has ended."""
        self._process.kill()
        self._process.communicate()


async def follow_alone(port: int) -> None:
    page = Page(Process([sys.executable], port, Path()))
    await page.is_connected()
    print("connected", flush=True)
    while number := await asyncio.to_thread(sys.stdin.readline):
        await page.has_number(int(number))
        print(number, end="", flush=True)
    await page.close()
    print(json.dumps(asdict(page.account)))


if __name__ == "__main__":
    asyncio.run(follow_alone(int(sys.argv[1])))
