"""The measures, each a coroutine that takes a running server. Times in seconds, memory in bytes."""

import asyncio
import json
import statistics
import time
from dataclasses import dataclass

from client import Client, connect, connect_many, cpu_of, masked, memory_of


@dataclass
class Server:
    """A server under measurement."""

    name: str
    url: str  # ws://127.0.0.1:PORT
    pid: int
    cookie: str  # of a user who is signed in


def frame(kind: str, ref: int | None = None, **data: object) -> bytes:
    reference = {} if ref is None else {"ref": ref}
    return masked(json.dumps({"type": kind, **reference, "data": data}).encode())


def is_greeting(payload: bytes) -> bool:
    return payload.startswith(b'{"type":"welcome"')


async def echo(server: Server, connections: int = 100, seconds: float = 3) -> dict[str, float]:
    """Round trips each second, every connection waiting for its answer before it sends the next request."""
    count = 0
    text = frame("echo", 1, text="hello there")

    def on_frame(client: Client, payload: bytes) -> None:
        nonlocal count
        if not is_greeting(payload):
            count += 1
            client.transport.write(text)

    clients = await connect_many(f"{server.url}/ws/echo/", connections, on_frame)
    await asyncio.sleep(0.3)
    for client in clients:
        client.transport.write(text)
    await asyncio.sleep(0.5)
    count, began, used = 0, time.perf_counter(), cpu_of(server.pid)
    await asyncio.sleep(seconds)
    rate, used = count / (time.perf_counter() - began), cpu_of(server.pid) - used
    close(clients)
    return {
        "echo, 100 connections, CPU for each, µs": used / count * 1e6,
        "echo, 100 connections, round trips/s": rate,
    }


async def round_trip(server: Server, times: int = 2_000) -> dict[str, float]:
    """The median time of a round trip on a server that is otherwise idle."""
    delays = await _round_trips(server, times)
    return {"echo, one connection, p50 in µs": statistics.median(delays) * 1e6}


async def blocked(server: Server) -> dict[str, float]:
    """The longest echo on one connection while another's handler does ORM work for half a second, three times."""
    worst = []
    for _ in range(3):
        other = await connect(f"{server.url}/ws/echo/", lambda client, payload: None)
        probe = asyncio.create_task(_round_trips(server, 400, pause=0.002))
        await asyncio.sleep(0.2)
        other.transport.write(frame("block"))
        worst.append(max(await probe))
        close([other])
    return {"echo while another connection does 500 ms of ORM work, ms": statistics.median(worst) * 1e3}


async def fanout(
    server: Server, path: str = "/ws/fanout/", members: int = 1_000, seconds: float = 3
) -> dict[str, float]:
    """Deliveries each second to the members of a group, the next broadcast as soon as the last member has the one
    before; and how long the last member waited."""
    group = await Group.join(server, path, members)
    await group.publish()
    delays, began, used = [], time.perf_counter(), cpu_of(server.pid)
    while time.perf_counter() - began < seconds or len(delays) < 3:
        delays.append(await group.publish())
    rate = len(delays) * members / (time.perf_counter() - began)
    used = (cpu_of(server.pid) - used) / (len(delays) * members)
    group.close()
    name = f"fan-out to {members:,}"
    return {
        f"{name}, CPU for each delivery, µs": used * 1e6,
        f"{name}, deliveries/s": rate,
        f"{name}, last receiver p50, ms": statistics.median(delays) * 1e3,
        f"{name}, last receiver p99, ms": sorted(delays)[int(len(delays) * 0.99)] * 1e3,
    }


async def fanout_to_100(server: Server) -> dict[str, float]:
    """The same to 100."""
    return await fanout(server, members=100)


async def rooms(server: Server, count: int = 200, members: int = 10, seconds: float = 3) -> dict[str, float]:
    """200 rooms of 10, each of which has its next broadcast as soon as its last member has the one before."""
    groups = [await Group.join(server, f"/ws/room/{n}/", members, pause=0) for n in range(count)]
    until, published = time.perf_counter() + seconds, 0

    async def talk(group: Group) -> None:
        nonlocal published
        while time.perf_counter() < until:
            await group.publish()
            published += 1

    used = cpu_of(server.pid)
    await asyncio.gather(*map(talk, groups))
    used = (cpu_of(server.pid) - used) / (published * members)
    for group in groups:
        group.close()
    return {
        f"{count} rooms of {members}, CPU for each delivery, µs": used * 1e6,
        f"{count} rooms of {members}, deliveries/s": published * members / seconds,
    }


async def fanout_to_4000(server: Server) -> dict[str, float]:
    """The same to 4,000."""
    return await fanout(server, members=4_000)


async def unnumbered(server: Server) -> dict[str, float]:
    """Fan-out to 1,000 who get no replay."""
    measured = await fanout(server, "/ws/unnumbered/")
    return {f"{name}, without replay": value for name, value in measured.items()}


async def stalled(server: Server) -> dict[str, float]:
    """Fan-out to 1,000 when ten more members never read."""
    lazy = await connect_many(f"{server.url}/ws/fanout/", 10, lambda client, payload: None)
    for client in lazy:
        client.transport.pause_reading()
    measured = await fanout(server)
    close(lazy)
    return {f"{name}, 1 in 100 never reads": value for name, value in measured.items()}


async def burst(server: Server, members: int = 200, times: int = 500) -> dict[str, float]:
    """The share that is lost of 500 broadcasts published in a loop to 200 members."""
    group = await Group.join(server, "/ws/fanout/", members)
    got = await group.burst(times)
    group.close()
    return {"burst of 500 to 200 members, lost, %": 100 * (1 - got / (members * times))}


async def signing_in(server: Server, count: int = 1_000) -> dict[str, float]:
    """Connections with a session that are accepted each second, fifty at a time."""
    began = time.perf_counter()
    clients = await connect_many(f"{server.url}/ws/idle/", count, lambda client, payload: None, server.cookie)
    rate = count / (time.perf_counter() - began)
    close(clients)
    return {"signed-in connections accepted/s": rate}


async def memory(server: Server, count: int = 2_000) -> dict[str, float]:
    """Resident memory for each idle connection with a session."""
    warm = await connect_many(f"{server.url}/ws/idle/", 50, lambda client, payload: None, server.cookie)
    await asyncio.sleep(0.5)
    before = memory_of(server.pid)
    clients = await connect_many(f"{server.url}/ws/idle/", count, lambda client, payload: None, server.cookie)
    await asyncio.sleep(2)
    after = memory_of(server.pid)
    close(clients + warm)
    return {"memory for each idle signed-in connection, KiB": (after - before) / count / 1024}


async def growth(server: Server) -> dict[str, float]:
    """How much resident memory grows over 1,000 connections that come and go, and over 100,000 broadcasts to one."""
    await _come_and_go(server, 1_000)  # what a process allocates once
    group = await Group.join(server, "/ws/fanout/", 1)
    await group.burst(5_000)
    before = memory_of(server.pid)
    await _come_and_go(server, 1_000)
    between = memory_of(server.pid)
    for _ in range(20):
        await group.burst(5_000)
    after = memory_of(server.pid)
    group.close()
    return {
        "memory grown over 1,000 connections, KiB": (between - before) / 1024,
        "memory grown over 100,000 broadcasts, KiB": (after - between) / 1024,
    }


async def _come_and_go(server: Server, count: int) -> None:
    for _ in range(count // 50):
        close(await connect_many(f"{server.url}/ws/fanout/", 50, lambda client, payload: None))
    await asyncio.sleep(1)


class Group:
    """Many members, of which the first publishes."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.received = 0
        self.expected = 0
        self.done = asyncio.Event()

    @classmethod
    async def join(cls, server: Server, path: str, members: int, pause: float = 0.5) -> "Group":
        group = cls()
        group.clients = await connect_many(server.url + path, members, group.on_frame)
        await asyncio.sleep(pause)
        return group

    def on_frame(self, client: Client, payload: bytes) -> None:
        if b'"news"' in payload:
            self.received += 1
            if self.received >= self.expected:
                self.done.set()

    async def publish(self) -> float:
        """One broadcast; the seconds until the last member has it."""
        self.received, self.expected = 0, len(self.clients)
        self.done.clear()
        began = time.perf_counter()
        self.clients[0].transport.write(frame("publish", text="x" * 100))
        await asyncio.wait_for(self.done.wait(), 60)
        return time.perf_counter() - began

    async def burst(self, times: int) -> int:
        """Many broadcasts in a loop on the server; how many frames have come when no more come for two seconds."""
        self.received, self.expected = 0, len(self.clients) * times
        self.done.clear()
        self.clients[0].transport.write(frame("publish", text="x" * 100, times=times))
        before = -1
        while before != self.received and not self.done.is_set():
            before = self.received
            try:
                await asyncio.wait_for(self.done.wait(), 2)
            except TimeoutError:
                continue
        return self.received

    def close(self) -> None:
        close(self.clients)


async def _round_trips(server: Server, times: int, pause: float = 0) -> list[float]:
    answered = asyncio.Event()
    client = await connect(f"{server.url}/ws/echo/", lambda client, payload: is_greeting(payload) or answered.set())
    await asyncio.sleep(0.2)
    text, delays = frame("echo", 1, text="hello there"), []
    for _ in range(times):
        answered.clear()
        began = time.perf_counter()
        client.transport.write(text)
        await asyncio.wait_for(answered.wait(), 30)
        delays.append(time.perf_counter() - began)
        if pause:
            await asyncio.sleep(pause)
    close([client])
    return delays


def close(clients: list[Client]) -> None:
    for client in clients:
        client.transport.abort()
