"""Who opened a page: its session and user, read in one go, and read again when something about them changes."""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.db import OperationalError
from django.http import parse_cookie

logger = logging.getLogger(__name__)

User = AbstractBaseUser | AnonymousUser


class SessionAuth:
    """Puts "session" and "user" into the scope.

    Channels' stack of three reads them in two trips to the thread that runs ORM work, and stands in the way of every
    frame that is sent. This one makes a single trip, none for a visitor without a session, and then steps aside.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        session_key = _cookie(scope, settings.SESSION_COOKIE_NAME)
        session, user = await load(session_key)
        scope.update(session=session, user=user)  # a copy would stay in memory beside it as long as the connection
        await self.application(scope, receive, send)


async def load(session_key: str) -> tuple[SessionBase, User]:
    """The session and its user; a new session and AnonymousUser if there is none."""
    if not session_key:
        return _store(None), AnonymousUser()
    loop = asyncio.get_running_loop()
    if loop not in _readers:
        _readers[loop] = _Reader()
    return await _readers[loop].read(session_key)


class Who(NamedTuple):
    """Whose a connection is."""

    session_key: str  # "" without a session, or if it is not the session that says who the user is, but a token
    user_id: str  # the primary key; "" for a visitor


def who(scope: Any) -> Who:
    """Whose a scope's connection is."""
    user_id, session = str(scope["user"].pk or ""), scope.get("session")
    if session is None or (user_id and (not session.accessed or session.get(auth.SESSION_KEY) != user_id)):
        return Who("", user_id)
    return Who(session.session_key or "", user_id)


def load_users(users: Mapping[Who, User]) -> dict[Who, User]:
    """Those users as of now. Whose session is gone, who was deactivated or changed the password, is anonymous. Who
    cannot be looked up is logged and left out.

    Raises OperationalError if the database is away.
    """
    found = {}
    for who, user in users.items():
        try:
            found[who] = _reload(who, user)
        except OperationalError:
            raise
        except Exception:  # a store of sessions may raise anything; one session must not cost the others their check
            logger.exception("The user %s could not be looked up", who.user_id or "of a session")
    return found


class _Reader:
    """Reads the sessions of all who connect at the same moment in one trip to the thread that runs ORM work: after a
    restart everybody does."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, asyncio.Future[tuple[SessionBase, User]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self, session_key: str) -> tuple[SessionBase, User]:
        future: asyncio.Future[tuple[SessionBase, User]] = asyncio.get_running_loop().create_future()
        self._waiting.append((session_key, future))
        if self._task is None:
            # In a context of its own: it serves others than the one that happens to come first.
            self._task = asyncio.create_task(self._work(), context=Context())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            loaded: list[Any]
            try:
                loaded = await database_sync_to_async(_load_all)([session_key for session_key, _ in waiting])
            except Exception as error:
                loaded = [error] * len(waiting)
            for (_, future), result in zip(waiting, loaded, strict=True):
                _settle(future, result)
        self._task = None


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # who asked has gone
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _load_all(session_keys: list[str]) -> list[Any]:
    return [_attempt(session_key) for session_key in session_keys]


def _attempt(session_key: str) -> Any:
    try:
        return _load(session_key)
    except OperationalError:  # the database is away, for all of them
        raise
    except Exception as error:  # raised for the one whose session it is
        return error


def _reload(who: Who, user: User) -> User:
    if who.session_key:
        return _load(who.session_key)[1]
    model = auth.get_user_model()
    if not isinstance(user, model):
        return user  # a visitor, or a token's user whom no table has
    current = model._default_manager.filter(pk=user.pk).first()
    return current if current and current.is_active else AnonymousUser()


def _load(session_key: str) -> tuple[SessionBase, User]:
    session = _store(session_key)
    # Asks of a request nothing but its session, and compares the password's hash with the session's.
    return session, auth.get_user(SimpleNamespace(session=_Copy(session.items())))  # type: ignore[arg-type]


class _Copy(dict[str, Any]):
    """What auth.get_user reads. It would end or renew the session itself, which needs a response that sets a cookie:
    that is left to the next request."""

    def flush(self) -> None:
        pass

    def cycle_key(self) -> None:
        pass


def _store(session_key: str | None) -> SessionBase:
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return store


def _cookie(scope: Any, name: str) -> str:
    header = b"; ".join(value for key, value in scope["headers"] if key == b"cookie")
    return parse_cookie(header.decode("latin-1")).get(name, "")


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Reader] = WeakKeyDictionary()
