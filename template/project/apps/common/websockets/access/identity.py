"""The identity behind a connection: its session and user, and both as of now."""

import logging
from collections.abc import Mapping
from contextvars import Context
from typing import Any, NamedTuple

from django.contrib import auth
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import OperationalError, router
from django.db.models import Model

from apps.common.websockets.access.sessions import load_sessions

logger = logging.getLogger(__name__)

User = AbstractBaseUser | AnonymousUser


class Identity(NamedTuple):
    """The key of a re-check: the session, or without one the user."""

    session_key: str  # "" for an anonymous visitor, or if the user comes from a token and not from the session
    user: str  # user_key()


def user_key(user: Any, using: str = "") -> str:
    """The database, model and primary key of a user, such as "default users.user 7"; "" for an anonymous visitor.

    A proxy or a child of the user model is the same user. using: the alias of the database, if not the user's own.
    """
    if user.pk is None:
        return ""
    if not isinstance(user, Model):  # a token's user who is in no table
        return f"{type(user).__module__} {type(user).__qualname__} {user.pk}"
    model: Any = user._meta.concrete_model
    base: Any = auth.get_user_model()._meta.concrete_model
    model = base if issubclass(model, base) else model
    alias, source = router.db_for_write(model, instance=user), router.db_for_read(model, instance=user)
    if alias == source:  # otherwise users are read from replicas of this database
        alias = using or user._state.db or alias
    field = model._meta.pk  # of the parent, for a child of the user model; a UUID may still be a string
    return f"{alias} {model._meta.label_lower} {field.to_python(getattr(user, field.attname))}"


def identify(scope: Any) -> Identity:
    """The identity behind a scope's connection."""
    user, session = scope["user"], scope.get("session")
    key = user_key(user)
    if not key or session is None or not session.accessed or session.get(auth.SESSION_KEY) != str(user.pk):
        return Identity("", key)
    return Identity(session.session_key or "", key)


def load_users(users: Mapping[Identity, tuple[User, Context]]) -> dict[Identity, User]:
    """The users of these identities as of now, each looked up in the context of its connection. A user whose session
    ended, who was deactivated or whose password changed becomes AnonymousUser. An identity that cannot be looked up is
    logged and left out.

    Raises OperationalError if the database is unavailable.
    """
    by_session = [identity for identity in users if identity.session_key]
    loaded = load_sessions([(identity.session_key, users[identity][1]) for identity in by_session])
    sessions = dict(zip(by_session, loaded, strict=True))
    found = {}
    for identity, (user, context) in users.items():
        try:
            found[identity] = context.run(_reload, identity, user, sessions.get(identity))
        except OperationalError:
            raise
        except Exception:  # a session store may raise anything; one session must not prevent the others' check
            logger.exception("The user %s could not be looked up", identity.user)
    return found


def _reload(identity: Identity, user: User, loaded: Any) -> User:
    """loaded: the result of load_sessions()."""
    if isinstance(loaded, Exception):
        raise loaded
    if loaded:
        current: User = loaded[1]
        return current if user_key(current) == identity.user else AnonymousUser()
    if not isinstance(user, Model):
        return user  # anonymous, or a token's user who is in no table
    reloaded: Any = user._meta.model._default_manager.using(user._state.db).filter(pk=user.pk).first()
    return reloaded if reloaded and getattr(reloaded, "is_active", True) else AnonymousUser()
