"""Closes a user's connections on logout and re-checks them on a change of the user: in every process, within a second.

Changes without a signal, such as QuerySet.update(), are found by the periodic re-check.
"""

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from apps.common.websockets.process.registry import publish_command
from apps.common.websockets.streams.base import Command


def connect_signals() -> None:
    """Called once, when Django has started."""
    user_logged_out.connect(_on_logout, dispatch_uid="websockets.logout")
    post_save.connect(_on_user_changed, sender=get_user_model(), dispatch_uid="websockets.user_saved")
    post_delete.connect(_on_user_changed, sender=get_user_model(), dispatch_uid="websockets.user_deleted")


def _on_logout(request: Any, **kwargs: Any) -> None:
    # The signal precedes the deletion of the session: the clients reconnect, and are refused then.
    session = getattr(request, "session", None)  # a request with a token may have none
    if session is not None and session.session_key:
        _publish({"sign_out": session.session_key})


def _on_user_changed(instance: Any, update_fields: Any = None, **kwargs: Any) -> None:
    if update_fields is None or set(update_fields) != {"last_login"}:  # as every login does
        _publish({"recheck": str(instance.pk)})


def _publish(command: Command) -> None:
    # robust: a logout must not fail because of an error here; the periodic re-check closes the connections then.
    transaction.on_commit(partial(publish_command, command), robust=True)
