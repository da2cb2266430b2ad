"""The faults of a run, in writing before it begins: the same for the same seed."""

import random
from collections.abc import Sequence
from typing import NamedTuple

FIRST = 2.0  # seconds without a fault
CLIENT_EVENTS = 2.0  # per second
CLIENT_KINDS = ("drop", "freeze", "leave", "open")
QUIET_SECONDS = 6.0  # at most, between faults
STORE_KINDS = ("kill", "suspend", "flush", "evict", "full", "save", "fail over", "fail over after a kill")
REPLICATION = "store: replication"
NETWORK = ("cut", "delay", "stall", "stall up", "stall down", "forget")


class Planned(NamedTuple):
    """A fault. Links are "server 1: store", "server 1: clients", "publisher 1: store" and "store: replication"."""

    at: float  # seconds from the beginning
    target: str
    kind: str
    seconds: float  # that it lasts, without the time to start again

    def __str__(self) -> str:
        return f"{self.at:6.2f} s  {self.target}: {self.kind} for {self.seconds:.2f} s"


def plan(seed: int, seconds: float, servers: int, publishers: Sequence[str], clients: int) -> list[Planned]:
    """A run's faults: of processes, the store and the network one or a few at a time, and of clients all the time."""
    chance = random.Random(seed)  # noqa: S311
    names = [f"server {number}" for number in range(servers)]
    links = [
        *(f"{name}: clients" for name in names),
        *(f"{name}: store" for name in [*names, *publishers]),
        REPLICATION,
    ]
    faults = []
    at = FIRST
    while True:
        of, kinds = chance.choice(
            [
                (names, ("kill", "terminate", "suspend")),
                (publishers, ("kill", "suspend")),
                (["store"], STORE_KINDS),
                (links, NETWORK),
                (links, NETWORK),
            ]
        )
        fault = Planned(at, chance.choice(of), chance.choice(kinds), chance.uniform(0.2, 6))
        if fault.at + fault.seconds > seconds:
            break
        faults.append(fault)
        # Several at once, or a quiet time.
        at += chance.choice((chance.uniform(0, 1), fault.seconds + chance.uniform(0, QUIET_SECONDS)))
    for _ in range(int(seconds * CLIENT_EVENTS) if clients else 0):
        kind, client = chance.choice(CLIENT_KINDS), f"client {chance.randrange(clients)}"
        faults.append(Planned(chance.uniform(FIRST, seconds), client, kind, chance.uniform(0.1, 8)))
    return sorted(faults)
