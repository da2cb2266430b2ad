"""The connections of this process, and one periodic task that checks all of them.

Once a second: a connection that was silent for too long is closed; connections whose access check is due are checked
again, with one look-up for each identity; old database connections are closed.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from contextvars import Context
from socket import gethostname
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import close_old_connections

from apps.common.websockets import protocol
from apps.common.websockets.access.identity import Identity, identify, load_users
from apps.common.websockets.event_loop import of_all_loops, of_running_loop
from apps.common.websockets.process.metrics import count
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.service import Service, fork, guard
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import Command

logger = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 1.0
CHECKS_PER_SECOND = 500  # where the access of all is checked again; in a large process a twentieth of all
WAITING_BYTES = 64 * 1024 * 1024  # of all connections, where the settings have no WEBSOCKET_WAITING_BYTES


class Registered(Protocol):
    """A connection, as the registry sees it."""

    scope: Any
    last_message_at: float  # loop time of the client's last message
    check_at: float  # loop time of the next access check

    end_at: float  # loop time after which a close has failed
    context: Context

    @property
    def uses_asgi(self) -> bool: ...

    @property
    def waiting_bytes(self) -> int: ...

    @property
    def recheck_seconds(self) -> float: ...

    @property
    def silent_seconds(self) -> float: ...

    async def close(self, code: int) -> None: ...

    async def recheck(self, user: Any) -> None: ...

    def write(self, text: str) -> None: ...

    def on_overflow(self) -> None: ...

    def end(self) -> None: ...


class Registry:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self.connections: dict[Registered, Identity] = {}  # with their keys in the two below
        self._by_user: dict[str, set[Registered]] = {}
        self._by_session: dict[str, set[Registered]] = {}
        self._by_address: dict[str, set[Registered]] = {}  # of anonymous visitors
        self._housekeeper = Service("The housekeeping of connections", self._keep_house)
        self._waited_bytes = 0  # since the last look at what waits
        self._is_subscribed = False  # to the commands of other processes
        self._subscribing: asyncio.Task[None] | None = None
        self._is_permanent = False
        self.is_draining = False
        self._started_at = time.time()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Subscribe to commands also while there is no connection. Called when a server starts."""
        self._is_permanent = True
        await _logged(self._subscribe())

    async def add(self, connection: Registered) -> int:
        """Register a connection. Returns how many its user has in this event loop, or, for an anonymous visitor, how
        many such visitors have at its address; 0 where a server knows no address."""
        self.connections[connection] = identity = identify(connection.scope)
        peers = self._by_user.setdefault(identity.user, set())
        peers.add(connection)
        self._by_session.setdefault(identity.session_key, set()).add(connection)
        if not identity.user:
            peers = self._by_address.setdefault(_address(connection.scope), set())
            peers.add(connection)
        self._housekeeper.start()
        if not self._is_subscribed:
            await self._subscribe()
        return len(peers) if identity.user or _address(connection.scope) else 0

    async def remove(self, connection: Registered) -> None:
        """Unregister a connection; without effect on one that is not registered."""
        if connection not in self.connections:
            return
        identity = self.connections.pop(connection)
        _discard(self._by_user, identity.user, connection)
        _discard(self._by_session, identity.session_key, connection)
        if not identity.user:
            _discard(self._by_address, _address(connection.scope), connection)
        if not self.connections:
            self._housekeeper.stop()
            await _logged(self._unsubscribe())

    async def close(self) -> None:
        """End every task: the event loop is about to end."""
        self._housekeeper.stop()
        for task in self._tasks:
            task.cancel()

    def of_user(self, key: str) -> list[Registered]:
        """A user's connections, by user_key()."""
        return list(self._by_user.get(key, ()))

    def handle_command(self, command: Command) -> None:
        """sign_out: a session's key; its connections are closed. recheck: a user_key(), whose connections are
        re-checked. recheck_all: "yes" for those of all users. drain: seconds, if "host" is this one."""
        if session_key := command.get("sign_out"):
            self._close(self._by_session.get(session_key, ()), CloseCode.SIGNED_OUT)
        if user := command.get("recheck"):
            self.spawn(self._recheck(self.of_user(user)), Context())
        if command.get("recheck_all"):
            self._recheck_soon()
        if (within := command.get("drain")) and command["host"] == gethostname():
            self._drain(int(within))

    def handle_gap(self) -> None:
        """Commands may have been missed: check all connections soon, and look up whether to drain."""
        self._recheck_soon()
        self.spawn(self._find_drain(), Context())

    def spawn(self, coroutine: Coroutine[Any, Any, None], context: Context) -> None:
        """Run something beside a connection, in its context, and log its failure."""
        task = asyncio.get_running_loop().create_task(_logged(coroutine), context=context)
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
            subscribed = get_streams().subscribe_control(self.handle_command, self.handle_gap)
            self._subscribing = asyncio.get_running_loop().create_task(subscribed, context=Context())
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

    async def _find_drain(self) -> None:
        drain = await get_streams().last_drain(gethostname())
        if drain and drain[0] > self._started_at and not self.is_draining:
            self._drain(drain[1])

    def _drain(self, within: int) -> None:
        self.is_draining = True
        for connection in self.connections:
            connection.write(protocol.draining(within))

    def _close(self, connections: Iterable[Registered], code: int) -> None:
        for connection in list(connections):
            self.spawn(connection.close(code), connection.context)

    def note_waiting(self, size: int) -> None:
        """Bytes wait in a connection. All that waits in this event loop is held below a limit: the most loses."""
        self._waited_bytes += size
        limit = getattr(settings, "WEBSOCKET_WAITING_BYTES", WAITING_BYTES)
        if self._waited_bytes > limit // 8:
            self._waited_bytes = 0
            self._shed(limit)

    def _shed(self, limit: int) -> None:
        waiting = {each: size for each in self.connections if (size := each.waiting_bytes)}
        total = sum(waiting.values())
        for connection in sorted(waiting, key=lambda each: waiting[each], reverse=True):
            if total <= limit:
                return
            total -= waiting[connection]
            count("shed_connections")
            connection.on_overflow()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            now = asyncio.get_running_loop().time()
            due = [each for each in self.connections if self._look_at(each, now)]
            await _logged(self._recheck(due))
            await _logged(self.close_old_connections())

    def _look_at(self, connection: Registered, now: float) -> bool:
        """End a connection that is silent or does not close. Returns whether its access check is due."""
        try:
            if connection.end_at < now:
                connection.end()
            elif connection.last_message_at + connection.silent_seconds < now:
                connection.last_message_at = now  # so that one which cannot be closed is not tried again every second
                self._close([connection], CloseCode.SILENT)
            if connection.check_at >= now:
                return False
            # Before the check: a failed look-up must not be retried every second.
            connection.check_at = now + connection.recheck_seconds
        except Exception:
            logger.exception("A connection could not be looked at, and is closed")
            connection.check_at = connection.last_message_at = float("inf")
            self._close([connection], CloseCode.FAILED)
            return False
        return True

    def _recheck_soon(self) -> None:
        """Make every access check due, spread so that the database is not asked about all users at once."""
        now, per_second = asyncio.get_running_loop().time(), max(CHECKS_PER_SECOND, len(self.connections) / 20)
        for number, connection in enumerate(self.connections):
            connection.check_at = min(connection.check_at, now + number / per_second)

    async def _recheck(self, connections: Iterable[Registered]) -> None:
        by_identity: dict[Identity, list[Registered]] = {}
        for connection in connections:
            if identity := self.connections.get(connection):  # it may have closed
                by_identity.setdefault(identity, []).append(connection)
        if not by_identity:
            return
        known = {key: (first.scope["user"], first.context.copy()) for key, (first, *_) in by_identity.items()}
        users = await database_sync_to_async(load_users)(known)
        for identity, user in users.items():
            for connection in by_identity[identity]:
                if connection in self.connections:  # still
                    self.spawn(connection.recheck(user), fork(connection.context))


def _address(scope: Any) -> str:
    """The client's address, which the server takes from a trusted proxy's header; "" for a socket without one."""
    return str((scope.get("client") or [""])[0])


def _discard(index: dict[str, set[Registered]], key: str, connection: Registered) -> None:
    index[key].discard(connection)
    if not index[key]:
        del index[key]


async def _logged(coroutine: Coroutine[Any, Any, None]) -> None:
    with guard("A task of the registry"):
        await coroutine


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


def is_serving() -> bool:
    """Whether this process serves WebSockets, or has done so."""
    return bool(of_all_loops(Registry))


def is_draining() -> bool:
    """Whether this process has been asked to drain before it is stopped."""
    return any(registry.is_draining for _, registry in of_all_loops(Registry))


def connection_count() -> int:
    """How many connections this process has."""
    return sum(len(registry.connections) for _, registry in of_all_loops(Registry))


def asgi_connection_count() -> int:
    """How many of them send through ASGI, rather than straight to the transport."""
    return sum(each.uses_asgi for _, registry in of_all_loops(Registry) for each in list(registry.connections))
