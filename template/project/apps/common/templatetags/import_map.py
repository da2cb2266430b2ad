"""{% import_map %}: makes the import paths of the guide right under every way of serving static files.

Where files are served with a hash in their name, or under another address than /static/, an import by its plain path
would be a 404, or a second copy of the module: two base classes, two connections. An import map translates.
"""

import json
from collections.abc import Iterator
from urllib.parse import urljoin

from django import template
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

# What would end the script element, or begin a comment in it.
ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


@register.simple_tag(takes_context=True)
def import_map(context: template.Context) -> SafeString:
    """The map of every JavaScript module. Once for each page, first in <head>."""
    nonce = context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", None)
    attribute = format_html(' nonce="{}"', nonce) if nonce else ""
    body = mark_safe(json.dumps({"imports": imports()}).translate(ESCAPES))  # noqa: S308 - escaped just here
    return format_html('<script type="importmap"{}>{}</script>', attribute, body)


def imports() -> dict[str, str]:
    """The address of each module by every name under which it may be imported."""
    prefix = settings.STATIC_URL
    names: dict[str, str] = {}
    for path in sorted(modules()):
        target = static(path)
        # An import is resolved against the importing module's own address before the map is looked up: where static
        # files come from another host, "/static/…" has become an address there.
        for name in (f"/static/{path}", prefix + path, urljoin(prefix, f"/static/{path}")):
            names[name] = target
    return names


def modules() -> Iterator[str]:
    """The paths of all JavaScript files that staticfiles finds, but for the admin's, which are no modules."""
    for finder in get_finders():
        for path, _storage in finder.list([]):
            if path.endswith((".js", ".mjs")) and not path.startswith("admin/"):
                yield path.replace("\\", "/")
