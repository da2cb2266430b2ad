"""The user for whom a page was rendered: it connects as that user, or not at all."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.signing import Signer
from django.utils.crypto import constant_time_compare

from apps.common.websockets.access.identity import user_key
from apps.common.websockets.access.sessions import new_session
from apps.common.websockets.protocol import parse_page_user

SALT = "apps.common.websockets.page_user"


def page_user(user: Any) -> str:
    """The token of a page that is rendered for this user: a signature alone. Addresses are logged, and it tells and
    permits nothing."""
    return Signer(salt=SALT).signature(user_key(user))


def claim_page(scope: Any) -> bool:
    """Whether the connection's page was rendered for its user; True without a token, as in the page of a shared cache.

    A page that was rendered for an anonymous visitor stays anonymous: the scope loses its user and session.
    """
    token = parse_page_user(scope["query_string"])
    if token is None or _is_signed(token, scope["user"]):
        return True
    if not _is_signed(token, AnonymousUser()):  # another user's, or damaged
        return False
    scope.update(user=AnonymousUser(), session=new_session())
    return True


def _is_signed(token: str, user: Any) -> bool:
    signer, value = Signer(salt=SALT), user_key(user)
    keys = [signer.key, *signer.fallback_keys]
    return any(constant_time_compare(token, signer.signature(value, key)) for key in keys)
