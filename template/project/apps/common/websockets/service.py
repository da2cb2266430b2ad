"""Tasks that serve several connections: nothing that one of them raises ends such a task."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context

from asgiref.sync import SyncToAsync

logger = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
BROKEN_AFTER = 3  # restarts in a row, each within STABLE_SECONDS of the last
STABLE_SECONDS = 60.0

restarts: Counter[str] = Counter()  # by a service's name; for /metrics/
broken: set[str] = set()  # the names of services that do not stay up; for /ready/


class Service:
    """Runs `run` in a task until stop(). It inherits no context, and is restarted whatever ends it."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._run = run
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0  # in a row
        self._started_at = 0.0

    def start(self) -> None:
        """Run from now on; without effect if it does."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._started_at = loop.time()
            self._task = loop.create_task(self._guarded(), name=self.name, context=Context())
            self._task.add_done_callback(self._on_done, context=Context())

    def stop(self) -> asyncio.Task[None] | None:
        """End the task. Returns it, for callers that wait until it has ended."""
        task, self._task = self._task, None
        if self._timer:
            self._timer.cancel()
        if task:
            task.cancel()
        broken.discard(self.name)
        self._failures = 0
        return task

    async def _guarded(self) -> None:
        with guard(self.name):
            await self._run()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if task is not self._task:
            return  # stopped
        # Not at once: at the end of the event loop every task is cancelled.
        self._timer = asyncio.get_running_loop().call_later(RESTART_SECONDS, self._restart, context=Context())

    def _restart(self) -> None:
        self._task = None
        is_stable = asyncio.get_running_loop().time() - self._started_at > STABLE_SECONDS
        self._failures = 1 if is_stable else self._failures + 1
        restarts[self.name] += 1
        if self._failures >= BROKEN_AFTER:
            broken.add(self.name)
        logger.error("%s had ended and is restarted", self.name)
        self.start()


def fork(context: Context) -> Context:
    """A copy, for a task that runs beside others in the context.

    asgiref marks a context in which sync code is awaited, and refuses another such call in it: it takes all that runs
    in one context for one task.
    """
    copied = context.copy()
    copied.run(SyncToAsync.deadlock_context.set, False)
    return copied


@contextmanager
def guard(what: str) -> Iterator[None]:
    """Log what the block raises, of any kind; only the cancellation of the running task passes."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        logger.exception("%s awaited something that was cancelled", what)
    except BaseException:
        logger.exception("%s failed", what)


def is_cancelled() -> bool:
    """Whether the running task is being cancelled, and not just something that it awaited."""
    task = asyncio.current_task()
    return bool(task and task.cancelling())
