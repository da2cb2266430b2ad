"""One server and one writer, which a test directs step by step: at each step it is known what has happened."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from tests.served.faults import Process, flush, server
from tests.served.truth.pages import RowsPage

STEP_SECONDS = 30.0  # at most
USERS = {"ann": False, "max": True}  # by name: whether the user is staff


class Stage:
    """The commands of its server and its writer are in site/steps."""

    def __init__(self, project: Path, python: Path, store: Process, database: str) -> None:
        redis = f"redis://127.0.0.1:{store.port}"
        self._store = store
        self._server = server(project, python, redis, DATABASE_URL=database)
        self._writer = subprocess.Popen(
            [str(python), "manage.py", "write_steps"],
            cwd=project,
            env={**os.environ, "REDIS_URL": redis, "DATABASE_URL": database},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tasks: dict[RowsPage, asyncio.Task[None]] = {}

    async def start(self) -> None:
        self._server.start()
        self._cookies = {name: self.write("sign_in", name, "staff" if USERS[name] else "user") for name in USERS}
        origin = f"http://127.0.0.1:{self._server.port}"
        address = f"ws://127.0.0.1:{self._server.port}/ws/steps/"
        self._control: ClientConnection = await connect(address, additional_headers={"Origin": origin})

    def stop(self) -> None:
        self._server.stop()
        self._writer.kill()
        self._writer.communicate()

    async def play(self, steps: "Steps", defect: str = "") -> tuple[RowsPage, str]:
        """Take the steps, with a defect or without. Returns their page, and the items that it should show."""
        await self.rest()
        self.write("delete_all")
        try:
            if defect:
                self.write("switch_off", defect)
                await self.serve("switch_off", defect)
            page = await steps(self)
            await self.rest()
        finally:
            if defect:
                self.write("switch_on", defect)
                await self.serve("switch_on", defect)
            for each in list(self._tasks):
                await self.disconnect(each)
        return page, self.write("items", "max" if page.is_staff else "ann")

    def page(self, user: str = "ann") -> RowsPage:
        """A page that begins to connect."""
        page = RowsPage([self._server], self._cookies[user], USERS[user], seed=1)
        self.connect(page)
        return page

    def connect(self, page: RowsPage) -> None:
        self._tasks[page] = asyncio.create_task(page.run())

    async def disconnect(self, page: RowsPage) -> None:
        task = self._tasks.pop(page)
        task.cancel()
        await asyncio.wait([task])

    def write(self, *command: str) -> str:
        """Have the writer do it, and publish it without waiting for the end of the window."""
        assert self._writer.stdin
        assert self._writer.stdout
        self._writer.stdin.write(" ".join(command) + "\n")
        self._writer.stdin.flush()
        line = self._writer.stdout.readline()
        assert line, f"{command}: the writer has failed"
        return line.strip()

    async def serve(self, *command: str) -> None:
        """Have the server do it."""
        async with asyncio.timeout(STEP_SECONDS):
            await self._control.send(" ".join(command))
            await self._control.recv()

    async def flush(self) -> None:
        """Have the store lose its data."""
        await flush(self._store)

    async def rest(self) -> None:
        """Wait until the pages have their rows, and nothing that was published remains to be shown."""
        for page in self._tasks:
            page.rested.clear()
        await self.serve("rest", str(len(self._tasks)))
        async with asyncio.timeout(STEP_SECONDS):
            for page in self._tasks:
                await page.rested.wait()


Steps = Callable[[Stage], Awaitable[RowsPage]]
