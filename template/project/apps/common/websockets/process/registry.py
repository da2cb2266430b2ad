"""The connections of this process, and one periodic task that checks all of them.

Once a second: a connection that was silent for too long is closed; connections whose access check is due are checked
again, with one look-up for each identity; old database connections are closed.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from contextvars import Context
from socket import gethostname
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django.db import close_old_connections

from apps.common.websockets import protocol
from apps.common.websockets.access.identity import Identity, identify, load_users
from apps.common.websockets.event_loop import of_all_loops, of_running_loop
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import Command

logger = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 1.0


class Registered(Protocol):
    """A connection, as the registry sees it."""

    scope: Any
    last_message_at: float  # loop time of the client's last message
    check_at: float  # loop time of the next access check

    @property
    def recheck_seconds(self) -> float: ...

    @property
    def silent_seconds(self) -> float: ...

    async def close(self, code: int) -> None: ...

    async def recheck(self, user: Any) -> None: ...

    def write(self, text: str) -> None: ...


class Registry:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self.connections: dict[Registered, Identity] = {}  # with their keys in the two below
        self._by_user: dict[str, set[Registered]] = {}
        self._by_session: dict[str, set[Registered]] = {}
        self._housekeeper: asyncio.Task[None] | None = None
        self._is_subscribed = False  # to the commands of other processes
        self._subscribing: asyncio.Task[None] | None = None
        self._is_permanent = False
        self.is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Subscribe to commands also while there is no connection. Called when a server starts."""
        self._is_permanent = True
        await _logged(self._subscribe())

    async def add(self, connection: Registered) -> int:
        """Register a connection. Returns how many its user has in this event loop; 0 for an anonymous visitor."""
        self.connections[connection] = identity = identify(connection.scope)
        of_user = self._by_user.setdefault(identity.user_id, set())
        of_user.add(connection)
        self._by_session.setdefault(identity.session_key, set()).add(connection)
        if self._housekeeper is None:
            self._housekeeper = asyncio.create_task(self._keep_house(), name="websocket housekeeping")
        if not self._is_subscribed:
            await self._subscribe()
        return len(of_user) if identity.user_id else 0

    async def remove(self, connection: Registered) -> None:
        """Unregister a connection; without effect on one that is not registered."""
        if connection not in self.connections:
            return
        identity = self.connections.pop(connection)
        _discard(self._by_user, identity.user_id, connection)
        _discard(self._by_session, identity.session_key, connection)
        if not self.connections and self._housekeeper:
            self._housekeeper.cancel()
            self._housekeeper = None
            await _logged(self._unsubscribe())

    async def close(self) -> None:
        """End the periodic task: the event loop is about to end."""
        if self._housekeeper:
            self._housekeeper.cancel()

    def of_user(self, user_id: str) -> list[Registered]:
        """A user's connections, by the primary key as a string."""
        return list(self._by_user.get(user_id, ()))

    def handle_command(self, command: Command) -> None:
        """sign_out: a session's key; its connections are closed. recheck: a user's id, whose connections are
        re-checked. to_user: a user's id, to whose connections "text" is sent. drain: seconds, if "host" is this one."""
        if session_key := command.get("sign_out"):
            self._close(self._by_session.get(session_key, ()), CloseCode.SIGNED_OUT)
        if user_id := command.get("recheck"):
            self.spawn(self._recheck(self.of_user(user_id)))
        if user_id := command.get("to_user"):
            for connection in self.of_user(user_id):
                connection.write(command["text"])
        if (within := command.get("drain")) and command["host"] == gethostname():
            self._drain(int(within))

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something beside a connection, and log its failure."""
        task = asyncio.ensure_future(_logged(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close_old_connections(self) -> None:
        """Close database connections that are broken or too old. Channels does so for every message, in the one thread
        that runs ORM work; here it happens once a second, and after an error."""
        await database_sync_to_async(close_old_connections)()

    async def _subscribe(self) -> None:
        if self._is_subscribed:
            return
        if self._subscribing is None:  # connections that open meanwhile share one attempt
            self._subscribing = asyncio.create_task(get_streams().subscribe_control(self.handle_command))
        subscribing = self._subscribing
        try:
            await asyncio.shield(subscribing)
        finally:
            if subscribing.done() and self._subscribing is subscribing:
                self._subscribing = None
        self._is_subscribed = True

    async def _unsubscribe(self) -> None:
        if self._is_subscribed and not self._is_permanent:
            self._is_subscribed = False
            await get_streams().unsubscribe_control()

    def _drain(self, within: int) -> None:
        self.is_draining = True
        for connection in self.connections:
            connection.write(protocol.draining(within))

    def _close(self, connections: Iterable[Registered], code: int) -> None:
        for connection in list(connections):
            self.spawn(connection.close(code))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            now = asyncio.get_running_loop().time()
            self._close_silent(now)
            await _logged(self._recheck(self._due(now)))
            await _logged(self.close_old_connections())

    def _close_silent(self, now: float) -> None:
        silent = [each for each in self.connections if each.last_message_at + each.silent_seconds < now]
        for connection in silent:
            connection.last_message_at = now  # so that one which cannot be closed is not tried again every second
        self._close(silent, CloseCode.SILENT)

    def _due(self, now: float) -> list[Registered]:
        due = [each for each in self.connections if each.check_at < now]
        for connection in due:
            # Before the check: a failed look-up must not be retried every second.
            connection.check_at = now + connection.recheck_seconds
        return due

    async def _recheck(self, connections: Iterable[Registered]) -> None:
        by_identity: dict[Identity, list[Registered]] = {}
        for connection in connections:
            if identity := self.connections.get(connection):  # it may have closed
                by_identity.setdefault(identity, []).append(connection)
        if not by_identity:
            return
        known = {identity: members[0].scope["user"] for identity, members in by_identity.items()}
        users = await database_sync_to_async(load_users)(known)
        for identity, user in users.items():
            for connection in by_identity[identity]:
                if connection in self.connections:  # still
                    self.spawn(connection.recheck(user))


def _discard(index: dict[str, set[Registered]], key: str, connection: Registered) -> None:
    index[key].discard(connection)
    if not index[key]:
        del index[key]


async def _logged(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await coroutine
    except Exception:
        logger.exception("A task of the registry failed")


def get_registry() -> Registry:
    """The registry of the running event loop."""
    return of_running_loop(Registry)


def publish_command(command: Command) -> bool:
    """Send a command to the registry of every process. For sync code, from any thread.

    Returns whether other processes were reached; if not, this process handles it all the same.
    """
    if get_streams().publish_command(command):
        return True
    for loop, registry in of_all_loops(Registry):
        # In an empty context: in the publisher's, ORM work would wait for the publisher's thread.
        loop.call_soon_threadsafe(registry.handle_command, command, context=Context())
    return False


def is_draining() -> bool:
    """Whether this process has been asked to drain before it is stopped."""
    return any(registry.is_draining for _, registry in of_all_loops(Registry))


def connection_count() -> int:
    """How many connections this process has."""
    return sum(len(registry.connections) for _, registry in of_all_loops(Registry))
