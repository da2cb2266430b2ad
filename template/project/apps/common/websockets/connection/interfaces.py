"""The protocols (types) that the parts of a connection require of the consumer and of the connection itself."""

from collections.abc import Awaitable, Hashable, Sequence
from contextvars import Context
from typing import Any, ClassVar, Protocol

from apps.common.websockets.connection.handlers import Handler
from apps.common.websockets.connection.inbox import Inbox
from apps.common.websockets.connection.outbox import Outbox
from apps.common.websockets.messages import Message
from apps.common.websockets.protocol import CloseCode, Position


class Consumer(Protocol):
    """BaseWebSocketConsumer, which documents these."""

    scope: Any
    max_bytes: int
    rate_per_second: int
    burst: int
    inbox_limit: int
    inbox_bytes: int
    outbox_bytes: int
    max_groups: int
    heartbeat_seconds: int
    silent_seconds: int
    recheck_seconds: int
    close_seconds: int
    linger_seconds: int
    max_connections: int
    max_connections_per_address: int
    replay: bool
    group_name: str | None
    handlers: ClassVar[dict[str, Handler]]
    event_methods: ClassVar[frozenset[str]]
    keeps_contract: ClassVar[bool]
    filters_broadcasts: ClassVar[bool]
    has_state: ClassVar[bool]

    async def connect(self) -> None: ...

    async def is_allowed(self) -> bool: ...

    async def disconnect(self, code: int) -> None: ...

    async def handle_message(self, data: dict[str, Any]) -> None: ...

    async def snapshot(self) -> Sequence[Message]: ...

    def snapshot_key(self) -> Hashable | Awaitable[Hashable]: ...

    async def send_state(self, position: Position) -> None: ...

    async def send_text(self, text: str) -> None: ...


class Link(Protocol):
    """Connection, as its dispatcher and its subscriptions see it."""

    consumer: Consumer
    context: Context
    inbox: Inbox
    outbox: Outbox
    is_closing: bool
    last_message_at: float

    async def open(self) -> None: ...

    async def send_state(self, position: Position) -> None: ...

    def write(self, text: str) -> None: ...

    def on_overflow(self) -> None: ...

    def close_in_background(self, code: CloseCode) -> None: ...
