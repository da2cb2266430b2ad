"""The cost of a broadcast for its publisher in Redis or Valkey, beside a PING on the same connection.

Run it in a project generated with `base_tests`: `uv run python TEMPLATE/benchmarks/append.py`. It starts a server of
its own.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

import redis  # noqa: E402

from apps.common.tests import valkey  # noqa: E402
from apps.common.websockets.streams.redis import RedisStreams  # noqa: E402

TIMES = 3_000
TURNS = 5
BODY = '{"type":"news","data":{"text":"' + "x" * 100 + '"}}'


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = valkey.find()
        if program is None:
            sys.exit(valkey.HOW_TO_INSTALL)
        server = valkey.ValkeyServer(program, Path(folder))
        server.start()
        try:
            measure(server.url)
        finally:
            server.stop()


def measure(url: str) -> None:
    streams, client = RedisStreams(url, "bench"), redis.Redis.from_url(url)
    streams.append("bench", BODY)  # loads the script
    before = commands(client)
    for _ in range(100):
        streams.append("bench", BODY)
    called = (commands(client) - before) / 100
    append, ping = [], []
    for _ in range(TURNS):
        append.append(each(lambda: streams.append("bench", BODY)))
        ping.append(each(client.ping))
    calls = client.info("commandstats")
    script = calls["cmdstat_evalsha"]["usec_per_call"]
    print(f"append {statistics.median(append):.0f} µs, PING {statistics.median(ping):.0f} µs", end="; ")
    print(f"in the server {script:.0f} µs; commands sent for each: {called:.2f}")


def each(call: Callable[[], object]) -> float:
    """The median of a call's microseconds."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1e6)
    return statistics.median(took)


def commands(client: redis.Redis) -> int:
    """How many scripts the server was asked to run: each is a round trip."""
    calls = client.info("commandstats")
    return sum(calls.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha", "script|load"))


if __name__ == "__main__":
    main()
