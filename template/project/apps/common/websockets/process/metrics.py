"""Counters of this process, in Prometheus' text format."""

import os
from collections import Counter

from apps.common.websockets.service import restarts

# Every counter with its meaning. Another name raises KeyError.
MEANINGS = {
    "sent": "broadcasts given to connections",
    "replayed": "broadcasts replayed to connections that reconnected",
    "replays_refused": "connections whose missed broadcasts could not be replayed",
    "gaps_recovered": "gaps in a group's broadcasts that were recovered from its stream",
    "resyncs": "groups whose clients got a resync, because broadcasts were lost",
    "snapshots": "calls of a consumer's snapshot(), which the clients that wait for the same state share",
    "slow_closes": "connections that were closed because the client was too slow",
    "failed_broadcasts": "broadcasts that failed because the stream store was unavailable",
    "refused_connections": "connections that were refused: not allowed, or too many",
    "shed_connections": "connections that were closed because too much waited in this process",
    "refused_messages": "client messages that were answered with an error",
}

MAX_GROUPS = 100  # with a series of their own, the largest; visitors can make many

_counts: Counter[str] = Counter(dict.fromkeys(MEANINGS, 0))


def count(name: str, number: int = 1) -> None:
    """Add to a counter. Not exact when threads add at once: exactness would cost a lock."""
    if name not in MEANINGS:
        raise KeyError(f"{name!r} is not in MEANINGS")
    _counts[name] += number


def counts() -> dict[str, int]:
    """All counters."""
    return dict(_counts)


def prometheus(members: dict[str, int], connections: int, asgi_connections: int = 0) -> str:
    """All counters, the numbers of connections and the sizes of groups, in Prometheus' text format.

    The label `pid` identifies the process: of several behind one port, another one answers each time.
    """
    # Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    pid = f'pid="{os.getpid()}"'
    lines = ["# HELP websockets_connections open connections", "# TYPE websockets_connections gauge"]
    lines.append(f"websockets_connections{{{pid}}} {connections}")
    lines += ["# HELP websockets_asgi_connections those whose messages go through ASGI's send"]
    lines += ["# TYPE websockets_asgi_connections gauge", f"websockets_asgi_connections{{{pid}}} {asgi_connections}"]
    lines += ["# HELP websockets_members connections in a group", "# TYPE websockets_members gauge"]
    largest = sorted(members.items(), key=lambda item: (-item[1], item[0]))
    shown = largest[:MAX_GROUPS]
    if others := largest[MAX_GROUPS:]:
        shown.append(("(others)", sum(number for _, number in others)))
    lines += [f'websockets_members{{{pid},group="{_escape(group)}"}} {number}' for group, number in shown]
    lines += ["# HELP websockets_groups groups with connections", "# TYPE websockets_groups gauge"]
    lines.append(f"websockets_groups{{{pid}}} {len(members)}")
    for name, number in counts().items():
        metric = f"websockets_{name}_total"
        lines += [f"# HELP {metric} {MEANINGS[name]}", f"# TYPE {metric} counter", f"{metric}{{{pid}}} {number}"]
    lines += ["# HELP websockets_restarts_total tasks that had ended and were restarted"]
    lines += ["# TYPE websockets_restarts_total counter"]
    lines += [f'websockets_restarts_total{{{pid},task="{name}"}} {number}' for name, number in sorted(restarts.items())]
    return "\n".join(lines) + "\n"


def _escape(label: str) -> str:
    return label.translate({ord("\\"): r"\\", ord('"'): r"\"", ord("\n"): r"\n"})
