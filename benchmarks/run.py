"""Runs a generated project beside what a user might pick instead, in turns: `make bench`.

What counts are the ratios: machines differ, and drift. Everything talks to 127.0.0.1, and stops by itself. A run of all
measures writes results.md and results.svg.
"""

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measures
from client import run_in_rounds
from measures import Server
from peers import PEERS
from results import Results

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parent
# As in production: with DEBUG on, Django would keep a log of its queries, which counts as memory of the connections.
PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "of a benchmark that only this machine can reach",
    "ALLOWED_HOSTS": "127.0.0.1",
}
ALL = list(PEERS)
PROJECT, ASGI, STOCK, CHANX, DCRF, PLAIN, STARLETTE, PYTHON_SOCKETIO, WEBSOCKETS, PICOWS, NODE_WS, _, UWEBSOCKETS = ALL
SIGNED_IN = [PROJECT, ASGI, STOCK, CHANX, DCRF]
# The two that send by stock Channels' layer are left out where it is measured itself.
OWN_FANOUT = [server for server in ALL if server not in (CHANX, DCRF)]
FASTEST = [PROJECT, ASGI, PLAIN, WEBSOCKETS, PICOWS, NODE_WS, UWEBSOCKETS]


@dataclass(frozen=True)
class Measure:
    """A measure, and the servers that it is taken of: those that have something to compare."""

    function: Callable[[Server], Coroutine[Any, Any, dict[str, float]]]
    servers: list[str]
    in_rounds: bool = False  # a client that asks for throughput, not for the time of each answer
    over_redis: bool = False
    is_steady: bool = False  # differs so little between turns that one is enough


MEASURES = {
    "fanout100": Measure(measures.fanout_to_100, OWN_FANOUT, in_rounds=True),
    "fanout": Measure(measures.fanout, ALL, in_rounds=True),
    "fanout4000": Measure(measures.fanout_to_4000, FASTEST, in_rounds=True),
    "fanout10k": Measure(measures.fanout_of_10_kb, OWN_FANOUT, in_rounds=True),
    "rooms": Measure(measures.rooms, OWN_FANOUT, in_rounds=True),
    "latency": Measure(measures.latency, OWN_FANOUT, in_rounds=True),
    "fanout_redis": Measure(measures.fanout, [*SIGNED_IN, PYTHON_SOCKETIO], in_rounds=True, over_redis=True),
    "unnumbered": Measure(measures.unnumbered, [PROJECT], in_rounds=True, is_steady=True),
    "stalled": Measure(measures.stalled, [PROJECT], in_rounds=True, is_steady=True),
    "slow_reader": Measure(measures.slow_reader, OWN_FANOUT, in_rounds=True, is_steady=True),
    "burst": Measure(measures.burst, [PROJECT, STOCK], in_rounds=True, is_steady=True),
    "burst_redis": Measure(measures.burst, [PROJECT, STOCK], in_rounds=True, over_redis=True, is_steady=True),
    "echo": Measure(measures.echo, ALL, in_rounds=True),
    "round_trip": Measure(measures.round_trip, ALL),
    "blocked": Measure(measures.blocked, [PROJECT, STOCK], is_steady=True),
    "signing_in": Measure(measures.signing_in, SIGNED_IN),
    "memory": Measure(measures.memory, SIGNED_IN, is_steady=True),
    "idle": Measure(measures.idle, ALL, is_steady=True),
    "growth": Measure(measures.growth, [PROJECT], in_rounds=True, is_steady=True),
}


# By `make bench-check`: a few minutes, CPU time alone.
CHECKED = ["fanout", "echo"]
CHECKED_BESIDE = [PROJECT, PLAIN, STARLETTE, WEBSOCKETS, PICOWS, NODE_WS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measures", nargs="*", help=f"some of: {', '.join(MEASURES)} (all)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--server", action="append", choices=ALL, help="one of several (all)")
    parser.add_argument("--check", action="store_true", help="compare the ratios with those of ratios.json")
    options = parser.parse_args()
    if options.check:
        options.measures = CHECKED
    if unknown := set(options.measures) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    servers = CHECKED_BESIDE if options.check else options.server or ALL
    pin(os.getpid(), 1)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        project, cookie = prepare(Path(folder) / "project")
        install_peers(project)
        results = Results({name: PEERS[name] for name in servers}, project / ".venv/bin/python")
        redis = stack.enter_context(valkey(project, Path(folder)))
        for turn in range(options.turns):
            for name in options.measures or MEASURES:
                measure = MEASURES[name]
                if turn and measure.is_steady:
                    continue
                for server in filter(servers.__contains__, measure.servers):
                    print(f"turn {turn + 1}: {name}, {server}", file=sys.stderr)
                    for what, value in run(measure, server, project, cookie, redis).items():
                        results.add(what + (", over Valkey" if measure.over_redis else ""), server, value)
    print(results.table())
    if options.check:
        sys.exit(results.compare(HERE) or 0)
    if not options.measures and not options.server:
        results.write(HERE)


def prepare(project: Path) -> tuple[Path, str]:
    """A generated project with the consumers that are measured, and the cookie of a user who is signed in."""
    import copier

    # With the base's tests, whose Valkey server is used here.
    copier.run_copy(str(TEMPLATE), project, data={"base_tests": True}, defaults=True, quiet=True, vcs_ref="HEAD")
    shutil.copytree(HERE / "servers" / "bench", project / "apps" / "bench")
    uv(project, "sync", "--quiet")
    uv(project, "run", "manage.py", "migrate", "--verbosity", "0")
    uv(project, "run", "manage.py", "collectstatic", "--no-input", "--verbosity", "0")
    script = (
        "from apps.users.models import User; from django.test import Client; c = Client();"
        "c.force_login(User.objects.create_user('bench')); print(c.cookies['sessionid'].OutputString(attrs=[]))"
    )
    cookie = uv(project, "run", "manage.py", "shell", "--verbosity", "0", "--command", script)
    return project, cookie.strip().splitlines()[-1]


def install_peers(project: Path) -> None:
    """The packages of the other servers: of Python in the project's environment, of Node.js beside this file."""
    uv(project, "pip", "install", "--quiet", "--group", f"{TEMPLATE}/pyproject.toml:bench")
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=True)


def uv(project: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | PRODUCTION
    done = subprocess.run(
        ["uv", *arguments], cwd=project, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def run(measure: Measure, server: str, project: Path, cookie: str, redis: str) -> dict[str, float]:
    """One measure of one server, which is started for it."""
    with serving(server, project, redis if measure.over_redis else "") as (url, pid):
        runner = run_in_rounds if measure.in_rounds else asyncio.run
        return runner(measure.function(Server(PEERS[server], url, pid, cookie)))


@contextmanager
def valkey(project: Path, folder: Path) -> Iterator[str]:
    """A server of the project's own tests: redis://127.0.0.1:PORT."""
    find = "from apps.common.tests import valkey; print(valkey.find() or '')"
    program = uv(project, "run", "python", "-c", find).strip()
    if not program:
        sys.exit("no Valkey server was found: install the system's package valkey-server or redis-server")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "", "--loglevel", "warning"]
    with running([program, *options], port, folder):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def serving(server: str, project: Path, redis: str, is_pinned: bool = True) -> Iterator[tuple[str, int]]:
    port = free_port()
    command, environment = start_of(server, project, port, redis)
    with running(command, port, project, **environment) as pid:
        if is_pinned:
            pin(pid, 0)
        yield f"ws://127.0.0.1:{port}", pid


def start_of(server: str, project: Path, port: int, redis: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that start a server."""
    peer = PEERS[server]
    words = peer.command.replace("PORT", str(port)).split()
    command = words if peer.is_node else [str(project / ".venv/bin/python"), *words]
    environment = {"PYTHONPATH": str(HERE / "servers"), "REDIS_URL": redis, "LOG_LEVEL": "ERROR", "PORT": str(port)}
    return command, environment | PRODUCTION


def pin(pid: int, core: int) -> None:
    """Hold a process to one core, so that the client and the server do not push each other off theirs."""
    if len(cores := sorted(os.sched_getaffinity(0) | {core})) > 1:
        os.sched_setaffinity(pid, {cores[core]})


@contextmanager
def running(command: list[str], port: int, folder: Path, **environment: str) -> Iterator[int]:
    """A server's process id, from when it answers until it is killed."""
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("the server did not start")


if __name__ == "__main__":
    main()
