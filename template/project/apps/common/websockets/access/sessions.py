"""The session, the user and the path of a connection, found in one go when it opens."""

import asyncio
import pickle
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import OperationalError
from django.db.models import Manager, QuerySet
from django.http import parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from apps.common.websockets.event_loop import of_running_loop
from apps.common.websockets.readers import Readers

SESSIONS_AT_ONCE = 500  # that are read in one query; SQLite takes 32,766 parameters

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
    """Reads the sessions of all clients that connect at the same moment in one trip to a thread, and in two queries:
    after a restart all of them do. One for each event loop; no handler's query delays it."""

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
                waiting, self._waiting = self._waiting[:SESSIONS_AT_ONCE], self._waiting[SESSIONS_AT_ONCE:]
                loaded: list[Any] = [StoppedLoading()] * len(waiting)
                try:
                    loaded = await self._readers.run(load_sessions, [(key, context) for key, context, _ in waiting])
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
    return _load_user(_load_data(session_key, {}), {})


def load_sessions(sessions: Sequence[tuple[str, Context]]) -> list[Any]:
    """For each key the session and its user, or the exception that their look-up raised. They are looked up in the
    context beside the key, upon which a database router may depend; those whose contexts are the same share two
    queries. What is not as Django has it (engine, backend, manager) is looked up one by one.

    Raises OperationalError if the database is unavailable.
    """
    by_context: defaultdict[frozenset[Any], list[int]] = defaultdict(list)
    for number, (_, context) in enumerate(sessions):
        by_context[frozenset((variable, id(value)) for variable, value in context.items())].append(number)
    loaded: dict[int, Any] = {}
    for numbers in by_context.values():
        context = sessions[numbers[0]][1]
        loaded |= zip(numbers, context.run(_load_together, [sessions[number][0] for number in numbers]), strict=True)
    return [loaded[number] for number in range(len(sessions))]


def _load_together(keys: list[str]) -> list[Any]:
    if len(keys) == 1:
        return [_attempt(load_session, keys[0])]
    data = _attempt(_read_data, keys)
    sessions = [_attempt(_load_data, key, data) for key in keys]
    users = _attempt(_read_users, [each for each in sessions if isinstance(each, SessionBase)])
    return [_attempt(_load_user, each, users) if isinstance(each, SessionBase) else each for each in sessions]


def _read_data(keys: list[str]) -> dict[str, str]:
    """The encoded data of sessions by key, as far as one query reads them as Django would read each."""
    if type(_store(None)) is not DatabaseStore:
        return {}
    valid = {key for key in keys if key.isalnum()}  # a client may send any: PostgreSQL refuses U+0000
    rows = DatabaseStore.get_model_class().objects.filter(session_key__in=valid, expire_date__gt=timezone.now())
    return dict(rows.values_list("session_key", "session_data"))


def _read_users(sessions: list[SessionBase]) -> dict[Any, list[Any]]:
    """The users of these sessions by primary key, one for each session, as far as one query reads them as well."""
    model = auth.get_user_model()
    manager: Any = model._default_manager
    if type(manager).get is not Manager.get or type(manager.all()).get is not QuerySet.get:
        return {}
    wanted = Counter(_user_pk(each) for each in sessions if auth.SESSION_KEY in each)
    return {pk: _copies(user, wanted[pk]) for pk, user in manager.in_bulk(wanted).items()}


def _copies(user: Any, number: int) -> list[Any]:
    pickled = pickle.dumps(user) if number > 1 else b""
    return [user, *(pickle.loads(pickled) for _ in range(1, number))]  # noqa: S301 - deepcopy() takes six times as long


def _user_pk(session: Any) -> Any:
    return auth.get_user_model()._meta.pk.to_python(session[auth.SESSION_KEY])


def _load_data(session_key: str, data: dict[str, str] | Exception) -> SessionBase:
    """data: if reading that of all raised, because of one of them, each is read by itself."""
    session = _store(session_key)
    if isinstance(data, dict) and session.session_key in data:
        vars(session)["load"] = lambda: session.decode(data[session_key])
    session.items()  # loads
    vars(session).pop("load", None)
    return session


def _load_user(session: SessionBase, users: dict[Any, list[Any]] | Exception) -> Loaded:
    # Django reads nothing of the request but its session, and compares the password's hash with the session's.
    request: Any = SimpleNamespace(session=_SessionSnapshot(session.items()))
    user = _verify(request.session, users) if isinstance(users, dict) else None
    return session, user or auth.get_user(request)


def _verify(session: dict[str, Any], users: dict[Any, list[Any]]) -> Any:
    """The session's user out of these, if auth.get_user() would return that one, too; None where it has to decide."""
    session_hash, path = session.get(auth.HASH_SESSION_KEY), session.get(auth.BACKEND_SESSION_KEY, "")
    found = users.get(_user_pk(session)) if auth.SESSION_KEY in session else None
    if not found or not session_hash or path not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = found.pop()
    backend: Any = auth.load_backend(path)
    if type(backend).get_user is not ModelBackend.get_user or not backend.user_can_authenticate(user):
        return None
    current_hash = getattr(user, "get_session_auth_hash", str)()
    return user if constant_time_compare(session_hash, current_hash) else None


class _SessionSnapshot(dict[str, Any]):
    """The part of a request that auth.get_user() reads. It would end or renew the session itself, which needs a
    response that sets a cookie: that is left to the next request."""

    def flush(self) -> None:
        """Does not end the session."""

    def cycle_key(self) -> None:
        """Does not renew the session."""


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return copy_context().run(function, *arguments)
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
