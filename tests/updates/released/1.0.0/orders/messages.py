"""The messages of orders. `manage.py contract` writes the service's types."""

from typing import Annotated

from pydantic import Field

from apps.common.websockets.fields import Text
from apps.common.websockets.messages import Message

# From a page


class PlaceOrder(Message):
    item: Annotated[str, Text(200)]
    quantity: Annotated[int, Field(ge=1, le=99)]


class CancelOrder(Message):
    id: int


# Broadcast by the server


class OrderPlaced(PlaceOrder):
    """After place_order, with its fields."""


class OrderCancelled(CancelOrder):
    """After cancel_order, with its fields."""
