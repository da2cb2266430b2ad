"""Coroutines that are begun at once, and go on in a task only if they suspend: most do not, and waking or making a task
costs more than such a coroutine."""

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task  # Python's documentation, "Extending asyncio"
from collections.abc import Coroutine
from typing import Any


def begin(coroutine: Coroutine[Any, Any, None]) -> Any:
    """Run it until it suspends: returns what it waits for. Raises StopIteration when it is done."""
    awaited = coroutine.send(None)
    if asyncio.isfuture(awaited):
        awaited._asyncio_future_blocking = False  # as a task does: until then, nothing else can wait for it
    return awaited


def begin_as(task: Any, coroutine: Coroutine[Any, Any, None]) -> Any:
    """Begin it as this idle task would: it may ask for the current task, as asyncio.timeout() and TaskGroup do."""
    loop = task.get_loop()
    current = asyncio.current_task(loop)
    if current:
        _leave_task(loop, current)
    _enter_task(loop, task)
    try:
        return begin(coroutine)
    finally:
        _leave_task(loop, task)
        if current:
            _enter_task(loop, current)


@types.coroutine
def go_on(coroutine: Coroutine[Any, Any, None], awaited: Any, cancelled: tuple[Any, ...] | None = None) -> Any:
    """Go on with one that was begun and waits for `awaited`. cancelled: the arguments of a cancellation that has come
    meanwhile; as in a task, what is awaited is cancelled first."""
    is_future = asyncio.isfuture(awaited)
    error: BaseException | None = None
    if cancelled is not None and not (is_future and awaited.cancel(*cancelled)):
        error = asyncio.CancelledError(*cancelled)
    elif is_future:
        awaited._asyncio_future_blocking = True
    try:
        while True:
            if error is None:
                try:
                    yield awaited
                except BaseException as raised:
                    error = raised
            awaited, error = coroutine.send(None) if error is None else coroutine.throw(error), None
    except StopIteration:
        return
    finally:
        error = None  # its traceback refers to this frame, which would stay until a garbage collection
