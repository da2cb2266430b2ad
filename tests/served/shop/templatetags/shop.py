from django import template
from django.utils.html import format_html

register = template.Library()


@register.filter
def euros(amount):
    return f"{amount} €"


@register.simple_tag(takes_context=True)
def badge(context, order):
    return format_html("<b class='{}'>{}</b>", order.status, order.get_status_display())
