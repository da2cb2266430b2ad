"""Calls of one event loop to Redis or Valkey that share a connection; those of the same moment are one round trip.

A pool, and a round trip for each, would cost this process several times as much; and where thousands of clients
reconnect at once, they would wait for the connections of the pool.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import Context
from hashlib import sha1
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection
from redis.exceptions import ResponseError

MAX_BATCH = 100  # calls, since an answer may be a whole stream


class Batches:
    """Runs some scripts, in the order of the calls. scripts: their texts, by name."""

    def __init__(self, pool: BlockingConnectionPool, scripts: Mapping[str, str]) -> None:
        self._pool = pool
        self._scripts = scripts
        self._hashes = {name: sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in scripts.items()}
        self._connection: Connection | None = None
        self._in_use: Connection | None = None
        self._waiting: list[tuple[Sequence[Any], asyncio.Future[Any]]] = []  # commands, and their answers
        self._task: asyncio.Task[None] | None = None

    async def run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """The script's answer. Raises RedisError, OSError: then it may have run all the same."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._waiting.append((("EVALSHA", self._hashes[name], len(keys), *keys, *arguments), answer))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work(), context=Context())
        return await answer

    async def disconnect(self) -> None:
        """Have the next calls connect again; those in progress finish."""
        connection, self._connection = self._connection, None
        if connection and connection is not self._in_use:
            await connection.disconnect()

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                await self._send([command for command, _ in batch], [answer for _, answer in batch])
            except Exception as error:  # of any kind: each caller decides
                for _, answer in batch:
                    _resolve(answer, error)

    async def _send(self, commands: list[Sequence[Any]], answers: list[asyncio.Future[Any]]) -> None:
        loading: list[Sequence[Any]] = []
        if self._connection is None:
            self._connection = self._pool.make_connection()
            loading = [("SCRIPT LOAD", text) for text in self._scripts.values()]
        connection = self._in_use = self._connection
        try:
            await connection.send_packed_command(connection.pack_commands([*loading, *commands]))
            for _ in loading:
                await connection.read_response()
            for answer in answers:
                try:
                    _resolve(answer, await connection.read_response())
                except ResponseError as error:
                    self._connection = None  # the server may be demoted, or have lost the script
                    _resolve(answer, error)
        except BaseException:
            self._connection = None
            raise
        finally:
            self._in_use = None
            if self._connection is not connection:
                await connection.disconnect()


def _resolve(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return  # its caller was cancelled
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
