"""The messages of orders: what a page and the server send to each other.

static/orders/js/services/orders_websocket.js
names the same types; `manage.py check` compares the two.
"""

from typing import Annotated

from pydantic import StringConstraints

from apps.common.websockets.messages import Message

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]

# From a page, each with its answer.


class PlaceOrder(Message):
    text: Text


class PlaceOrderResult(Message):
    text: Text


class CancelOrder(Message):
    text: Text


class CancelOrderResult(Message):
    text: Text


# Broadcast by the server to every page.


class OrderPlaced(Message):
    text: Text


class OrderCancelled(Message):
    text: Text
