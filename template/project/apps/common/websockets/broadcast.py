"""Publish to every client of a group, from anywhere: a view, a signal, a command, a thread, a task.

A broadcast is numbered and kept (see streams): every client of the group that is connected or reconnects in time
receives it once and in order, or is notified to reload its state. A broadcast that fails because the stream store is
unavailable is logged, and raised only if `strict`; the clients reload within 10 s after the store is available again.
"""

import logging
import re
from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from apps.common.websockets.access.identity import User, user_key
from apps.common.websockets.messages import Message
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.registry import is_serving
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import StreamsUnavailable

logger = logging.getLogger(__name__)

GROUP_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,99}")  # the rule of Channels
UNSERVED = (
    "A broadcast reaches no client: this process serves none, and without REDIS_URL it cannot reach another process. "
    "Set REDIS_URL, for this process and for the server."
)


def broadcast(group: str, message: Message, *, using: str | None = None, strict: bool = False) -> None:
    """Send a message to every client of the group after commit: what is rolled back is not sent. For sync code.

    Waits for all open transactions of this thread, and is dropped if one of them is rolled back; with `using` for
    that of one database alone. strict: raise StreamsUnavailable if the message was not accepted; in a transaction that
    is after its commit. Raises ValueError for a name that no group has, TypeError for what is no message.
    """
    text = _checked(group, message, strict)
    _after_commit(partial(_broadcast, group, text, strict), "abroadcast", using, robust=not strict)


async def abroadcast(group: str, message: Message, *, strict: bool = False) -> None:
    """Send a message to every client of the group, now. For async code. Raises as broadcast() does."""
    text = _checked(group, message, strict)
    try:
        await get_streams().aappend(group, text)
    except StreamsUnavailable as error:
        _log(group, error)
        if strict:
            raise


def user_group(name: str, user: User) -> str:
    """The group of all connections of one user of a feature: user_group("notices", user) is
    "notices.default-users.user-7". Raises ValueError for an anonymous visitor."""
    key = user_key(user)
    if not key:
        raise ValueError(f"An anonymous visitor has no group of {name!r}: refuse the connection, or share one group.")
    group = f"{name}.{key.replace(' ', '-')}"
    return group if GROUP_NAME.fullmatch(group) else f"{name}.{sha256(key.encode()).hexdigest()[:40]}"


def stream_position(group: str) -> Position | None:
    """The position of the group's stream; None if the stream store is unavailable.

    Read on the first line of a view, before its queries, and rendered into the page, it ensures that the page misses no
    broadcast between its rendering and its connection.
    """
    try:
        return get_streams().top(group)
    except StreamsUnavailable as error:
        logger.error("The position of %s is unknown: %s", group, error)
        return None


def _checked(group: str, message: Message, strict: bool) -> str:
    """The message's text."""
    if not isinstance(group, str) or not GROUP_NAME.fullmatch(group):
        raise ValueError(
            f"{group!r:.120} cannot be joined: a group's name has 1 to 99 of A-Z, a-z, 0-9, '-', '_', '.'."
        )
    if not isinstance(message, Message):
        raise TypeError(f"{message!r:.120} is no message: pass an instance of a class of messages.py, OrderPlaced(…).")
    if not settings.REDIS_URL and not get_streams().is_followed(group) and not is_serving():
        if strict:
            raise StreamsUnavailable(UNSERVED)
        _warn_once()
    return message.encode()


def warn_if_unserved() -> None:
    """Log, once, that what this process broadcasts reaches no client."""
    if not settings.REDIS_URL and not is_serving():
        _warn_once()


@cache
def _warn_once() -> None:
    logger.warning(UNSERVED)


def publish(group: str, body: str) -> bool:
    """Broadcast an encoded message now, from any thread. A failure is logged; returns whether it was accepted."""
    try:
        get_streams().append(group, body)
    except StreamsUnavailable as error:
        _log(group, error)
        return False
    return True


def _after_commit(function: Callable[[], object], name: str, using: str | None = None, robust: bool = True) -> None:
    """Call the function after the commits of all open transactions of this thread, or of the one of a database."""
    opened = [each.alias for each in connections.all(initialized_only=True) if each.in_atomic_block]
    pending = {using} if using else set(opened) or {DEFAULT_DB_ALIAS}

    try:
        for alias in list(pending):

            def committed(alias: str = alias) -> None:  # no partial: Django logs the name of a robust hook that fails
                pending.discard(alias)
                if not pending:
                    function()

            transaction.on_commit(committed, using=alias, robust=robust)
    except SynchronousOnlyOperation as error:
        raise SynchronousOnlyOperation(f"This is async code: `await {name}(…)` instead.") from error


def _broadcast(group: str, body: str, strict: bool) -> None:
    try:
        get_streams().append(group, body)
    except StreamsUnavailable as error:
        _log(group, error)
        if strict:
            raise


def _log(group: str, error: StreamsUnavailable) -> None:
    count("failed_broadcasts")
    logger.error("A broadcast to %s failed: %s", group, error)
