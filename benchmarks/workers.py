"""A second worker: `make bench-scale PART=workers`, or `python benchmarks/workers.py --turns 1`.

One worker and two (WORKERS=2), in turns, over a Valkey server: echo, and fan-out to 1,000 members of one group, which
the two share. All cores are for the workers, the client and Valkey together, so on two cores the throughput of two
workers is what the client leaves to them. What counts is the CPU of the workers for each operation.
"""

import argparse
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import measures
from client import children_of, cpu_of, run_in_rounds
from measures import Server
from peers import PEERS
from results import machine, median_and_spread
from run import PROJECT, free_port, prepare, running, start_of, valkey

WORKERS = [1, 2]
SECONDS = 4  # that each measure takes
STARTING_SECONDS = 60

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    found: dict[str, dict[int, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        project, cookie = prepare(Path(folder) / "project")
        redis = stack.enter_context(valkey(project, Path(folder)))
        for turn in range(turns):
            for workers in WORKERS:
                print(f"turn {turn + 1}: WORKERS={workers}", file=sys.stderr)
                for what, figure in measure(workers, project, cookie, redis).items():
                    found.setdefault(what, {}).setdefault(workers, []).append(figure)
        print(machine(project / ".venv/bin/python"))
    print("\n|  | one worker | two workers |\n|---|---:|---:|")
    for what, by_workers in found.items():
        print(f"| {what} | {' | '.join(median_and_spread(by_workers.get(each, [])) for each in WORKERS)} |")


def measure(workers: int, project: Path, cookie: str, redis: str) -> Figures:
    """The figures of a server that is started for them."""
    with serving(workers, project, redis) as (url, pid):
        server = Server(PEERS[PROJECT], url, pid, cookie)
        echo = with_client("echo", measures.echo(server, seconds=SECONDS))
        before, used = valkey_info(redis)
        fanout = with_client("fan-out", measures.fanout(server, seconds=SECONDS))
        after, used_then = valkey_info(redis)
        of_each = [cpu_of(child) for child in children_of(pid)] or [cpu_of(pid)]
    return {
        **echo,
        **fanout,
        "fan-out, CPU of Valkey for each broadcast, µs": (used_then - used) / (after - before) * 1e6,
        "share of the busier worker in their CPU, %": max(of_each) / sum(of_each) * 100,
    }


def with_client(name: str, measuring: Coroutine[Any, Any, Figures]) -> Figures:
    """The figures of a measure, and the cores that the client used meanwhile: one at most."""
    began, used = time.monotonic(), time.process_time()
    figures = run_in_rounds(measuring)
    share = (time.process_time() - used) / (time.monotonic() - began)
    return figures | {f"{name}, CPU of the client, cores": share}


@contextmanager
def serving(workers: int, project: Path, redis: str) -> Iterator[tuple[str, int]]:
    """The URL and the process id of a server of which every worker accepts connections."""
    port = free_port()
    command, environment = start_of(PROJECT, project, port, redis)
    with running(command, port, project, **environment, WORKERS=str(workers)) as pid:
        wait_until(lambda: f"pubsub_clients:{workers}\r" in valkey_text(redis))  # each subscribes when it starts
        time.sleep(1)
        children = children_of(pid)
        try:
            yield f"ws://127.0.0.1:{port}", pid
        finally:
            os.kill(pid, signal.SIGTERM)  # killed, it would leave its workers behind
            wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            sys.exit("the workers did not start or end")
        time.sleep(0.1)


def valkey_info(url: str) -> tuple[int, float]:
    """How many scripts a Valkey server has run, one for each broadcast, and its seconds of CPU."""
    text = valkey_text(url)
    calls = re.search(r"cmdstat_evalsha:calls=(\d+)", text)
    return int(calls[1]) if calls else 0, sum(map(float, re.findall(r"used_cpu_(?:sys|user):([\d.]+)", text)))


def valkey_text(url: str) -> str:
    """The answer to INFO ALL."""
    address = ("127.0.0.1", urlsplit(url).port or 6379)
    with socket.create_connection(address) as connection, connection.makefile("rb") as file:
        connection.sendall(b"INFO all\r\n")
        return file.read(int(file.readline()[1:])).decode()


if __name__ == "__main__":
    main()
