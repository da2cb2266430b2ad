"""Threads of their own for what reads the database beside the handlers: no handler's query delays it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import close_old_connections, connections
from django.urls import set_script_prefix

T = TypeVar("T")


class Readers:
    """Threads of an event loop, each with database connections of its own."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call the function in one of them, in an empty context."""
        if any(each.vendor == "sqlite" and each.is_in_memory_db() for each in connections.all()):  # type: ignore[attr-defined]
            # In tests. There a reader in another thread makes a writer fail: "database table is locked".
            found: T = await database_sync_to_async(function)(*arguments)
            return found
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, Context().run, _call, function, arguments)

    def close(self) -> None:
        """Without waiting for what is being read."""
        self._threads.shutdown(wait=False)


def _call(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    close_old_connections()
    set_script_prefix(settings.FORCE_SCRIPT_NAME or "/")  # for addresses; a view's context has it
    try:
        return function(*arguments)
    finally:
        close_old_connections()
