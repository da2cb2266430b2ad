"""The interface of every stream store, and its bounds."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from apps.common.websockets.protocol import Position

MAX_MESSAGES = 1_000
MAX_BYTES = 1024 * 1024  # of one stream; JSON, about a byte a character
MESSAGE_SECONDS = 5 * 60
STREAM_SECONDS = 24 * 60 * 60  # the numbering outlives the messages: a client may reconnect with the last number
ASKED_SECONDS = 5 * 60  # of a stream without broadcasts: there may be one for every URL that visitors tried
MAX_ASKED = 10_000  # of these streams
MAX_MEMORY_BYTES = 64 * 1024 * 1024  # of all streams in memory
MAX_REPLAY_BYTES = 256 * 1024  # beyond this size a reload is cheaper
MARK_SECONDS = 5.0  # from a mark until its change counts as lost
MARKED_SECONDS = 60  # for which a mark is kept

Command = dict[str, str]  # for the registries of all processes; see process/registry.py


class Broadcast(NamedTuple):
    """A message of a stream."""

    epoch: str
    seq: int
    body: str  # the message's text, without its number


# Called in the subscriber's event loop, with each broadcast in order, or with None if some may be missing.
OnBroadcast = Callable[[Broadcast | None], None]


class StreamsUnavailable(Exception):
    """The stream store is unavailable. What was requested has not happened."""


class Streams(Protocol):
    """The streams of all groups. The methods with an `a` are for async code, append() and top() for any thread."""

    def append(self, group: str, body: str) -> Position:
        """Number, keep and publish a message. Raises StreamsUnavailable, as the others do."""

    async def aappend(self, group: str, body: str) -> Position: ...

    def top(self, group: str) -> Position:
        """The last number of the group's stream, which is made if there is none."""

    async def atop(self, group: str) -> Position:
        """As top(), for async code."""

    def mark(self, group: str, id: str) -> bool:
        """Before a change is committed: note that its broadcast will follow, in case this process ends in between.

        The group's subscribers then reload, as after a loss. Returns whether anybody follows the group; if not, nothing
        need follow. One round trip. Raises StreamsUnavailable.
        """

    def unmark(self, group: str, ids: list[str]) -> None:
        """After the broadcast. Never raises: what stays marked only causes a reload."""

    def is_followed(self, group: str) -> bool:
        """Whether anybody follows the group."""

    async def since(self, group: str, position: Position) -> list[Broadcast] | None:
        """The broadcasts after a position; None if any of them is gone, or if they are too large for a replay."""

    async def subscribe(
        self, group: str, on_broadcast: OnBroadcast, position: Callable[[], Position] | None = None
    ) -> None:
        """Call `on_broadcast` with each broadcast from now on, in the running loop: once for each loop and group.

        position: returns the subscriber's position, for a store that compares it with its own to detect a loss.
        """

    async def unsubscribe(self, group: str) -> None: ...

    def publish_command(self, command: Command) -> bool:
        """Send a command to every process, this one included; False if it was not sent."""

    def subscribe_control(
        self, on_command: Callable[[Command], Any], on_gap: Callable[[], Any]
    ) -> Coroutine[Any, Any, None]:
        """Call `on_command` with each command that any process publishes, in the running loop, and `on_gap` if some
        may have been missed."""

    async def unsubscribe_control(self) -> None: ...

    async def last_drain(self, host: str) -> tuple[float, int] | None:
        """The time, in Unix seconds, at which the host was last asked to drain, and within how many seconds."""

    async def close(self) -> None:
        """Close what the running loop has open."""


def fits_replay(broadcasts: list[Broadcast]) -> bool:
    """Whether sending them costs less than reloading the state."""
    return sum(len(broadcast.body) for broadcast in broadcasts) <= MAX_REPLAY_BYTES
