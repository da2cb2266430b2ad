"""Pages end equal to the database, whatever writes to it and whatever fails.

`make test` runs one seed on each database, `make truth SEEDS=10` more of them. test_mechanisms.py shows what it
depends on.
"""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.served.faults import Process, flush, server
from tests.served.truth.pages import Row, RowsPage
from tests.template import run

pytestmark = pytest.mark.turn(3)

SEEDS = range(1, 1 + int(os.environ.get("TRUTH_SEEDS") or 1))
SECONDS = float(os.environ.get("TRUTH_SECONDS") or 15)
EQUAL_SECONDS = 30.0  # at most, after the last write; a lost notification is noticed within 10
PAGES, WRITERS = 8, 4
ROWS = """
import json
from apps.orders.live import LiveOrder
from apps.users.models import User
pages = [LiveOrder.page(user.pk, user.is_staff) for user in User.objects.order_by("is_staff")]
print("ROWS", json.dumps([[json.loads(text) for text in page.values()] for page in pages]))
"""
USERS = """
from django.test import Client
from apps.users.models import User
for name in ("ann", "max"):
    client = Client()
    client.force_login(User.objects.create_user(name, is_staff=name == "max"))
    print("COOKIE", client.cookies["sessionid"].OutputString(attrs=[]))
"""


@dataclass
class Verdict:
    """The end of a run. different: of each page that is not equal to the database, what it shows and what it should."""

    different: list[tuple[list[Row], list[Row]]] = field(default_factory=list)
    too_much: list[Row] = field(default_factory=list)  # rows that a page showed, and whose user may not see them
    account: str = ""


class World:
    """Two servers over one store, one of which sends by ASGI, writers, pages, and faults by a seed."""

    def __init__(self, project: Path, python: Path, store: Process, seed: int, **environment: str) -> None:
        self._project = project
        self._python = python
        self._store = store
        self._chance = random.Random(seed)  # noqa: S311
        redis = f"redis://127.0.0.1:{store.port}"
        self._environment = {**os.environ, **environment, "REDIS_URL": redis, "LOG_LEVEL": "CRITICAL"}
        self._servers = [server(project, python, redis, by_asgi=by_asgi, **environment) for by_asgi in (False, True)]
        self._writers: list[subprocess.Popen[str]] = []
        self._pages: list[RowsPage] = []
        self._counts = dict.fromkeys(("killed writers", "killed servers", "faults of the store"), 0)

    async def run(self, seconds: float) -> Verdict:
        self._manage("migrate", "--verbosity", "0")
        cookies = re.findall("COOKIE (.+)", self._manage("shell", "--verbosity", "0", "--command", USERS))
        for each in self._servers:
            each.start()
        seeds = [self._chance.randrange(10**9) for _ in range(PAGES)]
        self._pages = [RowsPage(self._servers, cookies[n % 2], bool(n % 2), seed) for n, seed in enumerate(seeds)]
        running = [asyncio.create_task(page.run()) for page in self._pages]
        try:
            async with asyncio.timeout(60):
                while not all(page.states for page in self._pages):
                    await asyncio.sleep(0.05)
            await self._inject(seconds)
            writes = sum(int(writer.communicate()[0] or 0) for writer in self._writers)
            assert {writer.returncode for writer in self._writers} <= {0, -signal.SIGKILL}
            verdict = await self._verdict(writes)
            for task in running:
                assert not task.done(), task.exception()
            return verdict
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            for each in self._servers:
                each.stop()
            for writer in self._writers:
                writer.kill()

    async def _inject(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        faults = [self._drop] * 7 + [self._kill_writer] * 5 + [self._kill_server, self._pause_store, self._flush_store]
        for _ in range(WRITERS):
            self._write(seconds)
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(self._chance.uniform(0.1, 0.6))
            await self._chance.choice(faults)(left)

    async def _drop(self, left: float) -> None:
        self._chance.choice(self._pages).drop()

    async def _kill_writer(self, left: float) -> None:
        writer = self._chance.choice(self._writers)
        if writer.poll() is None:
            writer.kill()
            self._counts["killed writers"] += 1
        self._write(left)

    async def _kill_server(self, left: float) -> None:
        self._counts["killed servers"] += 1
        each = self._chance.choice(self._servers)
        each.stop()
        await asyncio.to_thread(each.start)

    async def _pause_store(self, left: float) -> None:
        self._counts["faults of the store"] += 1
        self._store.signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        self._store.signal(signal.SIGCONT)

    async def _flush_store(self, left: float) -> None:
        self._counts["faults of the store"] += 1
        await flush(self._store)

    async def _verdict(self, writes: int) -> Verdict:
        until = time.monotonic() + EQUAL_SECONDS
        while True:
            expected = await asyncio.to_thread(self._rows)
            pairs = [(page.rows, expected[page.is_staff]) for page in self._pages]
            different = [(shown, rows) for shown, rows in pairs if shown != rows]
            if not different or time.monotonic() > until:
                break
            await asyncio.sleep(0.2)
        totals = {name: sum(getattr(page, name) for page in self._pages) for name in ("states", "changes", "drops")}
        account = f"{writes} writes of those that were not killed, {self._counts}, {totals}"
        return Verdict(different, [row for page in self._pages for row in page.too_much], account)

    def _rows(self) -> list[list[Row]]:
        [text] = re.findall("ROWS (.+)", self._manage("shell", "--verbosity", "0", "--command", ROWS))
        rows: list[list[Row]] = json.loads(text)
        return rows

    def _write(self, seconds: float) -> None:
        command = [str(self._python), "manage.py", "write", str(self._chance.randrange(10**9)), str(seconds)]
        writer = subprocess.Popen(
            command,
            cwd=self._project,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._writers.append(writer)

    def _manage(self, *arguments: str) -> str:
        return run(self._project, self._python, "manage.py", *arguments, succeed=True, **self._environment)


Run = Callable[..., Verdict]


@pytest.fixture
def truth(project: Path, tools: Tools, store: Process, tmp_path: Path) -> Run:
    """Runs a world with a seed until its pages are equal to the database, or should be."""

    def run_world(seed: int, database: str, seconds: float = SECONDS) -> Verdict:
        python = tools.home / ".venv/bin/python"
        world = World(project, python, store, seed, DATABASE_URL=database)
        verdict = asyncio.run(world.run(seconds))
        print(f"seed {seed}: {verdict.account}")
        return verdict

    return run_world


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_end_equal_to_sqlite(truth: Run, seed: int, tmp_path: Path) -> None:
    verdict = truth(seed, f"sqlite:///{tmp_path}/db.sqlite3")
    assert verdict.different == []
    assert verdict.too_much == []


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_end_equal_to_postgresql(truth: Run, seed: int, postgres: str, tools: Tools) -> None:
    make = f"import psycopg; psycopg.connect({postgres!r}, autocommit=True).execute('CREATE DATABASE truth_{seed}')"
    run(tools.home, tools.home / ".venv/bin/python", "-c", make)
    verdict = truth(seed, f"{postgres.removesuffix('postgres')}truth_{seed}")
    assert verdict.different == []
    assert verdict.too_much == []
