"""Publish to every client of a group or of a user, from anywhere: a view, a signal, a command, a thread, a task.

A broadcast is numbered and kept (see streams): every client of the group that is connected or reconnects in time
receives it once and in order, or is notified to reload its state. A broadcast that fails because the stream store is
unavailable is logged, never raised into a request; the clients reload with the next one that succeeds.
"""

import logging
from collections.abc import Callable
from functools import partial

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from apps.common.websockets.access.identity import user_key
from apps.common.websockets.messages import Message
from apps.common.websockets.process.metrics import count
from apps.common.websockets.process.registry import publish_command
from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import get_streams
from apps.common.websockets.streams.base import StreamsUnavailable

logger = logging.getLogger(__name__)


def broadcast(group: str, message: Message) -> None:
    """Send a message to every client of the group after the current transaction commits: what is rolled back is not
    sent. For sync code."""
    _after_commit(partial(_broadcast, group, message.encode()), "abroadcast")


async def abroadcast(group: str, message: Message) -> None:
    """Send a message to every client of the group, now. For async code."""
    try:
        await get_streams().aappend(group, message.encode())
    except StreamsUnavailable as error:
        _log(group, error)


def broadcast_to_user(user: AbstractBaseUser, message: Message) -> None:
    """Send a message to every connection of the user after commit. It is not kept. For sync code."""
    _after_commit(partial(publish_command, {"to_user": user_key(user), "text": message.encode()}), "abroadcast_to_user")


async def abroadcast_to_user(user: AbstractBaseUser, message: Message) -> None:
    """Send a message to every connection of a user, at once. For async code."""
    await sync_to_async(publish_command, thread_sensitive=False)({"to_user": user_key(user), "text": message.encode()})


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


def _after_commit(function: Callable[[], object], name: str) -> None:
    try:
        transaction.on_commit(function)
    except SynchronousOnlyOperation as error:
        raise SynchronousOnlyOperation(f"This is async code: `await {name}(…)` instead.") from error


def _broadcast(group: str, body: str) -> None:
    try:
        get_streams().append(group, body)
    except StreamsUnavailable as error:
        _log(group, error)


def _log(group: str, error: StreamsUnavailable) -> None:
    count("failed_broadcasts")
    logger.error("A broadcast to %s failed: %s", group, error)
