"""The judge of a chaos run. Plain functions: from what was published, what each client received, and when the faults
were, to what went wrong.

A publish is *known* to a client from the moment that the client received its message, or reloaded its state after the
commit. Known must be: each accepted publish, and each failed one unless its process was killed then, within
BOUND_SECONDS after all faults that concern the two have ended. All times are seconds of the machine's monotonic clock.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

BOUND_SECONDS = 10.0
STORE = "store"  # its faults concern everyone
FIGURES = ("lost", "twice", "unordered", "late", "uncommitted")


@dataclass
class Publish:
    """A broadcast, as its publisher saw it."""

    publisher: str  # publishes one after the other
    process: str
    group: str
    number: int  # of this publisher, in this group
    begun: float
    committed: float | None = None
    ended: float | None = None
    outcome: str = "unknown"  # accepted, failed, rolled back; unknown if its process ended first

    def __str__(self) -> str:
        return f"{self.publisher} #{self.number} of {self.group} ({self.outcome})"


class Received(NamedTuple):
    """A client received a message."""

    at: float
    epoch: str
    seq: int
    publisher: str
    number: int


class Reloaded(NamedTuple):
    """A client took a position, and loaded the state of this moment."""

    at: float
    epoch: str
    seq: int
    is_new_page: bool = False  # in which nothing was received before


@dataclass
class History:
    """All that happened to a client, in order. It begins with loading the state."""

    client: str
    group: str
    events: list[Received | Reloaded] = field(default_factory=list)
    servers: list[tuple[float, str]] = field(default_factory=list)  # the attempts to connect: when, and to which

    def copy(self) -> "History":
        return replace(self, events=self.events.copy(), servers=self.servers.copy())


class Fault(NamedTuple):
    """A fault that was injected: who it concerned, from when until when."""

    description: str
    party: str  # "store", "server 1", "publisher 2", "client 17"
    begun: float
    ended: float
    is_kill: bool = False  # what the process alone knew is lost


@dataclass
class Verdict:
    """The evidence, a line for each violation."""

    lost: list[str] = field(default_factory=list)  # never known
    twice: list[str] = field(default_factory=list)  # received twice without a reload in between
    unordered: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # known, but after the bound
    uncommitted: list[str] = field(default_factory=list)  # received though rolled back
    undecided: int = 0  # not known yet, within the bound
    latest: float = 0.0  # seconds from a publish's end, or the end of the last fault, until it was known

    @property
    def figures(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in FIGURES}

    def __str__(self) -> str:
        figures = ", ".join(f"{count} {name}" for name, count in self.figures.items())
        return f"{figures}; known after {self.latest:.1f} s at the latest"

    def evidence(self, most: int = 10) -> str:
        """Of each kind so many lines at most."""
        lines = []
        for name in FIGURES:
            found = getattr(self, name)
            lines += [f"{name}: {line}" for line in found[:most]]
            lines += [f"{name}: and {len(found) - most} more"] if len(found) > most else []
        return "\n".join(lines)


def publishes(lines: Iterable[str]) -> list[Publish]:
    """Of the journal of all publishers, in order of beginning; a line that a killed process cut short is ignored."""
    found: dict[tuple[str, str, int], Publish] = {}
    for line in lines:
        if not line.endswith("}\n"):
            continue
        step = json.loads(line)
        key = step["publisher"], step["group"], step["number"]
        match step["step"]:
            case "begun":
                publisher, group, number = key
                found[key] = Publish(publisher, step["process"], group, number, step["at"])
            case "committed":
                found[key].committed = step["at"]
            case "rolled back":
                found[key].outcome = "rolled back"
            case outcome:
                found[key].ended = step["at"]
                if found[key].outcome == "unknown":
                    found[key].outcome = outcome
    return sorted(found.values(), key=lambda publish: publish.begun)


def judge(
    published: Sequence[Publish],
    histories: Sequence[History],
    faults: Sequence[Fault],
    ended: float,
    bound: float = BOUND_SECONDS,
) -> Verdict:
    """ended: when the clients stopped."""
    verdict = Verdict()
    by_key = {(publish.publisher, publish.group, publish.number): publish for publish in published}
    by_group = defaultdict(list)
    for publish in published:
        if publish.committed is not None and publish.outcome in ("accepted", "failed"):
            by_group[publish.group].append(publish)
    for history in histories:
        _check_order(history, by_key, verdict)
        _check_known(history, by_group[history.group], faults, ended, bound, verdict)
    _check_effects(histories, by_key, verdict)
    return verdict


def _check_order(history: History, by_key: dict[tuple[str, str, int], Publish], verdict: Verdict) -> None:
    """Each message once, in the order of the stream and of its publisher; none left out."""
    epoch, seq = "", 0
    since_reload: set[tuple[str, int]] = set()
    last: dict[str, int] = {}
    for event in history.events:
        if isinstance(event, Reloaded):
            epoch, seq = event.epoch, event.seq
            since_reload.clear()
            if event.is_new_page:
                last.clear()
            continue
        publish = by_key[event.publisher, history.group, event.number]
        where = f"{history.client} received {publish} as {event.seq} of {event.epoch} at {event.at:.2f}"
        key = event.publisher, event.number
        if publish.outcome == "rolled back":
            verdict.uncommitted.append(where)
        if key in since_reload:
            verdict.twice.append(where)
        elif event.epoch != epoch:
            verdict.unordered.append(f"{where}, and was at {seq} of {epoch}")
        elif event.seq <= seq:
            verdict.unordered.append(f"{where}, after {seq}")
        elif event.number < last.get(event.publisher, 0):
            verdict.unordered.append(f"{where}, after #{last[event.publisher]}")
        elif event.seq > seq + 1:
            verdict.lost += [f"{where}, but not {missing}" for missing in range(seq + 1, event.seq)]
        since_reload.add(key)
        last[event.publisher] = max(event.number, last.get(event.publisher, 0))
        epoch, seq = event.epoch, max(event.seq, seq if event.epoch == epoch else 0)


def _check_known(
    history: History,
    published: Sequence[Publish],
    faults: Sequence[Fault],
    ended: float,
    bound: float,
    verdict: Verdict,
) -> None:
    """Every publish is known in time."""
    reloads = [event.at for event in history.events if isinstance(event, Reloaded)]
    if not reloads:
        verdict.lost.append(f"{history.client} never connected")
        return
    received: dict[tuple[str, int], float] = {}
    for event in history.events:
        if isinstance(event, Received):
            received.setdefault((event.publisher, event.number), event.at)
    for publish in published:
        assert publish.committed is not None
        assert publish.ended is not None
        index = bisect_left(reloads, publish.committed)
        if index == 0:
            continue  # it is part of the state with which the client began
        times = [*reloads[index : index + 1], received.get((publish.publisher, publish.number), ended)]
        known = min(times)
        if known - publish.ended <= 1 and known < ended:
            continue
        due = _due(publish, history, faults, bound)
        if publish.outcome == "failed" and _was_killed(publish, faults, due):
            continue  # before it could make the failure known
        what = f"{history.client}: {publish}, committed at {publish.committed:.2f}, ended at {publish.ended:.2f}"
        if known < ended:
            verdict.latest = max(verdict.latest, known - due + bound)
            if known > due:
                verdict.late.append(f"{what}, known at {known:.2f}, due at {due:.2f}")
        elif due < ended:
            verdict.lost.append(f"{what}, due at {due:.2f}")
        else:
            verdict.undecided += 1


def _was_killed(publish: Publish, faults: Sequence[Fault], due: float) -> bool:
    return any(
        fault.is_kill and fault.party == publish.process and publish.begun <= fault.begun <= due for fault in faults
    )


def _due(publish: Publish, history: History, faults: Sequence[Fault], bound: float) -> float:
    """When a client must know a publish: `bound` seconds after its end, or after the end of a fault since then."""
    assert publish.ended is not None
    due = publish.ended + bound
    while True:
        before = [server for at, server in history.servers if at <= publish.ended][-1:]
        since = [server for at, server in history.servers if publish.ended < at <= due]
        parties = {STORE, publish.process, history.client, *before, *since}
        later = [
            fault.ended + bound
            for fault in faults
            if fault.party in parties and fault.begun <= due and fault.ended >= publish.begun
        ]
        if max(later, default=due) <= due:
            return due
        due = max(later)


def _check_effects(histories: Sequence[History], by_key: dict[tuple[str, str, int], Publish], verdict: Verdict) -> None:
    """A publish takes effect between its begin and its end: one that ended before another began has a lower number."""
    streams: dict[tuple[str, str], dict[int, Publish]] = defaultdict(dict)
    for history in histories:
        for event in history.events:
            if isinstance(event, Received):
                publish = by_key[event.publisher, history.group, event.number]
                other = streams[history.group, event.epoch].setdefault(event.seq, publish)
                if other is not publish:
                    verdict.unordered.append(f"{event.seq} of {event.epoch} is both {publish} and {other}")
    for (_, epoch), stream in streams.items():
        latest: Publish | None = None
        for seq, publish in sorted(stream.items()):
            if latest and publish.ended is not None and publish.ended < latest.begun:
                late = f"{publish} ended at {publish.ended:.2f}, and is {seq} of {epoch}"
                verdict.unordered.append(f"{late}, after {latest}, which began at {latest.begun:.2f}")
            if latest is None or publish.begun > latest.begun:
                latest = publish
