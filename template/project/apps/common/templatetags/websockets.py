"""The tags of a live page: `{% import_map %}` first in <head>, and `{% connection_status %}` where it is to be shown.

The import map makes the import paths of the guide right under every way of serving static files. Where files are served
with a hash in their name, or under another address than /static/, an import by its plain path would be a 404, or a
second copy of the module: two base classes, two connections.
"""

import json
from collections.abc import Iterator
from functools import cache
from urllib.parse import urljoin

from django import template
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.templatetags.static import static
from django.utils.encoding import filepath_to_uri
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

register = template.Library()

# These would end the script element, or begin a comment in it.
ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


@register.simple_tag(takes_context=True)
def import_map(context: template.Context) -> SafeString:
    """The map of every JavaScript module. Once for each page, first in <head>: a module that is asked for before it is
    read would be asked for by the wrong name. Without the nonce a browser that has a policy would skip it in silence.
    """
    # Django's and django-csp's nonces are lazy, and false until they are used.
    nonce = context.get("csp_nonce", getattr(context.get("request"), "csp_nonce", None))
    attribute = "" if nonce is None else format_html(' nonce="{}"', nonce)
    # While DEBUG is on, modules come and go.
    body = render(settings.STATIC_URL) if settings.DEBUG else render_once(settings.STATIC_URL)
    return format_html('<script type="importmap"{}>{}</script>', attribute, body)


@register.simple_tag
def connection_status() -> SafeString:
    """The element that shows a service's connection, with its texts in the page's language."""
    texts = {
        "connected": _("Connected"),
        "connecting": _("Connecting"),
        "disconnected": _("Disconnected"),
        "error": _("Connection failed"),
        "retry": _("Retry"),
        "wait": _("next attempt in {n} s"),
        "latency": _("{n} ms"),
    }
    attributes = format_html_join("", ' data-{}="{}"', texts.items())
    return format_html("<connection-status{}></connection-status>", attributes)


def render(static_url: str) -> SafeString:
    """The map as JSON that is safe inside a script element."""
    return mark_safe(json.dumps({"imports": imports(static_url)}).translate(ESCAPES))  # noqa: S308 - escaped just here


render_once = cache(render)


def imports(static_url: str) -> dict[str, str]:
    """The address of each module by every name under which it may be imported."""
    # An import is resolved against the importing module's own address before the map is looked up: where static files
    # come from another host, "/static/…" has become an address there.
    roots = ["/static/", urljoin(static_url, "/static/"), static_url]
    names = {root + filepath_to_uri(path): static(path) for path in sorted(modules()) for root in roots}
    # The longest name wins: these serve what is no module, or came after this was rendered.
    return names | dict.fromkeys(roots, static_url)


def modules() -> Iterator[str]:
    """The paths of all JavaScript files that staticfiles finds, but for the admin's, which are no modules."""
    for finder in get_finders():
        for path, _storage in finder.list([]):
            if path.endswith((".js", ".mjs")) and not path.startswith("admin/"):
                yield path.replace("\\", "/")
