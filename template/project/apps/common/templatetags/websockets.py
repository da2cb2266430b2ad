"""The tags of a live page: `{% import_map %}` first in <head>, `{% connection_status %}` in its place, and
`{% form_texts %}` in the tag of each form.
"""

from django import template
from django.urls import get_script_prefix
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from apps.common.import_map import render

register = template.Library()


@register.simple_tag(takes_context=True)
def import_map(context: template.Context) -> SafeString:
    """The map of every JavaScript module. Once for each page, first in <head>: a module that is asked for before it is
    read would be asked for by the wrong name. Without the nonce a browser that has a policy would skip it in silence.
    """
    # Django's and django-csp's nonces are lazy, and false until they are used.
    nonce = context.get("csp_nonce", getattr(context.get("request"), "csp_nonce", None))
    # The prefix is for services: a WebSocket's path is below it, too.
    values = {"nonce": nonce, "data-prefix": get_script_prefix().rstrip("/") or None}
    attributes = format_html_join("", ' {}="{}"', [item for item in values.items() if item[1] is not None])
    body = mark_safe(render())  # noqa: S308 - escaped there
    return format_html('<script type="importmap"{}>{}</script>', attributes, body)


@register.simple_tag
def connection_status() -> SafeString:
    """The element that shows a service's connection, with its texts in the page's language."""
    texts = {
        "connected": _("Connected"),
        "connecting": _("Connecting"),
        "disconnected": _("Disconnected"),
        "error": _("Connection failed"),
        "retry": _("Retry"),
        "reload": _("Reload"),
        "outdated": _("This page is out of date."),
        "other-user": _("This page was opened by another user."),
        "wait": _("next attempt in {n} s"),
        "latency": _("{n} ms"),
    }
    attributes = format_html_join("", ' data-{}="{}"', texts.items())
    return format_html("<connection-status{}></connection-status>", attributes)


@register.simple_tag
def form_texts() -> SafeString:
    """The attributes of a <form> with the texts that live_form.js shows, in the page's language. What is done may be
    said in other words by a data-done of the form's own, before this."""
    texts = {
        "done": _("Done"),
        "number": _("Enter a number."),
        "boolean": _("Enter true or false."),
        "json": _("Enter valid JSON."),
        "datetime": _("Enter a time that exists here, such as 2026-03-29T14:30."),
    }
    return format_html_join(" ", 'data-{}="{}"', texts.items())
