"""The memory of an idle signed-in connection, by type of object: `python benchmarks/memory.py`.

The objects of a server's process, before and after 1,000 connections: those that the garbage collector tracks and those
that they refer to, with their size by sys.getsizeof(). The rest of the resident memory, which another process shows as
counting needs memory itself, is allocated in C (the handles of the event loop, the parser) or is the allocator's own.
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from pathlib import Path

from client import connect_many, memory_of
from measures import ignore
from run import PROJECT, free_port, prepare, running, serving, start_of

TOP = 15
WARM = 50  # connections before, for what a process allocates once
PATH = "/ws/idle/"

Objects = dict[str, list[int]]  # by type: how many, bytes


async def resident(url: str, pid: int, cookie: str, count: int) -> float:
    """Bytes of each connection."""
    warm = await connect_many(url, WARM, ignore, cookie)
    await asyncio.sleep(1)
    before = memory_of(pid)
    clients = await connect_many(url, count, ignore, cookie)
    await asyncio.sleep(2)
    after = memory_of(pid)
    for client in warm + clients:
        client.transport.abort()
    return (after - before) / count


async def objects(url: str, pid: int, cookie: str, count: int, path: Path) -> tuple[Objects, Objects]:
    """Those before and after the connections."""
    await connect_many(url, WARM, ignore, cookie)
    await asyncio.sleep(1)
    before = await write_objects(pid, path)
    clients = await connect_many(url, count, ignore, cookie)
    await asyncio.sleep(2)
    after = await write_objects(pid, path)
    assert all(client.closed is None for client in clients)
    return before, after


async def write_objects(pid: int, path: Path) -> Objects:
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, "the server did not count its objects"
        await asyncio.sleep(0.1)
    found: Objects = json.loads(path.read_text())
    return found


def table(before: Objects, after: Objects, count: int, total: float) -> str:
    """Markdown: the types with most bytes, and the rest."""
    each = {
        name: [(now - then) / count for now, then in zip(after[name], before.get(name, [0, 0]), strict=True)]
        for name in after
    }
    top = sorted(each, key=lambda name: -each[name][1])[:TOP]
    known = sum(size for _, size in each.values())
    rows = [(f"`{name}`", f"{each[name][0]:,.1f}", each[name][1]) for name in top]
    rows.append(("other types", "", known - sum(each[name][1] for name in top)))
    rows.append(("allocated in C, and the allocator's own", "", total - known))
    rows.append(("**resident memory**", "", total))
    lines = ["| type, of each connection | objects | bytes |", "|---|---:|---:|"]
    return "\n".join(lines + [f"| {name} | {objects} | {size:,.0f} |" for name, objects, size in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("connections", nargs="?", type=int, default=1_000)
    count = parser.parse_args().connections
    with tempfile.TemporaryDirectory() as folder:
        project, cookie = prepare(Path(folder) / "project")
        with serving(PROJECT, project, "") as (url, pid):
            total = asyncio.run(resident(url + PATH, pid, cookie, count))
        port, path = free_port(), Path(folder) / "objects.json"
        command, environment = start_of(PROJECT, project, port, "")
        with running([command[0], "-m", "counted"], port, project, **environment, OBJECTS=str(path)) as pid:
            url = f"ws://127.0.0.1:{port}{PATH}"
            before, after = asyncio.run(objects(url, pid, cookie, count, path))
    print(table(before, after, count, total))


if __name__ == "__main__":
    main()
