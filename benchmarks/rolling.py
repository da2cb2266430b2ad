"""A rolling restart under load: `make bench-scale PART=rolling`, or `python benchmarks/rolling.py --clients 1000`.

Two processes share a Valkey server, and a third one broadcasts all the time. Each of the two is ended with SIGTERM, as
in a deploy, and started again. The clients reconnect with their position, after the delays of the base service, to a
process that accepts connections. Each must receive every broadcast once. Prints the account, and writes rolling.svg.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any

from client import Client, connect, cpu_of, masked
from line_plot import Line, Panel, line_plot
from measures import percentile
from run import HERE, PROJECT, free_port, prepare, start_of, valkey, wait_for

BROADCASTS_PER_SECOND = 4
PING_SECONDS = 25
SAMPLE_SECONDS = 0.5
CALM_SECONDS = 5  # before and after each restart
CONNECTING_AT_ONCE = 50
# Seconds; the constants of the base service, in websocket.js and backoff.js.
MIN_DELAY, MAX_DELAY, RESTART_SPREAD = 1.0, 30.0, 10.0
RESTARTING = 1012
PING = masked(b'{"type":"ping"}')
# Serves no client, as a worker of a task queue: one broadcast for each line of its standard input.
PUBLISHER = """
import sys, django
django.setup()
from apps.bench.consumers import News
from apps.common.websockets import broadcast
for number, _ in enumerate(sys.stdin):
    broadcast("fanout", News(text=str(number)), strict=True)
print(number + 1)
"""


class Worker:
    """One process of the project, on a port that it keeps."""

    def __init__(self, project: Path, redis: str) -> None:
        self.port = free_port()
        self.accepted = 0
        self._folder = project
        self._command, self._environment = start_of(PROJECT, project, self.port, redis)
        self._ended = self._used = 0.0  # seconds of CPU

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd=self._folder, env={**os.environ, **self._environment})
        wait_for(self.port, self._process)

    def restart(self) -> float:
        """The seconds from the signal until it accepts connections again."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)
        self._ended, self._used = self._ended + self._used, 0
        self.start()
        return time.monotonic() - began

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def cpu(self) -> float:
        """Seconds of CPU, also of the processes before a restart."""
        with suppress(OSError):  # between two processes
            self._used = cpu_of(self._process.pid)
        return self._ended + self._used


class Session(Client):
    """One connection, until it is lost: the close code."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.lost.set_result(self.closed)


class Follower:
    """A client of the group that reconnects with its position."""

    def __init__(self, workers: list[Worker], cookie: str) -> None:
        self.session: Client | None = None
        self.numbers: list[int] = []  # of the broadcasts, in the order of arrival
        self.longest_wait = 0.0  # seconds between two of them
        self.closed: list[int] = []
        self.reloads = 0  # requests to reload the state, as broadcasts are gone
        self._workers = workers
        self._cookie = cookie
        self._query = ""
        self._last_at = 0.0

    async def follow(self) -> None:
        attempt = 0
        while True:
            code = 1006
            with suppress(OSError, TimeoutError):
                code = await self._connect()
                attempt = 0
            self.closed.append(code)
            half = min(MAX_DELAY, MIN_DELAY * 2**attempt) / 2
            spread = RESTART_SPREAD if code == RESTARTING and not attempt else half
            attempt += 1
            await asyncio.sleep(half + random.random() * spread)

    async def _connect(self) -> int:
        """To a process that accepts connections, as a load balancer selects it; until the connection is lost."""
        for worker in random.sample(self._workers, len(self._workers)):
            url = f"ws://127.0.0.1:{worker.port}/ws/fanout/{self._query}"
            with suppress(ConnectionRefusedError):
                session = await asyncio.wait_for(connect(url, self._on_frame, self._cookie, Session), 10)
                break
        else:
            return 1006
        assert isinstance(session, Session)
        worker.accepted += 1
        self.session = session
        code: int = await session.lost
        self.session = None
        return code

    def _on_frame(self, client: Client, payload: bytes) -> None:
        message = json.loads(payload)
        data = message.get("data")
        if message["type"] == "news":
            self._query = self._query.partition("seq=")[0] + f"seq={message['seq']}"
            self.numbers.append(int(data["text"]))
            now = time.monotonic()
            self.longest_wait = max(self.longest_wait, now - (self._last_at or now))
            self._last_at = now
        elif message["type"] == "welcome":
            self.reloads += data["recovered"] is False
            self._query = self._query or f"?epoch={data['epoch']}&seq={data['seq']}"
        elif message["type"] == "resync":
            self.reloads += 1


@dataclass
class Samples:
    """The processes over time: totals, each SAMPLE_SECONDS."""

    workers: list[Worker]
    seconds: list[float] = field(default_factory=list)
    cpu: list[list[float]] = field(default_factory=list)
    accepted: list[list[float]] = field(default_factory=list)
    marks: list[float] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    async def take(self) -> None:
        while True:
            self.seconds.append(time.monotonic() - self._began)
            self.cpu.append([worker.cpu() for worker in self.workers])
            self.accepted.append([worker.accepted for worker in self.workers])
            await asyncio.sleep(SAMPLE_SECONDS)

    def mark(self) -> None:
        self.marks.append(time.monotonic() - self._began)

    def plot(self) -> str:
        titles = ["CPU of each process, % of a core", "connections accepted/s"]
        panels = [
            Panel(title, [self._line(number, series, scale) for number in range(len(self.workers))], self.marks)
            for title, series, scale in zip(titles, (self.cpu, self.accepted), (100, 1), strict=True)
        ]
        return line_plot(panels, "seconds; the dashed lines are restarts")

    def _line(self, number: int, series: list[Any], scale: float) -> Line:
        spans = zip(self.seconds, self.seconds[1:], series, series[1:], strict=False)
        points = [
            (end, (after[number] - before[number]) / (end - start) * scale) for start, end, before, after in spans
        ]
        return Line(f"process {number + 1}", points)


async def roll(
    workers: list[Worker], followers: list[Follower], publisher: subprocess.Popen[bytes]
) -> tuple[Samples, int]:
    """Connect, restart one process after the other, and wait until every client has every broadcast; their number."""
    samples = Samples(workers)
    tasks = [asyncio.create_task(samples.take()), asyncio.create_task(ping(followers))]
    for first in range(0, len(followers), CONNECTING_AT_ONCE):
        batch = followers[first : first + CONNECTING_AT_ONCE]
        tasks += [asyncio.create_task(follower.follow()) for follower in batch]
        await are_connected(batch)
    print(f"{len(followers):,} signed-in clients, {BROADCASTS_PER_SECOND} broadcasts/s")
    publishing = asyncio.create_task(publish(publisher))
    await asyncio.sleep(CALM_SECONDS)
    for worker in workers:
        samples.mark()
        print(f"restarted in {await asyncio.to_thread(worker.restart):.1f} s", end=", ")
        print(f"all were connected again after {await are_connected(followers):.1f} s more")
        await asyncio.sleep(CALM_SECONDS)
    publishing.cancel()
    sent = int((await asyncio.to_thread(publisher.communicate))[0])
    deadline = time.monotonic() + 30
    while any(len(follower.numbers) < sent for follower in followers) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    return samples, sent


async def publish(publisher: subprocess.Popen[bytes]) -> None:
    assert publisher.stdin
    while True:
        publisher.stdin.write(b"\n")
        publisher.stdin.flush()
        await asyncio.sleep(1 / BROADCASTS_PER_SECOND)


async def are_connected(followers: list[Follower]) -> float:
    """Wait until all are; the seconds that it took."""
    began = time.monotonic()
    while not all(follower.session for follower in followers):
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def ping(followers: list[Follower]) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        for follower in followers:
            if follower.session:
                follower.session.transport.write(PING)


def report(followers: list[Follower], sent: int) -> int:
    """Print the account. Returns how many broadcasts were lost, duplicated or out of order."""
    expected = list(range(sent))
    lost = sum(len(set(expected).difference(follower.numbers)) for follower in followers)
    wrong = sum(follower.numbers != expected for follower in followers)
    reloads = sum(follower.reloads for follower in followers)
    codes = Counter(code for follower in followers for code in follower.closed)
    print(f"closed with: {', '.join(f'{code} {count:,} times' for code, count in codes.most_common())}")
    waits = [follower.longest_wait for follower in followers]
    print(f"longest wait for the next broadcast: p50 {percentile(waits, 0.5):.1f} s, longest {max(waits):.1f} s")
    print(
        f"of {sent:,} broadcasts to each: {lost} lost; clients with one lost, twice or out of order: {wrong}", end="; "
    )
    print(f"requests to reload: {reloads}")
    return wrong + reloads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--plot", type=Path, default=HERE / "rolling.svg")
    options = parser.parse_args()
    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        project, cookie = prepare(Path(folder) / "project")
        redis = stack.enter_context(valkey(project, Path(folder)))
        workers = [Worker(project, redis) for _ in range(2)]
        for worker in workers:
            worker.start()
            stack.callback(worker.stop)
        followers = [Follower(workers, cookie) for _ in range(options.clients)]
        command, environment = start_of(PROJECT, project, workers[0].port, redis)
        environment |= {"DJANGO_SETTINGS_MODULE": "config.settings"}
        publisher = subprocess.Popen(
            [command[0], "-c", PUBLISHER],
            cwd=project,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stack.callback(publisher.kill)
        samples, sent = asyncio.run(roll(workers, followers, publisher))
    options.plot.write_text(samples.plot())
    sys.exit(1 if report(followers, sent) else 0)


if __name__ == "__main__":
    main()
