"""Each switches off one of the mechanisms that the chaos test guards, so that a test can see the judge report it.

The names of the product's internals are here and in no other file of the chaos test.
"""

from importlib import import_module
from secrets import token_hex
from typing import Any

from apps.common.websockets.connection.subscriptions import Subscriptions
from apps.common.websockets.streams.redis_lag_check import LagCheck

REDIS_CALL = "apps.common.websockets.streams.redis_call"


def apply(name: str) -> None:
    """name: of a function below; empty for none."""
    if name:
        DEFECTS[name]()


def no_deduplication() -> None:
    """A client is sent each event, also one that it was sent before."""

    def deliver_numbered(self: Subscriptions, event: Any, position: Any) -> None:
        self._position = position
        self._send(event)

    Subscriptions._deliver_numbered = deliver_numbered


def no_lag_check() -> None:
    """The streams' tops are never compared with the subscribers' positions."""

    async def check(self: LagCheck) -> None:
        pass

    LagCheck._check = check


def no_publish_ids() -> None:
    """The store does not recognise a publish that is repeated."""
    publish = import_module(REDIS_CALL).Publish
    prepare = publish.prepare

    def prepare_another(self: Any) -> Any:
        self.id = token_hex(6)
        return prepare(self)

    publish.prepare = prepare_another


def no_deadline() -> None:
    """The store takes a publish however late."""
    publish = import_module(REDIS_CALL).Publish
    prepare = publish.prepare

    def prepare_without_deadline(self: Any) -> Any:
        ends_at, self._ends_at = self._ends_at, self._ends_at + 1_000_000
        try:
            return prepare(self)
        finally:
            self._ends_at = ends_at

    publish.prepare = prepare_without_deadline


def no_holding() -> None:
    """Live broadcasts are sent before the replay is."""
    resume = Subscriptions._resume

    async def resume_without_holding(self: Subscriptions, *arguments: Any) -> Any:
        self._held = None
        return await resume(self, *arguments)

    Subscriptions._resume = resume_without_holding


def no_after_commit() -> None:
    """A broadcast is published before its transaction commits."""
    broadcast = import_module("apps.common.websockets.broadcast")  # the package has a function of this name
    broadcast._after_commit = lambda function, *arguments, **options: function()


FUNCTIONS = (no_deduplication, no_publish_ids, no_lag_check, no_deadline, no_holding, no_after_commit)
DEFECTS = {function.__name__: function for function in FUNCTIONS}
