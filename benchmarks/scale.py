"""Idle signed-in connections, as many as asked for: `make bench-scale`, or `python benchmarks/scale.py 20000`.

Real sockets on 127.0.0.0/8, to as many worker processes as the limit of descriptors needs, which share a Valkey server.
The clients ping every 25 s as the base service does. Measured are the memory of the workers, their CPU while nothing
else happens, and one broadcast to all.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from array import array
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from typing import Any

from client import Client, cpu_of, masked, memory_of
from run import PROJECT, prepare, serving, valkey

PER_PROCESS = min(17_000, getrlimit(RLIMIT_NOFILE)[1] - 2_000)
PING_SECONDS = 25
IDLE_SECONDS = 30
CONNECTING_AT_ONCE = 50
PING = masked(b'{"type":"ping"}')


class Clients:
    """The clients of one worker, in a process of their own."""

    def __init__(self, number: int, url: str, cookie: str, count: int) -> None:
        self._address, self._port = url.removeprefix("ws://").split(":")
        self._source = f"127.0.{1 + number}.1"
        self._cookie = cookie
        self._count = count
        self._clients: list[Client] = []
        self._delays = array("d")

    async def serve(self, pipe: Connection) -> None:
        """Connect, ping, and do what the pipe asks for."""
        pinging = asyncio.create_task(self._ping())
        await self._connect()
        pipe.send(len(self._clients))
        while (asked := await asyncio.to_thread(pipe.recv)) != "end":
            if asked == "publish":
                data = {"type": "publish", "data": {"text": repr(time.monotonic())}}
                self._clients[0].transport.write(masked(json.dumps(data).encode()))
            elif asked == "delays":
                pipe.send((self._delays, sum(client.closed is not None for client in self._clients)))
        pinging.cancel()

    async def _connect(self) -> None:
        while len(self._clients) < self._count:
            batch = min(CONNECTING_AT_ONCE, self._count - len(self._clients))
            self._clients += await asyncio.gather(*(self._connect_one() for _ in range(batch)))

    async def _connect_one(self) -> Client:
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: Client(f"{self._address}:{self._port}", "/ws/fanout/", self._cookie, self._on_frame),
            self._address,
            int(self._port),
            local_addr=(self._source, 0),
        )
        await client.open
        return client

    def _on_frame(self, client: Client, payload: bytes) -> None:
        if b'"news"' in payload:
            self._delays.append(time.monotonic() - float(json.loads(payload)["data"]["text"]))

    async def _ping(self) -> None:
        parts = 100
        for turn in range(10**9):
            for client in self._clients[turn % parts :: parts]:
                if client.closed is None:
                    client.transport.write(PING)
            await asyncio.sleep(PING_SECONDS / parts)


def run_clients(number: int, url: str, cookie: str, count: int, pipe: Connection) -> None:
    asyncio.run(Clients(number, url, cookie, count).serve(pipe))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("connections", nargs="?", type=int, default=100_000)
    total = parser.parse_args().connections
    workers = -(-total // PER_PROCESS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        project, cookie = prepare(Path(folder) / "project")
        redis = stack.enter_context(valkey(project, Path(folder)))
        servers = [stack.enter_context(serving(PROJECT, project, redis, is_pinned=False)) for _ in range(workers)]
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
        report(pids, pipes, connected, used)
        for pipe in pipes:
            pipe.send("end")


def report(pids: list[int], pipes: list[Connection], connected: int, used: float) -> None:
    """One broadcast: until all have it, or for a minute."""
    delays: list[float] = []
    closed = 0
    deadline = time.monotonic() + 60
    while len(delays) < connected and time.monotonic() < deadline:
        time.sleep(2)
        for pipe in pipes:
            pipe.send("delays")
        answers = [pipe.recv() for pipe in pipes]
        delays, closed = sorted(delay for some, _ in answers for delay in some), sum(number for _, number in answers)
    print(f"one broadcast reached {len(delays):,}; {closed} connections were lost")
    if not delays:
        sys.exit("the client that should publish was lost, too")
    p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    print(f"p50 {p50 * 1e3:,.0f} ms, p99 {p99 * 1e3:,.0f} ms, the last {delays[-1] * 1e3:,.0f} ms")
    each = (cpu(pids) - used) / len(delays)
    print(f"CPU of the workers, pings of these seconds included: {each * 1e6:.1f} µs for each")


def cpu(pids: list[int]) -> float:
    return sum(map(cpu_of, pids))


if __name__ == "__main__":
    main()
