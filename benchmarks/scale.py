"""Idle signed-in connections, as many as asked for: `make bench-scale PART=scale`, or, for a quick look,
`python benchmarks/scale.py 2000 --within 5`.

Real sockets on 127.0.0.0/8, to as many worker processes as the limit of descriptors needs, which share a Valkey server.
The clients ping every 25 s as the base service does. Measured are the memory of the workers, their CPU while nothing
else happens, and one broadcast to all. Then one worker is drained (`manage.py drain --within 30`): its clients
reconnect with their position to a new worker, as when a host is replaced. A second broadcast is published meanwhile.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from typing import Any

from client import Client, cpu_of, masked, memory_of
from measures import percentile
from run import PRODUCTION, PROJECT, free_port, prepare, running, start_of, valkey

PER_PROCESS = min(17_000, getrlimit(RLIMIT_NOFILE)[1] - 2_000)
PING_SECONDS = 25
IDLE_SECONDS = 30
CONNECTING_AT_ONCE = 50
MIN_DELAY, MAX_DELAY = 1.0, 30.0  # of the base service
PING = masked(b'{"type":"ping"}')
CLOSE = bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8])  # 1000
# `manage.py drain` addresses a host, so each worker takes itself for one.
SERVER = """
import os, runpy, socket
socket.gethostname = lambda: os.environ["HOST_NAME"]
runpy.run_module("apps.common.server", run_name="__main__")
"""


class Page(Client):
    """A client that knows its position."""

    epoch = ""
    seq = 0


@dataclass
class Move:
    """The clients of a worker that is drained; times of time.monotonic()."""

    asked: int = 0
    first_asked_at: float = 0
    back_at: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)  # seconds that each was without a connection
    failed: int = 0  # attempts


class Clients:
    """The clients of one worker, in a process of their own."""

    def __init__(self, number: int, url: str, cookie: str, count: int) -> None:
        self._address, self._port = url.removeprefix("ws://").split(":")
        self._source = f"127.0.{1 + number}.1"
        self._cookie = cookie
        self._count = count
        self._clients: list[Page] = []
        self._delays = array("d")
        self._wrong = 0  # broadcasts that did not follow the one before
        self._move = Move()
        self._moving: set[asyncio.Task[None]] = set()

    async def serve(self, pipe: Connection) -> None:
        """Connect, ping, and do what the pipe asks for."""
        pinging = asyncio.create_task(self._ping())
        await self._connect()
        pipe.send(len(self._clients))
        while (asked := await asyncio.to_thread(pipe.recv)) != "end":
            if asked == "publish":
                data = {"type": "publish", "data": {"text": repr(time.monotonic())}}
                client = next(each for each in self._clients if each.closed is None)
                client.transport.write(masked(json.dumps(data).encode()))
            elif asked == "received":
                closed = sum(each.closed is not None for each in self._clients) - len(self._move.back_at)
                pipe.send((self._delays, self._wrong, closed))
                self._delays = array("d")
            elif asked == "move":
                pipe.send(self._move)
            else:  # where to reconnect
                self._port = asked.rpartition(":")[2]
        pinging.cancel()

    async def _connect(self) -> None:
        while len(self._clients) < self._count:
            batch = min(CONNECTING_AT_ONCE, self._count - len(self._clients))
            self._clients += await asyncio.gather(*(self._connect_one() for _ in range(batch)))

    async def _connect_one(self, epoch: str = "", seq: int = 0) -> Page:
        path = f"/ws/fanout/?epoch={epoch}&seq={seq}" if epoch else "/ws/fanout/"
        client = Page(f"{self._address}:{self._port}", path, self._cookie, self._on_frame)
        client.epoch, client.seq = epoch, seq
        await asyncio.get_running_loop().create_connection(
            lambda: client, self._address, int(self._port), local_addr=(self._source, 0)
        )
        await client.open
        return client

    async def _reconnect(self, page: Page, within: float) -> None:
        """As the base service does, at a random moment."""
        await asyncio.sleep(MIN_DELAY + random.random() * max(0, within - MIN_DELAY))
        left_at = time.monotonic()
        page.transport.write(CLOSE)
        page.transport.close()
        for attempt in range(10**9):
            try:
                self._clients.append(await self._connect_one(page.epoch, page.seq))
                break
            except OSError:
                self._move.failed += 1
                delay = min(MAX_DELAY, MIN_DELAY * 2**attempt)
                await asyncio.sleep(delay / 2 + random.random() * delay / 2)
        self._move.back_at.append(time.monotonic())
        self._move.without.append(time.monotonic() - left_at)

    def _on_frame(self, client: Client, payload: bytes) -> None:
        assert isinstance(client, Page)
        message = json.loads(payload)
        if message["type"] == "news":
            self._delays.append(time.monotonic() - float(message["data"]["text"]))
            self._wrong += message["seq"] != client.seq + 1
            client.seq = message["seq"]
        elif message["type"] == "welcome":
            self._wrong += message["data"]["recovered"] is False
            if not client.epoch:
                client.epoch, client.seq = message["data"]["epoch"], message["data"]["seq"]
        elif message["type"] == "draining":
            self._move.asked += 1
            self._move.first_asked_at = self._move.first_asked_at or time.monotonic()
            task = asyncio.create_task(self._reconnect(client, message["data"]["within"]))
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)

    async def _ping(self) -> None:
        parts = 100
        for turn in range(10**9):
            for client in self._clients[turn % parts :: parts]:
                if client.closed is None:
                    client.transport.write(PING)
            await asyncio.sleep(PING_SECONDS / parts)


def run_clients(number: int, url: str, cookie: str, count: int, pipe: Connection) -> None:
    asyncio.run(Clients(number, url, cookie, count).serve(pipe))


@contextmanager
def serving(number: int, project: Path, redis: str) -> Iterator[tuple[str, int]]:
    """The URL and the process id of a worker that takes itself for a host of its own."""
    port = free_port()
    (python, *_), environment = start_of(PROJECT, project, port, redis)
    with running([python, "-c", SERVER], port, project, **environment, HOST_NAME=host(number)) as pid:
        yield f"ws://127.0.0.1:{port}", pid


def host(number: int) -> str:
    return f"host-{number}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("connections", nargs="?", type=int, default=100_000)
    parser.add_argument("--within", type=int, default=30, help="seconds over which a worker is drained (30)")
    options = parser.parse_args()
    total = options.connections
    workers = -(-total // PER_PROCESS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        project, cookie = prepare(Path(folder) / "project")
        redis = stack.enter_context(valkey(project, Path(folder)))
        servers = [stack.enter_context(serving(number, project, redis)) for number in range(workers)]
        pids = [pid for _, pid in servers]
        before, began, used = sum(map(memory_of, pids)), time.monotonic(), cpu(pids)
        pipes: list[Connection] = []
        for number, (url, _) in enumerate(servers):
            own, theirs = multiprocessing.Pipe()
            count = total // workers + (number < total % workers)
            arguments: Any = (number, url, cookie, count, theirs)
            process = multiprocessing.Process(target=run_clients, args=arguments, daemon=True)
            process.start()
            pipes.append(own)
        connected = sum(pipe.recv() for pipe in pipes)
        seconds = time.monotonic() - began
        print(f"{connected:,} signed-in connections to {workers} workers in {seconds:.0f} s")
        print(f"CPU of the workers for each: {(cpu(pids) - used) / connected * 1e3:.2f} ms")
        time.sleep(IDLE_SECONDS)  # what connecting has left behind is done
        memory = sum(map(memory_of, pids)) - before
        print(f"memory of the workers: {memory / 2**20:,.0f} MiB, {memory / connected / 1024:.1f} KiB for each")
        used = cpu(pids)
        time.sleep(IDLE_SECONDS)
        share = (cpu(pids) - used) / IDLE_SECONDS
        print(f"CPU of the workers while idle: {share:.2f} cores, {share / connected * 1e6:.1f} µs a second for each")
        used = cpu(pids)
        pipes[0].send("publish")
        report(pipes, connected)
        each = (cpu(pids) - used) / connected
        print(f"CPU of the workers, pings of these seconds included: {each * 1e6:.1f} µs for each", flush=True)
        url, pid = stack.enter_context(serving(workers, project, redis))
        pipes[0].send(url)
        drain(project, redis, (pids[0], pid), pipes, options.within)
        report(pipes, connected)
        for pipe in pipes:
            pipe.send("end")


def drain(project: Path, redis: str, pids: tuple[int, int], pipes: list[Connection], within: int) -> None:
    """Drain the first worker, publish meanwhile, and stop it when its clients have reconnected to the new one."""
    used = [cpu_of(pid) for pid in pids]
    command = [project / ".venv/bin/python", "manage.py", "drain", "--within", str(within), "--host", host(0)]
    environment = {**os.environ, **PRODUCTION, "REDIS_URL": redis}
    subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
    time.sleep(within / 2)
    pipes[-1].send("publish")
    time.sleep(within / 2)
    move, deadline = moved(pipes[0]), time.monotonic() + 60
    while len(move.back_at) < move.asked and time.monotonic() < deadline:
        time.sleep(0.5)
        move = moved(pipes[0])
    of_old, of_new = ((cpu_of(pid) - before) / move.asked * 1e3 for pid, before in zip(pids, used, strict=True))
    os.kill(pids[0], signal.SIGTERM)
    time.sleep(2)
    print(
        f"{move.asked:,} clients of a worker were asked to reconnect within {within} s, and {len(move.back_at):,} did:"
    )
    print(f"the last after {max(move.back_at) - move.first_asked_at:.1f} s; {move.failed} attempts failed")
    p50, p99 = percentile(move.without, 0.5), percentile(move.without, 0.99)
    print(f"without a connection for p50 {p50 * 1e3:,.0f} ms, p99 {p99 * 1e3:,.0f} ms, the longest", end=" ")
    print(f"{max(move.without) * 1e3:,.0f} ms")
    print(f"CPU for each, pings included: {of_old:.2f} ms of the drained worker, {of_new:.2f} ms of the new one")


def moved(pipe: Connection) -> Move:
    pipe.send("move")
    move: Move = pipe.recv()
    return move


def report(pipes: list[Connection], connected: int) -> None:
    """One broadcast: until all have it, or for a minute."""
    delays: list[float] = []
    wrong = closed = 0
    deadline = time.monotonic() + 60
    while len(delays) < connected and time.monotonic() < deadline:
        time.sleep(2)
        for pipe in pipes:
            pipe.send("received")
        answers = [pipe.recv() for pipe in pipes]
        delays += [delay for some, _, _ in answers for delay in some]
        wrong, closed = (sum(answer[place] for answer in answers) for place in (1, 2))
    print(f"one broadcast reached {len(delays):,}, {wrong} of them twice or out of order", end="; ")
    print(f"{closed} connections were lost")
    if not delays:
        sys.exit("the client that should publish was lost, too")
    p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
    print(f"p50 {p50 * 1e3:,.0f} ms, p99 {p99 * 1e3:,.0f} ms, the last {max(delays) * 1e3:,.0f} ms")


def cpu(pids: list[int]) -> float:
    return sum(map(cpu_of, pids))


if __name__ == "__main__":
    main()
