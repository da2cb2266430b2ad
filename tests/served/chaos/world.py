"""The programs of a run: servers, publishers, a store with its replica, the links between them, and their faults."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.served.chaos.clients import Client, HandlerPublisher
from tests.served.chaos.judge import BOUND_SECONDS, STORE, Fault, Publish, Verdict, judge, publishes
from tests.served.chaos.network import Link
from tests.served.chaos.schedule import REPLICATION, Planned
from tests.served.faults import PLAIN_UVICORN, free_port

START_SECONDS = 60.0
CHECK_SECONDS = 0.1
STALL_SECONDS = 0.5
EVICT = "local key = redis.call('RANDOMKEY') if key then redis.call('DEL', key) end return 1"
EVICT_PAUSE = 0.2
ASGI_SERVER = 2  # sends through ASGI; the others write frames to the transports


@dataclass(frozen=True)
class Shape:
    """How much of everything."""

    servers: int = 3
    clients: int = 200
    groups: int = 4
    steady: int = 2  # publishers in a process of their own
    brief: int = 1  # the same, as many short ones
    handlers: bool = True  # one publisher in each server
    per_second: float = 4.0  # broadcasts of each publisher
    defect: str = ""  # of site/defects.py

    @property
    def publishers(self) -> list[str]:
        return [f"publisher {number}" for number in range(self.steady + self.brief)]


class Program:
    """A process with its output in a file. One that listens has started when its port answers."""

    def __init__(self, command: list[str], folder: Path, log: Path, port: int = 0, **environment: str) -> None:
        self.port = port
        self._command = command
        self._folder = folder
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        async with asyncio.timeout(START_SECONDS):
            while self.port and not await self._answers():
                assert self._process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Also to the processes that it forked."""
        assert self._process
        os.killpg(self._process.pid, number)

    async def terminate(self) -> None:
        assert self._process
        self._process.terminate()
        await asyncio.to_thread(self._process.wait)

    async def kill(self) -> None:
        """Harmless if it does not run."""
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


class World:
    """Everything that runs."""

    def __init__(self, project: Path, python: Path, valkey: str, folder: Path, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.folder = folder
        self.journal = folder / "journal.jsonl"
        self.journal.touch()
        self.faults: list[Fault] = []
        self.clients: list[Client] = []
        self._seed = seed
        self._groups = [str(number) for number in range(shape.groups)]
        self._project = project
        self._python = str(python)
        self.stores = [self._store(valkey, number) for number in range(2)]
        self._primary = 0  # where the name of the store leads
        self._replicated = 0  # whose replica the other one is
        self._programs: dict[str, Program] = {}
        self.links: dict[str, Link] = {}
        self._handlers: list[HandlerPublisher] = []
        self._watch: asyncio.Task[None] | None = None
        self._locks: dict[str, asyncio.Lock] = {}

    # -----------------------------------------------------------------------------------------------------------------
    # Start and stop
    # -----------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._watch = asyncio.create_task(self._watch_machine())
        await self._start_stores()
        servers = await self._start_servers()
        await self._start_clients(servers)
        await self._start_publishers(servers)

    async def _start_stores(self) -> None:
        for store in self.stores:
            await store.start()
        await self._open_link(REPLICATION, lambda: self.stores[self._replicated].port)
        await self._replicate(1, 0)
        assert await command(self.stores[0].port, "WAIT", "1", "10000") == ":1", "the replica does not follow"

    async def _start_servers(self) -> dict[str, Link]:
        """Their names, and the links of their clients."""
        names = [f"server {number}" for number in range(self.shape.servers)]
        for name in names:
            await self._open_store_link(name)
            self._programs[name] = self._server(name)
        await asyncio.gather(*(program.start() for program in self._programs.values()))
        ports = {name: self._programs[name].port for name in names}
        return {name: await self._open_link(f"{name}: clients", partial(ports.__getitem__, name)) for name in names}

    async def _start_clients(self, servers: dict[str, Link]) -> None:
        for number in range(self.shape.clients):
            group = self._groups[number % len(self._groups)]
            self.clients.append(Client(number, group, servers, self._seed))
        for client in self.clients:
            await asyncio.wait_for(client.is_welcome.wait(), START_SECONDS)

    async def _start_publishers(self, servers: dict[str, Link]) -> None:
        for number, name in enumerate(self.shape.publishers):
            await self._open_store_link(name)
            publisher = self._programs[name] = self._publisher(name, number)
            await publisher.start()
        if self.shape.handlers:
            groups = [f"chaos.{group}" for group in self._groups]
            for name, link in servers.items():
                self._handlers.append(HandlerPublisher(name, link, groups, self.shape.per_second, self._seed))
        expected = {*self.shape.publishers, *(servers if self.shape.handlers else ())}
        async with asyncio.timeout(START_SECONDS):
            while expected - {publish.process for publish in self._published() if publish.outcome == "accepted"}:
                await asyncio.sleep(0.05)

    async def _open_store_link(self, name: str) -> None:
        await self._open_link(f"{name}: store", lambda: self.stores[self._primary].port)

    async def _open_link(self, name: str, target: Callable[[], int]) -> Link:
        link = self.links[name] = Link(target)
        await link.open()
        return link

    async def stop_publishers(self) -> None:
        for handler in self._handlers:
            await handler.close()
        self._handlers = []
        for name in self._programs.keys() & self.shape.publishers:
            await self._programs[name].kill()

    async def stop(self) -> None:
        if self._watch:
            self._watch.cancel()
        try:
            await self.stop_publishers()
            for client in self.clients:
                await client.close()  # raises what it failed with
        finally:
            for program in [*self._programs.values(), *self.stores]:
                await program.kill()
            for link in self.links.values():
                await link.close()

    def verdict(self, bound: float = BOUND_SECONDS) -> Verdict:
        """As of now."""
        # The clients go on meanwhile: what they received before this moment is in the journal that is read after it.
        now = time.monotonic()
        histories = [client.history.copy() for client in self.clients]
        return judge(self._published(), histories, self.faults, now, bound)

    def _published(self) -> list[Publish]:
        with self.journal.open() as lines:
            return publishes(lines)

    # -----------------------------------------------------------------------------------------------------------------
    # Programs
    # -----------------------------------------------------------------------------------------------------------------

    def _store(self, valkey: str, number: int) -> Program:
        folder = self.folder / f"store-{number}"
        folder.mkdir()
        port = free_port()
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
        options += ["--repl-diskless-sync-delay", "0"]
        return Program([valkey, *options], folder, self.folder / f"store-{number}.log", port)

    def _server(self, name: str) -> Program:
        port = free_port()
        environment = self._environment(name, HOST="127.0.0.1", PORT=str(port), UVICORN_PORT=str(port))
        is_by_asgi = name == f"server {ASGI_SERVER}"
        program = PLAIN_UVICORN if is_by_asgi else ["apps.common.server"]
        return self._python_program(name, program, port, environment)

    def _publisher(self, name: str, number: int) -> Program:
        mode = "steady" if number < self.shape.steady else "brief"
        groups = [f"chaos.{group}" for group in self._groups]
        arguments = [mode, str(self.shape.per_second), str(self._seed * 100 + number), *groups]
        return self._python_program(name, ["apps.chaos.publisher", *arguments], 0, self._environment(name))

    def _python_program(self, name: str, arguments: list[str], port: int, environment: dict[str, str]) -> Program:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        return Program([self._python, "-m", *arguments], self._project, log, port, **environment)

    def _environment(self, name: str, **more: str) -> dict[str, str]:
        return {
            "ALLOWED_HOSTS": "127.0.0.1",
            "CHAOS_DEFECT": self.shape.defect,
            "CHAOS_JOURNAL": str(self.journal),
            "CHAOS_PROCESS": name,
            "DATABASE_URL": f"sqlite:///{self.folder}/db.sqlite3",
            "LOG_LEVEL": "WARNING",
            "REDIS_URL": f"redis://127.0.0.1:{self.links[f'{name}: store'].port}",
            "SECRET_KEY": "x" * 50,
            **more,
        }

    # -----------------------------------------------------------------------------------------------------------------
    # Faults
    # -----------------------------------------------------------------------------------------------------------------

    async def run(self, planned: Sequence[Planned]) -> None:
        """Inject the faults at their times; returns when the last has ended."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in planned:
                tasks.create_task(self._inject(fault, start + fault.at))

    async def _watch_machine(self) -> None:
        """A machine that is too busy to run this test is a fault, too."""
        while True:
            begun = time.monotonic()
            await asyncio.sleep(CHECK_SECONDS)
            ended = time.monotonic()
            if ended - begun > CHECK_SECONDS + STALL_SECONDS:
                self.faults.append(Fault("the machine stalls", STORE, begun, ended))

    async def _inject(self, fault: Planned, at: float) -> None:
        await asyncio.sleep(at - time.monotonic())
        party, _, end = fault.target.partition(":")
        lock = self._locks.setdefault(fault.target, asyncio.Lock())
        async with lock:
            begun = time.monotonic()
            if end:
                await self._break_link(self.links[fault.target], fault)
            elif party == STORE:
                await self._break_store(fault)
            elif party.startswith("client"):
                await self._disturb(self.clients[int(party.split()[1])], fault)
            else:
                await self._break_program(self._programs[party], fault)
            ended = begun if fault.kind == "forget" else time.monotonic()
            self.faults.append(Fault(str(fault), party, begun, ended, is_kill=fault.kind == "kill"))

    async def _break_link(self, link: Link, fault: Planned) -> None:
        match fault.kind.split():
            case ["cut"]:
                link.cut()
            case ["delay"]:
                link.delay(fault.seconds / 10)
            case ["forget"]:
                link.forget()
                return
            case ["stall"]:
                link.stall("up", "down")
            case ["stall", direction]:
                link.stall(direction)
        await asyncio.sleep(fault.seconds)
        link.heal()

    async def _break_program(self, program: Program, fault: Planned) -> None:
        if fault.kind == "suspend":
            program.signal(signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            program.signal(signal.SIGCONT)
            return
        await (program.kill() if fault.kind == "kill" else program.terminate())
        await asyncio.sleep(fault.seconds)
        await program.start()

    async def _disturb(self, client: Client, fault: Planned) -> None:
        {"drop": client.drop, "freeze": client.freeze, "leave": client.leave, "open": client.open}[fault.kind]()
        await asyncio.sleep(0 if fault.kind in ("drop", "open") else fault.seconds)
        client.heal()

    async def _break_store(self, fault: Planned) -> None:
        store = self.stores[self._primary]
        match fault.kind:
            case "kill":
                await store.kill()
                await asyncio.sleep(fault.seconds)
                await store.start()  # with what was saved last
                await self._replicate(1 - self._primary, self._primary)
            case "suspend":
                store.signal(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                store.signal(signal.SIGCONT)
            case "flush":
                await command(store.port, "FLUSHALL")
            case "evict":
                until = time.monotonic() + fault.seconds
                while time.monotonic() < until:
                    await command(store.port, "EVAL", EVICT, "0")
                    await asyncio.sleep(EVICT_PAUSE)
            case "full":
                await command(store.port, "CONFIG", "SET", "maxmemory", "1")
                await asyncio.sleep(fault.seconds)
                await command(store.port, "CONFIG", "SET", "maxmemory", "0")
            case "save":
                await command(store.port, "SAVE")
            case "fail over":  # the name leads to the new primary a while after the old one was demoted
                await command(self.stores[1 - self._primary].port, "REPLICAOF", "NO", "ONE")
                await self._replicate(self._primary, 1 - self._primary)
                await asyncio.sleep(fault.seconds / 3)
                self._primary = 1 - self._primary
            case "fail over after a kill":
                await store.kill()
                await asyncio.sleep(fault.seconds / 3)
                await command(self.stores[1 - self._primary].port, "REPLICAOF", "NO", "ONE")
                self._primary = 1 - self._primary
                await store.start()
                await self._replicate(1 - self._primary, self._primary)
            case "replace":  # the name leads to another, and the old one serves its connections still
                await command(self.stores[1 - self._primary].port, "REPLICAOF", "NO", "ONE")
                self._primary = 1 - self._primary
            case kind:
                raise ValueError(kind)

    async def _replicate(self, replica: int, primary: int) -> None:
        self._replicated = primary
        port = str(self.links[REPLICATION].port)
        await command(self.stores[replica].port, "REPLICAOF", "127.0.0.1", port)


async def command(port: int, *words: str) -> str:
    """A command to a store; returns its answer's first line. Raises AssertionError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"*{len(words)}", *(part for word in words for part in (f"${len(word)}", word)), ""]
    writer.write("\r\n".join(lines).encode())
    answer = (await asyncio.wait_for(reader.readline(), START_SECONDS)).decode().strip()
    writer.close()
    assert not answer.startswith("-"), f"{words}: {answer}"
    return answer
