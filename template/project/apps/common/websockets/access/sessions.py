"""The session, the user and the path of a connection, found in one go when it opens."""

import asyncio
from contextvars import Context, copy_context
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.db import OperationalError
from django.http import parse_cookie

from apps.common.websockets.event_loop import of_running_loop
from apps.common.websockets.readers import Readers

Loaded = tuple[SessionBase, AbstractBaseUser | AnonymousUser]


class SessionAuth:
    """ASGI middleware that puts "session" and "user" into the scope, and takes the site's prefix from its path.

    Channels' stack of three reads them in two trips to the thread that runs ORM work, and wraps every message that is
    sent. This one makes a single trip to a thread of its own, none without a session cookie, and then hands the
    connection on.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        session_key = _cookie(scope, settings.SESSION_COOKIE_NAME)
        if session_key:
            session, user = await of_running_loop(BatchLoader).load(session_key)
        else:
            session, user = new_session(), AnonymousUser()
        # A copy would stay in memory beside it as long as the connection.
        scope.update(session=session, user=user, path=_path_info(scope), root_path="")
        await self.application(scope, receive, send)


class BatchLoader:
    """Reads the sessions of all clients that connect at the same moment in one trip to a thread: after a restart all of
    them do. One for each event loop; no handler's query delays it."""

    def __init__(self) -> None:
        self._readers = Readers(1, "sessions")
        self._waiting: list[tuple[str, Context, asyncio.Future[Loaded]]] = []
        self._task: asyncio.Task[None] | None = None

    async def load(self, session_key: str) -> Loaded:
        """The session and its user; a new session and AnonymousUser if there is no such session. They are looked up in
        the caller's context, upon which a database router may depend."""
        future: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._waiting.append((session_key, copy_context(), future))
        if self._task is None:
            # One task serves several connections, so it must not inherit the first one's context.
            self._task = asyncio.create_task(self._work(), context=Context())
        return await future

    async def close(self) -> None:
        """The event loop is about to end."""
        self._readers.close()

    async def _work(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                loaded: list[Any] = [StoppedLoading()] * len(waiting)
                try:
                    loaded = await self._readers.run(_load_all, [(key, context) for key, context, _ in waiting])
                except Exception as error:
                    loaded = [error] * len(waiting)
                finally:
                    for (_, _, future), result in zip(waiting, loaded, strict=True):
                        _resolve(future, result)
        finally:
            self._task = None


class StoppedLoading(Exception):
    """The task that reads sessions was ended; the client connects again."""


def new_session() -> SessionBase:
    """An empty session, which is not stored before it is saved."""
    return _store(None)


def load_session(session_key: str) -> Loaded:
    """The session and its user, for sync code."""
    session = _store(session_key)
    # Django reads nothing of the request but its session, and compares the password's hash with the session's.
    request: Any = SimpleNamespace(session=_SessionSnapshot(session.items()))
    return session, auth.get_user(request)


class _SessionSnapshot(dict[str, Any]):
    """The part of a request that auth.get_user() reads. It would end or renew the session itself, which needs a
    response that sets a cookie: that is left to the next request."""

    def flush(self) -> None:
        """Does not end the session."""

    def cycle_key(self) -> None:
        """Does not renew the session."""


def _load_all(sessions: list[tuple[str, Context]]) -> list[Any]:
    return [context.run(_attempt, session_key) for session_key, context in sessions]


def _attempt(session_key: str) -> Any:
    try:
        return load_session(session_key)
    except OperationalError:  # the database is unavailable for all of them
        raise
    except Exception as error:  # raised for the connection of this session alone
        return error
    except BaseException as error:  # such as SystemExit, of a session engine
        return RuntimeError(repr(error))


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # the waiting connection has closed
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _store(session_key: str | None) -> SessionBase:
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return store


def _path_info(scope: Any) -> str:
    """The path without the prefix of the site, as Django's request.path_info."""
    prefix = settings.FORCE_SCRIPT_NAME or scope.get("root_path", "")
    path: str = scope["path"]
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path


def _cookie(scope: Any, name: str) -> str:
    header = b"; ".join(value for key, value in scope["headers"] if key == b"cookie")
    return parse_cookie(header.decode("latin-1")).get(name, "")
