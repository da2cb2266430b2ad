"""Publishes numbers, and writes down each step of a publish: a JSON line, which survives the end of the process.

A publish is accepted if it returned and logged no error. The times are those of the machine's monotonic clock, the same
in every process.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import transaction

from apps.common.websockets.broadcast import abroadcast, broadcast

from .messages import News

PROCESS = os.environ.get("CHAOS_PROCESS", "")
_errors: ContextVar[list[str] | None] = ContextVar("errors", default=None)


class RollBack(Exception):
    pass


class _ErrorHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        errors = _errors.get()
        if errors is not None:
            errors.append(record.getMessage())


logging.getLogger("apps.common.websockets").addHandler(_ErrorHandler(logging.ERROR))
_file = os.open(os.environ.get("CHAOS_JOURNAL", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def publish(publisher: str, group: str, number: int, *, rolls_back: bool = False, seconds: float = 0.0) -> None:
    """Broadcast in a transaction, which then lasts as many seconds more."""
    with _publish(publisher, group, number) as write:
        try:
            with transaction.atomic():
                transaction.on_commit(lambda: write("committed"))
                broadcast(group, News(publisher=publisher, number=number))
                time.sleep(seconds)
                if rolls_back:
                    raise RollBack
        except RollBack:
            write("rolled back")


async def publish_in_loop(publisher: str, group: str, number: int) -> None:
    """Broadcast from async code."""
    with _publish(publisher, group, number) as write:
        write("committed")
        await abroadcast(group, News(publisher=publisher, number=number))


@contextmanager
def _publish(publisher: str, group: str, number: int) -> Iterator:
    def write(step: str) -> None:
        line = {"publisher": publisher, "group": group, "number": number, "process": PROCESS, "step": step}
        os.write(_file, f"{json.dumps({**line, 'at': time.monotonic()})}\n".encode())

    errors: list[str] = []
    token = _errors.set(errors)
    write("begun")
    try:
        yield write
    except Exception as error:
        errors.append(repr(error))
        raise
    else:
        write("failed" if errors else "accepted")
    finally:
        _errors.reset(token)
