"""Closes a user's connections on logout, and re-checks them on a change of the user or of permissions: in every
process, within a second.

Changes without a signal, such as QuerySet.update(), are found by the periodic re-check.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import transaction
from django.db.models.signals import class_prepared, m2m_changed, post_delete, post_save
from django.utils import timezone

from apps.common.websockets.access.identity import user_key
from apps.common.websockets.process.registry import publish_command
from apps.common.websockets.streams.base import Command


def connect_signals() -> None:
    """Called once, when Django has started."""
    user_logged_in.connect(_on_login, dispatch_uid="websockets.login")
    user_logged_out.connect(_on_logout, dispatch_uid="websockets.logout")
    # By sender: with a receiver for every model's post_delete, Django would no longer delete in a single query.
    for model in apps.get_models():
        _watch(model)
    class_prepared.connect(_watch, dispatch_uid="websockets.model")
    user = get_user_model()
    for relation in (getattr(user, "groups", None), getattr(user, "user_permissions", None), Group.permissions):
        if through := getattr(relation, "through", None):
            m2m_changed.connect(_on_permissions_changed, sender=through, dispatch_uid="websockets.permissions")
    post_delete.connect(_on_group_deleted, sender=Group, dispatch_uid="websockets.group")


def _watch(sender: type[Any], **kwargs: Any) -> None:
    """Connect to the signals of the user model, of its proxies and children, and of the session's model."""
    if issubclass(sender, get_user_model()):
        post_save.connect(_on_user_changed, sender=sender, dispatch_uid="websockets.user_saved")
        post_delete.connect(_on_user_changed, sender=sender, dispatch_uid="websockets.user_deleted")
    elif issubclass(sender, AbstractBaseSession):
        post_delete.connect(_on_session_deleted, sender=sender, dispatch_uid="websockets.session_deleted")


def _on_login(request: Any, **kwargs: Any) -> None:
    # Signing in as another user has emptied the session, whose key only the request's cookie still tells.
    session, key = getattr(request, "session", None), getattr(request, "COOKIES", {}).get(settings.SESSION_COOKIE_NAME)
    if session is not None and key and key != session.session_key:
        _publish({"sign_out": key})


def _on_logout(request: Any, **kwargs: Any) -> None:
    # The signal precedes the deletion of the session: the clients reconnect, and are refused then.
    session = getattr(request, "session", None)  # a request with a token may have none
    if session is not None and session.session_key:
        _publish({"sign_out": session.session_key})


def _on_session_deleted(instance: Any, using: str, **kwargs: Any) -> None:
    if instance.expire_date > timezone.now():  # clearsessions deletes a great many expired ones
        _publish({"sign_out": instance.session_key}, using)


def _on_user_changed(instance: Any, using: str, update_fields: Any = None, **kwargs: Any) -> None:
    if update_fields is None or set(update_fields) != {"last_login"}:  # as every login does
        _publish({"recheck": user_key(instance, using)}, using)


def _on_permissions_changed(instance: Any, action: str, using: str, **kwargs: Any) -> None:
    if action.startswith("post_"):
        is_user = isinstance(instance, get_user_model())
        _publish({"recheck": user_key(instance, using)} if is_user else {"recheck_all": "yes"}, using)


def _on_group_deleted(using: str, **kwargs: Any) -> None:
    _publish({"recheck_all": "yes"}, using)


def _publish(command: Command, using: str | None = None) -> None:
    # robust: a logout must not fail because of an error here; the periodic re-check closes the connections then.
    # No partial: Django logs the name of a robust hook that fails, which a partial does not have.
    transaction.on_commit(lambda: publish_command(command), using=using, robust=True)
