"""A connection's life: it begins, follows groups, is asked again whether it may stay, and ends exactly once."""

import asyncio
import logging
import random
from typing import Any

from channels.exceptions import DenyConnection, StopConsumer
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from apps.common.websockets import protocol
from apps.common.websockets.hub import Event, NumberedEvent, Resync, get_hub
from apps.common.websockets.inbox import Inbox
from apps.common.websockets.limits import TokenBucket
from apps.common.websockets.metrics import count
from apps.common.websockets.outbox import Outbox, Send
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.receiving import Receiver
from apps.common.websockets.registry import get_registry
from apps.common.websockets.serial import Serial
from apps.common.websockets.streams import MAX_FRAMES, NOWHERE, Position, StreamsUnavailable, get_streams

logger = logging.getLogger(__name__)

MAX_EVENTS = 2 * MAX_FRAMES  # that wait for one page's broadcast_message(): a whole replay, and what comes meanwhile


class Connection(Receiver):
    """What happens around the hooks of BaseWebSocketConsumer, which has its limits and their meaning."""

    burst: int
    inbox_limit: int
    outbox_bytes: int
    heartbeat_seconds: float
    recheck_seconds: float
    max_connections: int
    replay: bool
    group_name: str | None
    _filters_broadcasts: bool

    # -----------------------------------------------------------------------------------------------------------------
    # The beginning
    # -----------------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        self._begin(scope, receive, send)
        code: int = CloseCode.FAILED
        try:
            end = await self._inbox.run()
            code = end.get("code") or 1005  # no code was given
        finally:
            await self._end(code)

    def _begin(self, scope: Any, receive: Any, send: Send) -> None:
        self.scope = scope
        self._clock = asyncio.get_running_loop().time
        self._send = send
        self._is_accepted = False
        self._is_closing = False
        self._is_ending = False
        self._groups: dict[str, None] = {}  # in order; an empty set would take three times the memory
        self._position = NOWHERE  # of the last numbered broadcast that this page was given
        self._held: list[tuple[str, Event]] | None = None  # what waits for the replay
        self._outbox = Outbox(send, self.outbox_bytes, self._let_go)
        self._inbox = Inbox(receive, self._sort, self._handle_safely, self.inbox_limit)
        self._events: Serial[Event] | None = None  # made for the pages whose events have a handler
        self.heard_at = self._clock()
        self.check_at = self.heard_at + random.uniform(0, self.recheck_seconds)  # noqa: S311 - spreads the checks
        self._bucket = TokenBucket(self.rate_per_second, self.burst, self.heard_at)

    async def _connect(self) -> None:
        try:
            await get_registry().add(self)  # before asking: who is signed out meanwhile is closed
            await self.connect()
        except (DenyConnection, StopConsumer):
            await self.close()
        except StreamsUnavailable as error:
            logger.error("%s: %s", type(self).__name__, error)
            await self._give_up(CloseCode.TRY_LATER)
        except Exception:
            logger.exception("%s.connect() failed", type(self).__name__)
            await self._give_up(CloseCode.FAILED)

    async def _give_up(self, code: CloseCode) -> None:
        await self._leave_all()
        self._held = None
        if not self._is_accepted:
            await self.accept()
        await self.close(code)

    async def _greet(self, position: Position, recovered: bool | None) -> None:
        await self.send_json(protocol.welcome(*position, recovered, self.heartbeat_seconds, self.max_bytes))

    # -----------------------------------------------------------------------------------------------------------------
    # May it be here?
    # -----------------------------------------------------------------------------------------------------------------

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        """Who opened the page."""
        user: AbstractBaseUser | AnonymousUser = self.scope["user"]
        return user

    async def is_allowed(self) -> bool:
        raise NotImplementedError

    async def _refusal(self) -> CloseCode | None:
        if not await self.is_allowed():
            return CloseCode.NOT_ALLOWED if self.user.is_authenticated else CloseCode.NOT_SIGNED_IN
        connections = len(get_registry().of_user(str(self.user.pk))) if self.user.is_authenticated else 0
        return CloseCode.TOO_FAST if connections > self.max_connections else None

    async def recheck(self, user: AbstractBaseUser | AnonymousUser) -> None:
        """Ask is_allowed() again, about the user as of now. Called by the registry."""
        if self.user.is_authenticated and not user.is_authenticated:
            # Also where visitors are welcome: what is sent to the user must not reach whoever this is now. It comes
            # back; who changed the password has a new session by then, which this connection cannot know of.
            await self.close(CloseCode.SIGNED_OUT)
            return
        self.scope["user"] = user
        try:
            is_allowed = await self.is_allowed()
        except Exception:
            logger.exception("%s.is_allowed() failed", type(self).__name__)
            await self.close(CloseCode.FAILED)  # it comes back, and is asked again
            return
        if not is_allowed:
            await self.close(CloseCode.NOT_ALLOWED if user.is_authenticated else CloseCode.NOT_SIGNED_IN)

    # -----------------------------------------------------------------------------------------------------------------
    # Its groups
    # -----------------------------------------------------------------------------------------------------------------

    async def join(self, group: str) -> None:
        """Receive another group's broadcasts too, until leave() or the end of the connection."""
        self._groups[group] = None
        await get_hub().join(group, self)

    async def leave(self, group: str) -> None:
        """Undo join()."""
        self._groups.pop(group, None)
        await get_hub().leave(group, self)

    async def _follow(self, group: str) -> None:
        # Live broadcasts are held back until the page has what it missed.
        self._held = []
        self._groups[group] = None
        position = await get_hub().join(group, self)
        left_off = protocol.parse_position(self.scope["query_string"]) if self.replay else None
        missed = await get_streams().since(group, left_off) if left_off else None
        if left_off and missed is not None:
            position = left_off
        elif left_off:
            position = await get_streams().atop(group)  # the page loads its state after this
        self._position = position
        count("replayed", len(missed or ()))
        count("replays_refused", 1 if left_off and missed is None else 0)
        top = Position(position.epoch, position.seq + len(missed or ()))
        await self._greet(top, None if left_off is None else missed is not None)
        held, self._held = self._held, None
        for broadcast in missed or ():
            self.deliver(group, NumberedEvent(broadcast))
        for held_group, event in held:
            self.deliver(held_group, event)

    def deliver(self, group: str, event: Event) -> None:
        """Take an event of a group, without waiting. Called by the hub."""
        if self._held is not None:
            self._held.append((group, event))
        elif event.position and group == self.group_name and self.replay:
            self._deliver_numbered(event, event.position)
        elif not isinstance(event, Resync):
            self._deliver(event.unnumbered)

    def _deliver_numbered(self, event: Event, position: Position) -> None:
        # What this page was given already came with the replay, or is part of the state that it loads.
        is_next = position.epoch == self._position.epoch and position.seq > self._position.seq
        if is_next or (isinstance(event, Resync) and position != self._position):
            self._position = position
            self._deliver(event)

    def _deliver(self, event: Event) -> None:
        as_it_is = (event.is_broadcast and not self._filters_broadcasts) or isinstance(event, Resync)
        if as_it_is and (self._events is None or self._events.is_idle):
            self._outbox.write(event.message)
            return
        if self._events is None:
            self._events = Serial(self._handle_event, MAX_EVENTS)
        if not self._events.put(event):
            self._let_go()

    async def _handle_event(self, event: Event) -> None:
        if isinstance(event, Resync):
            await self.send_text(event.text)
            return
        handler = getattr(self, event.kind, None)
        try:
            if handler is None:
                raise ValueError(f"{type(self).__name__} has no method {event.kind} for an event of that type")
            await handler(event.content)
        except Exception:
            logger.exception("%s failed to handle the event %r", type(self).__name__, event.kind)

    async def _leave_all(self) -> None:
        for group in list(self._groups):
            try:
                await self.leave(group)
            except Exception:
                logger.exception("%s failed to leave %s", type(self).__name__, group)

    # -----------------------------------------------------------------------------------------------------------------
    # The end
    # -----------------------------------------------------------------------------------------------------------------

    async def _end(self, code: int) -> None:
        try:
            await get_registry().remove(self)
            if self._events:
                await self._events.close()
            await self._leave_all()
        finally:
            await self._disconnect(code)

    async def _disconnect(self, code: int) -> None:
        try:
            await self.disconnect(code)
        except StopConsumer:
            pass
        except Exception:
            logger.exception("%s.disconnect() failed", type(self).__name__)
        finally:
            self._outbox.discard()
