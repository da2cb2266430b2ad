"""The measures, each a coroutine that takes a running server. Times in seconds, memory in bytes."""

import asyncio
import math
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from client import Client, connect, connect_many, cpu_of, memory_of
from peers import Peer

OnFrame = Callable[[Client, bytes], None]
TEXT = "hello there"


@dataclass
class Server:
    """A server under measurement."""

    peer: Peer
    url: str  # ws://127.0.0.1:PORT
    pid: int
    cookie: str  # of a user who is signed in

    async def connect(self, path: str, on_frame: OnFrame) -> Client:
        return await connect(self.url + path, on_frame, kind=self.peer.dialect.client)

    async def connect_many(self, path: str, count: int, on_frame: OnFrame, cookie: str = "") -> list[Client]:
        return await connect_many(self.url + path, count, on_frame, cookie, self.peer.dialect.client)


def ignore(client: Client, payload: bytes) -> None:
    """For connections whose messages do not matter."""


def is_answer(payload: bytes) -> bool:
    """Whether it answers an echo: some servers send a greeting first."""
    return TEXT.encode() in payload


async def echo(server: Server, connections: int = 100, seconds: float = 2) -> dict[str, float]:
    """Round trips each second, every connection waiting for its answer before it sends the next request."""
    count = 0
    text = server.peer.frame("echo", 1, text=TEXT)

    def on_frame(client: Client, payload: bytes) -> None:
        nonlocal count
        if is_answer(payload):
            count += 1
            client.transport.write(text)

    clients = await server.connect_many("/ws/echo/", connections, on_frame)
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
        other = await server.connect("/ws/echo/", ignore)
        probe = asyncio.create_task(_round_trips(server, 400, pause=0.002))
        await asyncio.sleep(0.2)
        other.transport.write(server.peer.frame("block"))
        worst.append(max(await probe))
        close([other])
    return {"echo while another connection does 500 ms of ORM work, ms": statistics.median(worst) * 1e3}


async def fanout(
    server: Server, path: str = "/ws/fanout/", members: int = 1_000, size: int = 100, seconds: float = 1.5
) -> dict[str, float]:
    """Deliveries each second to the members of a group, the next broadcast as soon as the last member has the one
    before; and how long the last member waited."""
    group = await Group.join(server, path, members)
    await group.publish(size)
    delays: list[float] = []
    began, used = time.perf_counter(), cpu_of(server.pid)
    while time.perf_counter() - began < seconds or len(delays) < 3:
        delays.append(await group.publish(size))
    rate = len(delays) * members / (time.perf_counter() - began)
    used = (cpu_of(server.pid) - used) / (len(delays) * members)
    group.close()
    name = f"fan-out to {members:,}" if size < 1_000 else f"fan-out of {size // 1_000} kB to {members:,}"
    return {
        f"{name}, CPU for each delivery, µs": used * 1e6,
        f"{name}, deliveries/s": rate,
        f"{name}, last receiver p50, ms": statistics.median(delays) * 1e3,
        f"{name}, last receiver p99, ms": percentile(delays, 0.99) * 1e3,
    }


async def fanout_to_100(server: Server) -> dict[str, float]:
    """The same to 100."""
    return await fanout(server, members=100)


async def fanout_of_10_kb(server: Server) -> dict[str, float]:
    """The same to 1,000 of a text of 10 kB."""
    return await fanout(server, size=10_000)


async def latency(server: Server, members: int = 1_000, seconds: float = 3) -> dict[str, float]:
    """From when a broadcast is due to its arrival at each of 1,000 members, at half of the server's own greatest rate:
    that of fanout(), measured for a second before."""
    group = await Group.join(server, "/ws/fanout/", members)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < 1 or count < 3:
        await group.publish()
        count += 1
    rate = count / (time.perf_counter() - began) / 2
    delays = await group.publish_paced(rate, round(max(5, rate * seconds)))
    group.close()
    name = f"broadcast to {members:,} at half of the greatest rate"
    return {
        f"{name}, broadcasts/s": rate,
        f"{name}, p50, ms": percentile(delays, 0.5) * 1e3,
        f"{name}, p99, ms": percentile(delays, 0.99) * 1e3,
        f"{name}, p99.9, ms": percentile(delays, 0.999) * 1e3,
    }


async def rooms(server: Server, count: int = 200, members: int = 10, seconds: float = 1.5) -> dict[str, float]:
    """200 rooms of 10, each of which has its next broadcast as soon as its last member has the one before."""
    groups = [await Group.join(server, f"/ws/room/{n}/", members, pause=0) for n in range(count)]
    await asyncio.sleep(0.5)  # a member is in its room soon after its handshake
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
    lazy = await server.connect_many("/ws/fanout/", 10, ignore)
    for client in lazy:
        client.transport.pause_reading()
    measured = await fanout(server)
    close(lazy)
    return {f"{name}, 1 in 100 never reads": value for name, value in measured.items()}


async def slow_reader(server: Server, others: int = 19, times: int = 1_000, size: int = 20_000) -> dict[str, float]:
    """20 MB for a member that does not read: the fate of its connection, and of the others meanwhile."""
    group = await Group.join(server, "/ws/fanout/", others)
    received = 0

    def count(client: Client, payload: bytes) -> None:
        nonlocal received
        received += b'"news"' in payload

    slow = await server.connect("/ws/fanout/", count)
    slow.transport.pause_reading()
    delays: list[float] = []
    before = memory_of(server.pid)
    most = before
    with suppress(TimeoutError):  # a server that waits for the slow one sends nothing to the others
        while len(delays) < times:
            delays.append(await group.publish(size, timeout=2))
            most = max(most, memory_of(server.pid))
    slow.transport.resume_reading()
    for _ in range(20):
        if slow.closed is None and received < times:
            await asyncio.sleep(0.1)
    close([slow])
    group.close()
    name = "a member does not read"
    return {
        f"{name}: memory of the server, MiB": (most - before) / 2**20,
        f"{name}: lost by the {others} others, %": 100 * (1 - len(delays) / times),
        f"{name}: last of the others p99, ms": percentile(delays, 0.99) * 1e3 if delays else math.inf,
        f"{name}: lost by it, %": 100 * (1 - min(received, times) / times),
        f"{name}: it is closed with (0: kept)": slow.closed or 0,
    }


async def burst(server: Server, members: int = 200, times: int = 500) -> dict[str, float]:
    """The share that is lost of 500 broadcasts published in a loop to 200 members."""
    group = await Group.join(server, "/ws/fanout/", members)
    got = await group.burst(times)
    group.close()
    return {"burst of 500 to 200 members, lost, %": 100 * (1 - got / (members * times))}


async def signing_in(server: Server, count: int = 1_000) -> dict[str, float]:
    """Connections with a session that are accepted each second, fifty at a time."""
    began = time.perf_counter()
    clients = await server.connect_many("/ws/idle/", count, ignore, server.cookie)
    rate = count / (time.perf_counter() - began)
    close(clients)
    return {"signed-in connections accepted/s": rate}


async def memory(server: Server) -> dict[str, float]:
    """Resident memory for each idle connection with a session."""
    return {"memory for each idle signed-in connection, KiB": await _memory(server, "/ws/idle/", server.cookie)}


async def idle(server: Server) -> dict[str, float]:
    """Resident memory for each idle member of a group, without a session."""
    return {"memory for each idle connection, KiB": await _memory(server, "/ws/fanout/")}


async def _memory(server: Server, path: str, cookie: str = "", count: int = 2_000) -> float:
    warm = await server.connect_many(path, 50, ignore, cookie)
    await asyncio.sleep(0.5)
    before = memory_of(server.pid)
    clients = await server.connect_many(path, count, ignore, cookie)
    await asyncio.sleep(2)
    after = memory_of(server.pid)
    close(clients + warm)
    return (after - before) / count / 1024


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
        close(await server.connect_many("/ws/fanout/", 50, ignore))
    await asyncio.sleep(1)


class Group:
    """Many members, of which the first publishes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.clients: list[Client] = []
        self.received = 0
        self.expected = 0
        self.done = asyncio.Event()

    @classmethod
    async def join(cls, server: Server, path: str, members: int, pause: float = 0.5) -> "Group":
        group = cls(server)
        group.clients = await server.connect_many(path, members, group.on_frame)
        await asyncio.sleep(pause)
        return group

    def on_frame(self, client: Client, payload: bytes) -> None:
        if b'"news"' in payload:
            self.received += 1
            if self.received >= self.expected:
                self.done.set()

    async def publish(self, size: int = 100, timeout: float = 60) -> float:
        """One broadcast; the seconds until the last member has it."""
        self.received, self.expected = 0, len(self.clients)
        self.done.clear()
        began = time.perf_counter()
        self.clients[0].transport.write(self._server.peer.frame("publish", text="x" * size))
        await asyncio.wait_for(self.done.wait(), timeout)
        return time.perf_counter() - began

    async def publish_paced(self, rate: float, count: int) -> list[float]:
        """Broadcasts at a rate that does not wait for the members; the seconds of each delivery, infinite if lost."""
        due: list[float] = []
        delays: list[float] = []

        def on_frame(client: Client, payload: bytes) -> None:
            mark = payload.find(b"#")
            if mark >= 0:
                delays.append(time.perf_counter() - due[int(payload[mark + 1 : mark + 7])])

        for client in self.clients:
            client.on_frame = on_frame
        began = time.perf_counter() + 0.05
        for number in range(count):
            due.append(began + number / rate)
            await asyncio.sleep(max(0, due[-1] - time.perf_counter()))
            text = f"#{number:06}".ljust(100, "x")
            self.clients[0].transport.write(self._server.peer.frame("publish", text=text))
        expected, before = count * len(self.clients), -1
        while before != len(delays) < expected:
            before = len(delays)
            await asyncio.sleep(2)
        return delays + [math.inf] * (expected - len(delays))

    async def burst(self, times: int) -> int:
        """Many broadcasts in a loop on the server; how many frames have come when no more come for two seconds."""
        self.received, self.expected = 0, len(self.clients) * times
        self.done.clear()
        self.clients[0].transport.write(self._server.peer.frame("publish", text="x" * 100, times=times))
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
    client = await server.connect("/ws/echo/", lambda client, payload: answered.set() if is_answer(payload) else None)
    await asyncio.sleep(0.2)
    text, delays = server.peer.frame("echo", 1, text=TEXT), []
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


def percentile(delays: list[float], share: float) -> float:
    return sorted(delays)[int(len(delays) * share)]


def close(clients: list[Client]) -> None:
    for client in clients:
        client.transport.abort()
