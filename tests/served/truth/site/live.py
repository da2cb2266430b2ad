"""The newest 20 orders by item, but those of quantity 9; of those that are paid only staff sees any."""

import os

from django.db.models import QuerySet

from apps.common.live import view
from apps.common.live.declaration import LiveModel

from . import messages
from .models import Order

DEFECT = os.environ.get("TRUTH_DEFECT", "")


class LiveOrder(LiveModel):
    model = Order
    row, saved, deleted = messages.OrderRow, messages.OrderSaved, messages.OrderDeleted
    limit = 20

    @classmethod
    def queryset(cls) -> QuerySet[Order]:
        return Order.objects.exclude(quantity=9).order_by("-item")

    @classmethod
    def audience(cls, user):
        return user.is_staff

    @classmethod
    def visible(cls, rows, audience):
        return rows if audience or DEFECT == "no_filter" else rows.exclude(status="paid")


if DEFECT == "no_state_at_reconnect":
    view.View.version = "always the same"
