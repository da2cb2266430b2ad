"""The groups of which a broadcast failed, until their clients reload.

While the store is unavailable nothing can be noted there: the process that failed tries again, in a thread of its own,
and for EXIT_SECONDS when it ends. LagCheck knows of outages that last longer.
"""

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from apps.common.websockets.streams.base import StreamsUnavailable

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
EXIT_SECONDS = 8.0


class Failures:
    """How many broadcasts of each group failed since its epoch was last renewed. For any thread.

    renew: makes the clients of a group reload.
    """

    def __init__(self, renew: Callable[[str], None]) -> None:
        self._renew = weakref.WeakMethod(renew)  # the thread ends with the store's object
        self._counts: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @contextmanager
    def watch(self, group: str) -> Iterator[int]:
        """Count a failure, or forget those before, whose number is given: the epoch is renewed for all of them."""
        count = self._counts.get(group, 0)
        try:
            yield count
        except StreamsUnavailable:
            self.add(group)
            raise
        self._forget(group, count)

    def add(self, group: str) -> None:
        """Count a failure."""
        with self._lock:
            self._counts[group] = self._counts.get(group, 0) + 1
            if not (self._thread and self._thread.is_alive()):  # after a fork it is not
                self._thread = threading.Thread(target=self._run, name="websocket streams: failed broadcasts")
                self._thread.start()

    def _forget(self, group: str, count: int) -> None:
        with self._lock:
            if count and self._counts.get(group) == count:  # there were no more meanwhile
                del self._counts[group]

    def _run(self) -> None:
        ends_at = math.inf
        while time.monotonic() < ends_at:
            time.sleep(RETRY_SECONDS)
            with suppress(StreamsUnavailable):
                self._renew_all()
            if not threading.main_thread().is_alive():
                ends_at = min(ends_at, time.monotonic() + EXIT_SECONDS)
            with self._lock:
                if not self._counts or self._renew() is None:
                    self._thread = None
                    return
        logger.error("Broadcasts failed, and the clients of these groups do not know: %s", ", ".join(self._counts))

    def _renew_all(self) -> None:
        for group, count in list(self._counts.items()):
            if renew := self._renew():
                renew(group)
            self._forget(group, count)
