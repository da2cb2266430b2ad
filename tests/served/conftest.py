"""The stores of generated projects: a PostgreSQL, and a Valkey server."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.served.faults import Process, free_port, valkey
from tests.template import apt_install, run


@pytest.fixture(scope="module")
def postgres(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL of its own: postgres://postgres@127.0.0.1:PORT/postgres."""
    binaries = find_postgres()
    home = Path(run(Path("/"), *as_nobody("mktemp", "--directory", "--tmpdir", "postgres-XXXXXX")).strip())
    data, port = str(home / "data"), free_port()
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(home, *as_nobody(binaries / "initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust"))
    control = binaries / "pg_ctl"
    run(home, *as_nobody(control, "--pgdata", data, "--wait", "--log", home / "log", "--options", options, "start"))
    yield f"postgres://postgres@127.0.0.1:{port}/postgres"
    run(home, *as_nobody(control, "--pgdata", data, "--wait", "--mode", "fast", "stop"))
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def valkey_program(tools: Tools) -> str:
    find = "from apps.common.tests.valkey import find; print(find())"
    return run(tools.home, ".venv/bin/python", "-c", find).strip().splitlines()[-1]


@pytest.fixture
def store(valkey_program: str, tmp_path: Path) -> Iterator[Process]:
    """A Valkey server."""
    process = valkey(valkey_program, tmp_path)
    process.start()
    yield process
    process.stop()


def find_postgres() -> Path:
    """Its folder of programs; as root on Debian it is installed, if it is missing."""
    if not (found := list(Path("/usr/lib/postgresql").glob("*/bin"))):
        apt_install("postgresql")
        found = list(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found and (program := shutil.which("pg_ctl")):
        found = [Path(program).resolve().parent]
    assert found, "No PostgreSQL was found, which these tests need. Install the system's package postgresql."
    return max(found, key=lambda path: float(path.parent.name) if path.parent.name.isdigit() else 0)


def as_nobody(*command: str | Path) -> tuple[str | Path, ...]:
    """PostgreSQL refuses to be run by root."""
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command) if os.geteuid() == 0 else command
