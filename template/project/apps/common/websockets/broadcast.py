"""Send to every page of a group or of a user, from anywhere: a view, a signal, a command, a thread, a task, a consumer.

A broadcast is numbered and kept (see streams): it reaches every page of the group that is connected or comes back in
time, once and in order, or the page is told to load its state anew. A broadcast that could not be numbered, because
Redis is away, is logged, and no request fails; the pages are told with the next one that succeeds.
"""

import logging
from collections.abc import Callable
from functools import partial

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from apps.common.websockets.messages import Message
from apps.common.websockets.metrics import count
from apps.common.websockets.registry import tell
from apps.common.websockets.streams import Position, StreamsUnavailable, get_streams

logger = logging.getLogger(__name__)


def broadcast(group: str, message: Message) -> None:
    """Send a message to every page of the group, once the transaction under way is committed: no page hears of what
    was rolled back. For sync code."""
    _after_commit(partial(_broadcast, group, message.encode()), "abroadcast")


async def abroadcast(group: str, message: Message) -> None:
    """Send a message to every page of the group, now. For async code."""
    try:
        await get_streams().aappend(group, message.encode())
    except StreamsUnavailable as error:
        _log(group, error)


def broadcast_to_user(user: AbstractBaseUser, message: Message) -> None:
    """Send a message to every page that the user has open now, after commit. It is not kept. For sync code."""
    _after_commit(partial(tell, {"to_user": str(user.pk), "text": message.encode()}), "abroadcast_to_user")


async def abroadcast_to_user(user: AbstractBaseUser, message: Message) -> None:
    """The same for async code, now."""
    await sync_to_async(tell, thread_sensitive=False)({"to_user": str(user.pk), "text": message.encode()})


def stream_position(group: str) -> Position | None:
    """Where the group's stream stands: call it on the first line of a view, before its queries, and render it into the
    page, which then misses nothing between its rendering and its connection. None if Redis is away."""
    try:
        return get_streams().top(group)
    except StreamsUnavailable as error:
        logger.error("The position of %s is not known: %s", group, error)
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
