"""The connections of this process, and the one sweep that looks after all of them.

Once a second: who was silent for too long is closed; who may still be connected is asked again, with one look-up for
each session; old database connections are closed. One timer for the process, not one for each connection.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextvars import Context
from socket import gethostname
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db import close_old_connections

from apps.common.websockets import protocol, sessions
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.sessions import Who
from apps.common.websockets.streams import Order, get_streams

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0


class Connection(Protocol):
    """What the registry looks after."""

    scope: Any
    heard_at: float  # loop time of the last frame
    check_at: float  # loop time of the next question whether it may stay
    recheck_seconds: float
    silent_seconds: float

    async def close(self, code: int) -> None: ...

    async def recheck(self, user: Any) -> None: ...

    def write(self, text: str) -> None: ...


class Registry:
    """Of one event loop."""

    def __init__(self) -> None:
        self.connections: dict[Connection, Who] = {}  # with their keys in the two below
        self._by_user: dict[str, set[Connection]] = {}
        self._by_session: dict[str, set[Connection]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._is_listening = False  # to what other processes tell
        self._beginning: asyncio.Task[None] | None = None  # to listen
        self._is_permanent = False
        self.is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen to other processes also while there is no connection. Called when a server starts."""
        self._is_permanent = True
        await _logged(self._listen())

    async def add(self, connection: Connection) -> None:
        """Look after a connection."""
        self.connections[connection] = who = sessions.who(connection.scope)
        self._by_user.setdefault(who.user_id, set()).add(connection)
        self._by_session.setdefault(who.session_key, set()).add(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="websocket sweep")
        await self._listen()

    async def remove(self, connection: Connection) -> None:
        """Stop looking after it; harmless if it is not there."""
        if connection not in self.connections:
            return
        who = self.connections.pop(connection)
        _discard(self._by_user, who.user_id, connection)
        _discard(self._by_session, who.session_key, connection)
        if not self.connections and self._sweeper:
            self._sweeper.cancel()
            self._sweeper = None
            await _logged(self._unlisten())

    def of_user(self, user_id: str) -> list[Connection]:
        """A user's connections, by the primary key as a string."""
        return list(self._by_user.get(user_id, ()))

    def obey(self, order: Order) -> None:
        """sign_out: a session's key; its connections are closed. recheck: a user's id, whose connections are asked.
        to_user: a user's id, to whose connections "text" is sent. drain: seconds, if "host" is this one."""
        if session_key := order.get("sign_out"):
            self._close(self._by_session.get(session_key, ()), CloseCode.SIGNED_OUT)
        if user_id := order.get("recheck"):
            self.spawn(self._recheck(self.of_user(user_id)))
        if user_id := order.get("to_user"):
            for connection in self.of_user(user_id):
                connection.write(order["text"])
        if (within := order.get("drain")) and order["host"] == gethostname():
            self._drain(int(within))

    def spawn(self, coroutine: Any) -> None:
        """Run something beside a connection, and log its failure."""
        task = asyncio.ensure_future(_logged(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self) -> None:
        if self._is_listening:
            return
        if self._beginning is None:  # one attempt, for all who come meanwhile
            self._beginning = asyncio.create_task(get_streams().listen_to_orders(self.obey))
        beginning = self._beginning
        try:
            await asyncio.shield(beginning)
        finally:
            if beginning.done() and self._beginning is beginning:
                self._beginning = None
        self._is_listening = True

    async def _unlisten(self) -> None:
        if self._is_listening and not self._is_permanent:
            self._is_listening = False
            await get_streams().unlisten_to_orders()

    def _drain(self, within: int) -> None:
        self.is_draining = True
        for connection in self.connections:
            connection.write(protocol.encode(protocol.draining(within)))

    async def close_old_connections(self) -> None:
        """Let go of database connections that are broken or too old. Channels does so for every message, in the one
        thread that runs ORM work; here it is once a second, and after an error."""
        await database_sync_to_async(close_old_connections)()

    def _close(self, connections: Iterable[Connection], code: int) -> None:
        for connection in list(connections):
            self.spawn(connection.close(code))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            self._close_silent(now)
            await _logged(self._recheck(self._due(now)))
            await _logged(self.close_old_connections())

    def _close_silent(self, now: float) -> None:
        silent = [each for each in self.connections if each.heard_at + each.silent_seconds < now]
        for connection in silent:
            connection.heard_at = now  # so that one which cannot be closed is not tried again every second
        self._close(silent, CloseCode.SILENT)

    def _due(self, now: float) -> list[Connection]:
        due = [each for each in self.connections if each.check_at < now]
        for connection in due:
            # Now, not when it was asked: what cannot be looked up is not tried again every second.
            connection.check_at = now + connection.recheck_seconds
        return due

    async def _recheck(self, connections: Iterable[Connection]) -> None:
        by_who: dict[Who, list[Connection]] = {}
        for connection in connections:
            if who := self.connections.get(connection):  # it may have gone
                by_who.setdefault(who, []).append(connection)
        if not by_who:
            return
        asked = {who: members[0].scope["user"] for who, members in by_who.items()}
        users = await database_sync_to_async(sessions.load_users)(asked)
        for who, user in users.items():
            for connection in by_who[who]:
                if connection in self.connections:  # still
                    self.spawn(connection.recheck(user))


def _discard(index: dict[str, set[Connection]], key: str, connection: Connection) -> None:
    index[key].discard(connection)
    if not index[key]:
        del index[key]


async def _logged(coroutine: Any) -> None:
    try:
        await coroutine
    except Exception:
        logger.exception("Looking after a connection failed")


_registries: WeakKeyDictionary[asyncio.AbstractEventLoop, Registry] = WeakKeyDictionary()


def get_registry() -> Registry:
    """The registry of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _registries:
        _registries[loop] = Registry()
    return _registries[loop]


def tell(order: Order) -> bool:
    """Have every registry obey, in every process. For sync code, from any thread.

    Returns whether the other processes were told; if not, which is logged, it was at least this one.
    """
    if get_streams().tell(order):
        return True
    for loop, registry in list(_registries.items()):
        if not loop.is_closed():
            # A context of its own: in that of the thread that tells, ORM work would wait for that very thread.
            loop.call_soon_threadsafe(registry.obey, order, context=Context())
    return False


def is_draining() -> bool:
    """Whether this process was told that it will be stopped."""
    return any(registry.is_draining for registry in list(_registries.values()))


def connection_count() -> int:
    """How many connections this process has."""
    return sum(len(registry.connections) for registry in list(_registries.values()))
