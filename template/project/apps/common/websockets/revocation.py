"""Signs a page out when its user is: by signals, in every process, within a second.

What sends no signal, such as QuerySet.update(), is found when is_allowed() is asked again, every minute.
"""

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from apps.common.websockets.registry import tell
from apps.common.websockets.streams import Order


def connect_signals() -> None:
    """Called once, when Django has started."""
    user_logged_out.connect(_on_logout, dispatch_uid="websockets.logout")
    post_save.connect(_on_user_changed, sender=get_user_model(), dispatch_uid="websockets.user_saved")
    post_delete.connect(_on_user_changed, sender=get_user_model(), dispatch_uid="websockets.user_deleted")


def _on_logout(request: Any, **kwargs: Any) -> None:
    # The signal comes before the session is flushed: the pages are told to come back, and find out when they do.
    session = getattr(request, "session", None)  # who signs in with a token may have none
    if session is not None and session.session_key:
        _tell({"sign_out": session.session_key})


def _on_user_changed(instance: Any, update_fields: Any = None, **kwargs: Any) -> None:
    if update_fields is None or set(update_fields) != {"last_login"}:  # as every login does
        _tell({"recheck": str(instance.pk)})


def _tell(order: Order) -> None:
    # robust: a logout must not fail, whatever happens here; the re-check finds the pages then.
    transaction.on_commit(partial(tell, order), robust=True)
