"""Runs a generated project, stock Channels and a plain ASGI application side by side, in turns: `make bench`.

What counts are the ratios: machines differ, and drift. Each figure is the median of the turns. Everything talks to
127.0.0.1, and stops by itself.
"""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measures
from measures import Server

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parent
APPLICATIONS = {"project": "config.asgi:application", "stock": "stock:application", "plain": "plain:application"}
UVICORN = [
    "--ws",
    "websockets-sansio",
    "--ws-per-message-deflate",
    "false",
    "--log-level",
    "warning",
    "--no-access-log",
]

# Each measure with the servers that have something to compare.
MEASURES = {
    "echo": (measures.echo, ["project", "stock", "plain"]),
    "round_trip": (measures.round_trip, ["project", "stock", "plain"]),
    "blocked": (measures.blocked, ["project", "stock"]),
    "fanout": (measures.fanout, ["project", "stock", "plain"]),
    "unnumbered": (lambda server: measures.fanout(server, "/ws/unnumbered/"), ["project"]),
    "stalled": (measures.stalled, ["project"]),
    "fanout4000": (lambda server: measures.fanout(server, members=4_000), ["project", "plain"]),
    "burst": (measures.burst, ["project", "stock"]),
    "signing_in": (measures.signing_in, ["project", "stock"]),
    "memory": (measures.memory, ["project", "stock"]),
    "growth": (measures.growth, ["project"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measures", nargs="*", help=f"some of: {', '.join(MEASURES)} (all)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--redis", metavar="URL", default="", help="also measure over this Redis or Valkey")
    options = parser.parse_args()
    unknown = set(options.measures) - set(MEASURES)
    if unknown:
        parser.error(f"no such measure: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    with tempfile.TemporaryDirectory() as folder:
        project, cookie = prepare(Path(folder) / "project")
        results: dict[str, dict[str, list[float]]] = {}
        for turn in range(options.turns):
            for name in options.measures or MEASURES:
                for server in MEASURES[name][1]:
                    print(f"turn {turn + 1}: {name}, {server}", file=sys.stderr)
                    for what, value in run(name, server, project, cookie, options.redis).items():
                        results.setdefault(what, {}).setdefault(server, []).append(value)
        print(table(results))


def prepare(project: Path) -> tuple[Path, str]:
    """A generated project with the consumers that are measured, and the cookie of a user who is signed in."""
    import copier

    copier.run_copy(str(TEMPLATE), project, defaults=True, quiet=True, vcs_ref="HEAD")
    shutil.copytree(HERE / "servers" / "bench", project / "apps" / "bench")
    uv(project, "sync", "--quiet")
    uv(project, "pip", "install", "--quiet", "uvloop")  # as many run in production; for all three alike
    uv(project, "run", "manage.py", "migrate", "--verbosity", "0")
    script = (
        "from django.contrib.auth.models import User; from django.test import Client; c = Client();"
        "c.force_login(User.objects.create_user('bench')); print(c.cookies['sessionid'].OutputString(attrs=[]))"
    )
    cookie = uv(project, "run", "manage.py", "shell", "--verbosity", "0", "--command", script)
    return project, cookie.strip().splitlines()[-1]


def uv(project: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        ["uv", *arguments], cwd=project, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def run(name: str, server: str, project: Path, cookie: str, redis: str) -> dict[str, float]:
    """One measure of one server, which is started for it."""
    with serving(server, project, redis) as (url, pid):
        return asyncio.run(MEASURES[name][0](Server(server, url, pid, cookie)))


@contextmanager
def serving(server: str, project: Path, redis: str) -> Iterator[tuple[str, int]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [str(project / ".venv/bin/uvicorn"), APPLICATIONS[server], "--port", str(port), *UVICORN]
    environment = {**os.environ, "PYTHONPATH": str(HERE / "servers"), "REDIS_URL": redis, "LOG_LEVEL": "ERROR"}
    process = subprocess.Popen(command, cwd=project, env=environment)
    try:
        wait_for(port, process)
        yield f"ws://127.0.0.1:{port}", process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("the server did not start")


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """The medians, and the project's ratio to each of the others."""
    lines = ["| | project | stock | plain | × stock | × plain |", "|---|---:|---:|---:|---:|---:|"]
    for what, by_server in results.items():
        medians = {server: statistics.median(values) for server, values in by_server.items()}
        cells = [f"{medians[server]:,.1f}" if server in medians else "" for server in APPLICATIONS]
        ratios = [_ratio(medians["project"], medians.get(server)) for server in ("stock", "plain")]
        lines.append(f"| {what} | {' | '.join([*cells, *ratios])} |")
    return "\n".join(lines)


def _ratio(value: float, other: float | None) -> str:
    return f"{value / other:.2f}" if other else ""


if __name__ == "__main__":
    main()
