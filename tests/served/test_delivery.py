"""Nothing is lost silently: through each fault, every client has every broadcast once, in order, or reloads its state.

Each test prints its account: what was sent and received, twice, out of order, and the longest wait for the next one.
"""

import asyncio
import json
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from client import Client, connect_many, masked

from tests.conftest import Tools
from tests.served.faults import (
    DEADLINE_SECONDS,
    METRICS_TOKEN,
    Account,
    Follower,
    Page,
    Process,
    Publisher,
    free_port,
    metrics,
    server,
)
from tests.template import ROOT, run

pytestmark = pytest.mark.turn(4)


@pytest.fixture(scope="module")
def project(plain: Path, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the consumers of the benchmarks, whose pages may publish as fast as they like."""
    made = Path(shutil.copytree(plain, tmp_path_factory.mktemp("faults") / "project"))
    shutil.copytree(ROOT / "benchmarks/servers/bench", made / "apps/bench")
    tools.run(made, "python", "manage.py", "migrate", "--verbosity", "0")
    return made


@pytest.fixture
def python(tools: Tools) -> Path:
    return tools.home / ".venv/bin/python"


@pytest.fixture
def alone(project: Path, python: Path) -> Iterator[Process]:
    """One process, with everything in memory."""
    process = server(project, python)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def pair(project: Path, python: Path, store: Process) -> Iterator[tuple[Process, Process]]:
    """Two processes over one Valkey server."""
    redis = f"redis://127.0.0.1:{store.port}"
    processes = server(project, python, redis), server(project, python, redis)
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.stop()


@pytest.fixture
def follower(alone: Process) -> Iterator[Follower]:
    """A page in a process of its own."""
    follower = Follower(alone)
    follower.is_connected()
    yield follower
    follower.stop()


async def follow(count: int, *servers: Process) -> list[Page]:
    pages = [Page(*servers) for _ in range(count)]
    for page in pages:
        await page.is_connected()
    return pages


async def settle(pages: list[Page], sent: set[int], fault: str) -> None:
    """Every page has everything, once and in order, and never reloads its state."""
    for page in pages:
        await page.has(sent)
        await page.close()
        assert_complete(page.account, sent)
    report(fault, [page.account for page in pages], sent)


def assert_complete(account: Account, sent: set[int]) -> None:
    assert (account.lost(sent), account.twice, account.out_of_order, account.resyncs) == (0, 0, 0, 0)


async def settle_reloaded(pages: list[Page], sent: set[int], last: int, fault: str) -> None:
    """Every client continues, once and in order, and reloads its state for what it lacks."""
    for page in pages:
        await page.has_number(last)
        await page.close()
        account = page.account
        assert (account.twice, account.out_of_order) == (0, 0)
        assert account.lost(sent) == 0 or account.resyncs > 0
        assert account.lost_since_resync(sent) == 0
    report(fault, [page.account for page in pages], sent)


def report(fault: str, accounts: list[Account], sent: set[int]) -> None:
    received = min(len(account.numbers) for account in accounts)
    reloads = max(account.resyncs for account in accounts)
    gap = max(account.longest_gap for account in accounts)
    print(f"{fault}: {len(sent)} sent, {received} received at least, {reloads} reloads, wait {gap:.1f} s")


def test_pages_whose_connections_are_dropped_miss_nothing(alone: Process) -> None:
    async def scenario() -> None:
        pages = await follow(5, alone)
        publishers = [Publisher(alone, range(start, start + 500)) for start in range(0, 2_000, 500)]
        publishing = [asyncio.create_task(publisher.run()) for publisher in publishers]
        for drop in range(20):
            await pages[0].has_number(drop * 20)
            await pages[drop % 5].drop()
        sent = set().union(*await asyncio.gather(*publishing))
        await settle(pages, sent, "20 drops")
        assert sum(page.account.connections for page in pages) == 25

    asyncio.run(scenario())


def test_pages_that_move_between_processes_miss_nothing(pair: tuple[Process, Process]) -> None:
    async def scenario() -> None:
        pages = await follow(6, *pair)
        publishers = [Publisher(pair[index % 2], range(index * 250, index * 250 + 250)) for index in range(4)]
        publishing = [asyncio.create_task(publisher.run()) for publisher in publishers]
        for drop in range(12):
            await pages[0].has_number(drop * 20)
            await pages[drop % 6].drop()
        await settle(pages, set().union(*await asyncio.gather(*publishing)), "12 moves between two processes")

    asyncio.run(scenario())


def test_make_run_serves_with_two_processes(project: Path, tools: Tools, store: Process) -> None:
    """And `manage.py drain` reaches both, and a restart says what it is."""
    redis, port = f"redis://127.0.0.1:{store.port}", free_port()
    command = ["make", "run", "WORKERS=2", f"PORT={port}", f"REDIS_URL={redis}"]
    environment = {"UV_PROJECT_ENVIRONMENT": str(tools.home / ".venv"), "UV_NO_SYNC": "1"}
    served = Process(command, port, project, METRICS_TOKEN=METRICS_TOKEN, LOG_LEVEL="CRITICAL", **environment)

    async def scenario() -> None:
        pages: list[Page] = []
        members: dict[str, int] = {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            # The system gives a connection to either; who answers about its members is another matter of chance.
            while len(members) < 2 or sum(members.values()) != len(pages):
                if len(members) < 2:
                    pages += await follow(1, served)
                process, counts = await asyncio.to_thread(metrics, served)
                if counted := counts.get('websockets_members{group="fanout"}'):
                    members[process] = counted
        sent = await Publisher(served, range(50)).run()
        for page in pages:
            await page.has(sent)
        tools.run(project, "env", f"REDIS_URL={redis}", "python", "manage.py", "drain", "--within", "1")
        for page in pages:
            await page.is_asked_to_move()
        served.signal(signal.SIGTERM)
        for page in pages:
            await page.is_closed(1012)
            await page.close()
            assert_complete(page.account, sent)

    try:
        served.start()
        asyncio.run(scenario())
    finally:
        served.stop()


def test_pages_of_a_killed_process_miss_nothing(pair: tuple[Process, Process]) -> None:
    async def scenario() -> None:
        killed, survives = pair
        pages = await follow(5, killed)
        publishing = asyncio.create_task(Publisher(survives, range(1_000)).run())
        await pages[0].has_number(100)
        killed.stop()
        await asyncio.to_thread(killed.start)
        await settle(pages, await publishing, "SIGKILL of their process")

    asyncio.run(scenario())


def test_a_store_that_hangs_is_noticed_and_delays_no_client_for_long(
    pair: tuple[Process, Process], store: Process
) -> None:
    async def scenario() -> None:
        pages = await follow(5, *pair)
        publishing = asyncio.create_task(Publisher(pair[0], range(500)).run(pause=0.02))
        await pages[0].has_number(50)
        store.signal(signal.SIGSTOP)
        await asyncio.sleep(5)  # as long as the fault lasts
        store.signal(signal.SIGCONT)
        await settle_reloaded(pages, await publishing, 499, "the store suspended for 5 s")

    asyncio.run(scenario())


def test_a_store_that_restarts_from_an_older_snapshot_is_noticed(
    pair: tuple[Process, Process], store: Process, tools: Tools
) -> None:
    async def scenario() -> None:
        pages = await follow(5, *pair)
        sent = await Publisher(pair[0], range(100)).run()
        for page in pages:
            await page.has(sent)
        redis_command(tools, store, "save")
        sent |= await Publisher(pair[0], range(100, 200)).run()
        for page in pages:
            await page.has(sent)
        store.stop()
        await asyncio.to_thread(store.start)
        sent |= await Publisher(pair[1], range(200, 300)).run(pause=0.05)
        await settle_reloaded(pages, sent, 299, "the store killed, and restarted from an older snapshot")
        assert all(page.account.resyncs for page in pages)

    asyncio.run(scenario())


def test_a_store_that_is_flushed_is_noticed(pair: tuple[Process, Process], store: Process, tools: Tools) -> None:
    async def scenario() -> None:
        pages = await follow(5, *pair)
        sent = await Publisher(pair[0], range(100)).run()
        redis_command(tools, store, "flushall")
        sent |= await Publisher(pair[1], range(100, 200)).run()
        await settle_reloaded(pages, sent, 199, "the store flushed")
        assert all(page.account.resyncs for page in pages)

    asyncio.run(scenario())


def test_a_reader_that_stops_delays_none_of_500_others(alone: Process) -> None:
    async def scenario() -> None:
        numbers: dict[object, list[int]] = defaultdict(list)
        readers: list[Client] = []
        received, have_it = 0, asyncio.Event()

        def on_frame(client: object, payload: bytes) -> None:
            nonlocal received
            if b'"news"' in payload:
                numbers[client].append(json.loads(payload)["seq"])
                received += 1
                if received % 500 == 0:
                    have_it.set()

        url = f"ws://127.0.0.1:{alone.port}/ws/fanout/"
        try:
            readers += await connect_many(url, 500, on_frame)
            [stopped] = await connect_many(url, 1, lambda client, payload: None)
            readers.append(stopped)
            stopped.transport.pause_reading()
            # Together more than the network, the server and the outbox hold for one reader. Each when the others have
            # the one before: on a busy machine these would be readers that are too slow, all in one process.
            text = "x" * 30_000
            for _ in range(200):
                have_it.clear()
                readers[0].transport.write(masked(b'{"type":"publish","data":{"text":"%s"}}' % text.encode()))
                await asyncio.wait_for(have_it.wait(), DEADLINE_SECONDS)
            assert [each == list(range(1, 201)) for each in numbers.values()] == [True] * 500
            stopped.transport.resume_reading()
            async with asyncio.timeout(DEADLINE_SECONDS):
                while stopped.closed is None:
                    await asyncio.sleep(0.05)
            assert stopped.closed in (1006, 1013)
        finally:
            for client in readers:
                client.transport.abort()
            await asyncio.sleep(0)  # so that they are closed before the loop is

    asyncio.run(scenario())


def test_a_suspended_page_gets_everything_late(alone: Process, follower: Follower) -> None:
    async def scenario() -> None:
        others = await follow(5, alone)
        sent = await Publisher(alone, range(10)).run()
        await asyncio.to_thread(follower.has_number, 9)
        follower.suspend()
        sent |= await Publisher(alone, range(10, 500)).run(pause=0.002)
        for page in others:
            await page.has(sent)
        follower.resume()
        account = await asyncio.to_thread(follower.account, 499)
        assert_complete(account, sent)
        assert account.connections == 1
        # So it was suspended, and the others were not.
        assert account.longest_gap > max(490 * 0.002, *(page.account.longest_gap for page in others))
        report("a page suspended for a moment", [account], sent)
        await settle(others, sent, "the others")

    asyncio.run(scenario())


def test_a_client_that_stays_suspended_is_closed_and_reloads(alone: Process, follower: Follower) -> None:
    async def scenario() -> None:
        others = await follow(5, alone)
        sent = await Publisher(alone, range(10)).run()
        await asyncio.to_thread(follower.has_number, 9)
        follower.suspend()
        # Together more than the network, the server and the outbox hold for one page.
        sent |= await Publisher(alone, range(10, 210), characters=30_000).run()
        for page in others:
            await page.has(sent)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (counted := (await asyncio.to_thread(metrics, alone))[1])["websockets_connections"] > len(others):
                await asyncio.sleep(0.05)
        assert counted["websockets_slow_closes_total"] == 1
        assert counted['websockets_members{group="fanout"}'] == len(others)
        follower.resume()
        # Before it has connected again, it would load a state that has these already.
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await asyncio.to_thread(metrics, alone))[1]['websockets_members{group="fanout"}'] == len(others):
                await asyncio.sleep(0.05)
        sent |= await Publisher(alone, range(210, 310)).run()
        account = await asyncio.to_thread(follower.account, 309)
        assert (account.twice, account.out_of_order) == (0, 0)
        assert account.lost(sent) > 0 < account.resyncs
        assert account.connections == 2
        report("a page suspended until it was closed", [account], sent)
        await settle(others, sent, "the others")

    asyncio.run(scenario())


def test_a_celery_worker_broadcasts(project: Path, pair: tuple[Process, Process], store: Process) -> None:
    """Not a fault, but it needs the same servers: a worker is a process of its own, without an event loop."""
    redis = f"redis://127.0.0.1:{store.port}"
    (project / "worker.py").write_text(WORKER)
    environment = {"REDIS_URL": redis, "BROKER": redis, "UV_PROJECT_ENVIRONMENT": str(pair[0].python.parent.parent)}

    async def scenario() -> None:
        [page] = await follow(1, pair[0])
        # A solo worker that ends by itself: it handles what waits for it, and the task shuts it down.
        for command in (["call", "worker.publish"], ["worker", "--pool", "solo", "--loglevel", "error"]):
            await asyncio.to_thread(partial(run, project, *CELERY, *command, succeed=True, **environment))
        await settle([page], {42}, "a Celery worker")

    asyncio.run(scenario())


CELERY = ["uv", "run", "--no-sync", "--quiet", "--with", "celery>=5.5", "celery", "--app", "worker"]
WORKER = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
django.setup()
from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.signals import task_postrun
from apps.bench.consumers import News
from apps.common.websockets.broadcast import broadcast

app = Celery("worker", broker=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True

@app.task(name="worker.publish", ignore_result=True)
def publish():
    broadcast("fanout", News(text="42"))

@task_postrun.connect
def end(**kwargs):
    raise WorkerShutdown
"""


def redis_command(tools: Tools, store: Process, command: str) -> None:
    script = f"import redis; redis.Redis(port={store.port}).execute_command({command!r})"
    run(tools.home, ".venv/bin/python", "-c", script)
