"""The identity behind a connection: its session and user, and both as of now."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.contrib import auth
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import OperationalError

from apps.common.websockets.access.sessions import load_session

logger = logging.getLogger(__name__)

User = AbstractBaseUser | AnonymousUser


class Identity(NamedTuple):
    """The key of a re-check: the session, or without one the user."""

    session_key: str  # "" without a session, or if the user comes from a token and not from the session
    user_id: str  # the primary key; "" for an anonymous visitor


def identify(scope: Any) -> Identity:
    """The identity behind a scope's connection."""
    user_id, session = str(scope["user"].pk or ""), scope.get("session")
    if session is None or (user_id and (not session.accessed or session.get(auth.SESSION_KEY) != user_id)):
        return Identity("", user_id)
    return Identity(session.session_key or "", user_id)


def load_users(users: Mapping[Identity, User]) -> dict[Identity, User]:
    """The users of these identities as of now. A user whose session ended, who was deactivated or whose password
    changed becomes AnonymousUser. An identity that cannot be looked up is logged and left out.

    Raises OperationalError if the database is unavailable.
    """
    found = {}
    for identity, user in users.items():
        try:
            found[identity] = _reload(identity, user)
        except OperationalError:
            raise
        except Exception:  # a session store may raise anything; one session must not prevent the others' check
            logger.exception("The user %s could not be looked up", identity.user_id or "of a session")
    return found


def _reload(identity: Identity, user: User) -> User:
    if identity.session_key:
        return load_session(identity.session_key)[1]
    model = auth.get_user_model()
    if not isinstance(user, model):
        return user  # anonymous, or a token's user who is in no table
    current = model._default_manager.filter(pk=user.pk).first()
    return current if current and current.is_active else AnonymousUser()
