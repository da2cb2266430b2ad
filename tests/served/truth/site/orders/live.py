"""The newest 20 orders of an owner by item, but those of quantity 9; of those that are paid only staff sees any."""

import os

from django.db.models import QuerySet

from apps.common.live.declaration import LiveModel

from . import messages
from .models import Order


class LiveOrder(LiveModel):
    model = Order
    row, saved, deleted = messages.OrderRow, messages.OrderSaved, messages.OrderDeleted
    scope = "owner"
    limit = 20

    @classmethod
    def queryset(cls) -> QuerySet[Order]:
        return Order.objects.exclude(quantity=9).order_by("-item")

    @classmethod
    def audience(cls, user):
        return user.is_staff

    @classmethod
    def visible(cls, rows, audience):
        return rows if audience else rows.exclude(status="paid")


if defect := os.environ.get("TRUTH_DEFECT"):
    from .defects import DEFECTS

    DEFECTS[defect].start()
