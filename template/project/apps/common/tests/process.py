"""A server in a process of its own, which a test may kill, suspend and start again at the same address."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

START_SECONDS = 60  # at most
STOP_SECONDS = 30
PORTS = range(20_000, 32_000)  # systems give connections higher ones

Process = subprocess.Popen[Any]

SERVE = """
import sys, uvicorn
from apps.common.server import UVICORN_OPTIONS

uvicorn.run(sys.argv[1], port=int(sys.argv[2]), **UVICORN_OPTIONS)
"""


class ServerProcess:
    """uvicorn with an application, served as in development, with a database and a memory of its own.

    application: as uvicorn wants it, "config.asgi:application".
    folder: for the database and the log.
    """

    def __init__(self, application: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-c", SERVE, application, str(self.port)]
        self._log = folder / f"server-{self.port}.log"
        # A developer's .env has no effect here.
        self._environment = {
            **os.environ,
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": f"sqlite:///{folder}/server-{self.port}.sqlite3",
            "DEBUG": "true",
            "HTTPS": "false",
            "REDIS_URL": "",
            "STATIC_URL": "/static/",
        }
        self._process: Process | None = None

    def start(self, **environment: str) -> None:
        """Returns when it takes connections. Harmless if it runs."""
        if not self._process:
            with self._log.open("ab") as log:
                env = self._environment | environment
                options: Any = {"cwd": settings.BASE_DIR, "env": env, "stdout": log, "stderr": log}
                self._process = subprocess.Popen(self._command, **options)
            self._wait_for(self._process)

    def kill(self) -> None:
        """As a crash does: it has no time to close anything. Harmless if it does not run."""
        self._end(subprocess.Popen.kill)

    def terminate(self) -> None:
        """As a deploy does: it closes its connections."""
        self._end(subprocess.Popen.terminate)

    def suspend(self) -> None:
        """It answers no client, and keeps all connections."""
        suspend(self._process)

    def resume(self) -> None:
        resume(self._process)

    def _wait_for(self, process: Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.05)
        pytest.fail(f"{self._command} did not start: {self._log.read_text()}")

    def _end(self, end: Callable[[Process], None]) -> None:
        process, self._process = self._process, None
        if process:
            end(process)
            process.wait(timeout=STOP_SECONDS)


def suspend(process: Process | None) -> None:
    """It does nothing until it is resumed, and keeps its state. Windows cannot do so: the test is skipped."""
    assert process, "it does not run"
    if sys.platform == "win32":
        pytest.skip("Windows cannot suspend a process.")
    process.send_signal(signal.SIGSTOP)


def resume(process: Process | None) -> None:
    assert process, "it does not run"
    if sys.platform != "win32":
        process.send_signal(signal.SIGCONT)


def free_port() -> int:
    """A port of this machine for a server of a test, which no other test gets as long as this process runs."""
    # The workers of pytest-randomly share the seed of `random`.
    for port in random.SystemRandom().sample(PORTS, min(len(PORTS), 100)):
        reservation = socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            reservation.bind(("127.0.0.1", port))
            reservation.detach()  # the UDP port stays bound: it reserves the TCP port that a server may close and open
            return port
        reservation.close()
    raise OSError("No port is free.")
