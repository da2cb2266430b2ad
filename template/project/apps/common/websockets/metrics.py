"""What this process has counted since it began, for people and for Prometheus."""

import os
from collections import Counter

# Every name that is counted, with its meaning. A name that is not here is a mistake, and raises.
MEANINGS = {
    "sent": "broadcasts handed to connections",
    "replayed": "broadcasts that were sent again to connections that came back",
    "replays_refused": "connections that came back too late for a replay",
    "gaps_mended": "times that broadcasts were missing and were fetched",
    "resyncs": "times that broadcasts were lost, and all pages of a group were told",
    "slow_closes": "connections that were closed because they read too slowly",
    "failed_broadcasts": "broadcasts that could not be numbered, because Redis was away",
    "refused_frames": "frames of pages that were answered with an error",
}

_counts: Counter[str] = Counter(dict.fromkeys(MEANINGS, 0))


def count(name: str, number: int = 1) -> None:
    """Add to a count. Not exact to the last one when threads add at once, which costs a lock otherwise."""
    if name not in MEANINGS:
        raise KeyError(f"{name!r} is not in MEANINGS")
    _counts[name] += number


def counts() -> dict[str, int]:
    """All counts."""
    return dict(_counts)


def prometheus(members: dict[str, int], connections: int) -> str:
    """Everything in Prometheus' text format, with the sizes of groups.

    The label `pid` says whose it is: of several processes behind one port, another one answers each time.
    """
    # Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    pid = f'pid="{os.getpid()}"'
    lines = ["# HELP websockets_connections open connections", "# TYPE websockets_connections gauge"]
    lines.append(f"websockets_connections{{{pid}}} {connections}")
    lines += ["# HELP websockets_members connections in a group", "# TYPE websockets_members gauge"]
    lines += [f'websockets_members{{{pid},group="{group}"}} {number}' for group, number in sorted(members.items())]
    for name, number in counts().items():
        metric = f"websockets_{name}_total"
        lines += [f"# HELP {metric} {MEANINGS[name]}", f"# TYPE {metric} counter", f"{metric}{{{pid}}} {number}"]
    return "\n".join(lines) + "\n"
