"""The newest 20 orders by item, but those of quantity 9; of those that are paid only staff sees any."""

import os

from django.db.models import QuerySet

from apps.common.live import publishing, view
from apps.common.live.declaration import LiveModel
from apps.common.websockets.streams.redis import RedisStreams

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


async def _end_no_marks(self, group):
    pass


if DEFECT == "before_commit":
    publishing._Batch.publish_after_commit = lambda self: self()
if DEFECT == "no_marks":
    RedisStreams._end_marks = _end_no_marks
if DEFECT == "no_state_at_reconnect":
    view.View.version = "always the same"
if DEFECT == "no_read_after_a_read":
    deliver = view.View.deliver
    view.View.deliver = lambda self, group, event: None if self._is_reading else deliver(self, group, event)
