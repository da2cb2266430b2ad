"""One call of a script on the server: its attempts, and when it is given up. Without I/O."""

import time
from secrets import token_hex
from typing import Any

from redis.exceptions import AuthenticationError, DataError, NoPermissionError, OutOfMemoryError

from apps.common.websockets.streams.base import StreamsUnavailable
from apps.common.websockets.streams.redis_scripts import RUN_LENGTH

# Another connection would not help. Every other error may be that of a server which is replaced.
FINAL = (AuthenticationError, DataError, NoPermissionError, OutOfMemoryError)
PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4)  # seconds between attempts; the last one from then on


class Server:
    """The state of the server, as the last call showed it: its id and clock, and whether it answers."""

    def __init__(self) -> None:
        self.is_available = True
        self._clock = ("", 0.0)  # one tuple: threads share it

    @property
    def run(self) -> str:
        return self._clock[0]

    def set_clock(self, run: str, milliseconds: int) -> None:
        self._clock = run, milliseconds - time.monotonic() * 1000

    def time(self, monotonic: float) -> int:
        """Its time in milliseconds at a time of this process; never more than it is."""
        return int(monotonic * 1000 + self._clock[1])


class Call:
    """A script that may run more than once."""

    def __init__(self, server: Server, keys: list[str], arguments: list[Any], seconds: float) -> None:
        self.keys = keys
        self._server = server
        self._arguments = arguments
        self._began_at = time.monotonic()
        self._ends_at = self._began_at + seconds
        self._failures = 0

    def prepare(self) -> tuple[list[str], list[Any]]:
        """The keys and arguments of the next attempt."""
        return self.keys, self._arguments

    def is_answer(self, reply: Any) -> bool:
        """Whether the script has run; else there is another attempt. Raises StreamsUnavailable."""
        self._server.is_available = True
        return True

    def pause(self, error: Exception) -> float:
        """The seconds until the next attempt. Raises StreamsUnavailable after the last one."""
        # In an outage it is not worth while to wait, if the server cannot have received anything.
        is_refused = not self._failures and isinstance(error.__context__, ConnectionRefusedError)
        is_hopeless = isinstance(error, FINAL) or (is_refused and not self._server.is_available)
        if is_hopeless or time.monotonic() >= self._ends_at:
            self._server.is_available = False
            raise StreamsUnavailable(str(error) or type(error).__name__) from error
        self._failures += 1
        return PAUSES[min(self._failures, len(PAUSES)) - 1]


class Publish(Call):
    """A script that runs once, in time, or never: the server compares its id and its deadline."""

    def __init__(self, server: Server, keys: list[str], arguments: list[Any], seconds: float) -> None:
        super().__init__(server, keys, arguments, seconds)
        self.id = token_hex(6)

    def prepare(self) -> tuple[list[str], list[Any]]:
        server = self._server
        since = server.time(self._began_at) - 1 if self._failures else ""
        return self.keys, [server.run, server.time(self._ends_at), self.id, since, *self._arguments]

    def is_answer(self, reply: Any) -> bool:
        epoch, run_or_seq, now = reply
        self._server.set_clock(epoch[:RUN_LENGTH] if epoch else run_or_seq, now)
        if not epoch and time.monotonic() >= self._ends_at:
            raise StreamsUnavailable("The server was too late.")
        return super().is_answer(reply) and bool(epoch)
