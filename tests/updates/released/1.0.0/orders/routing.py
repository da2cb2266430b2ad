"""The path that pages of orders connect to."""

from django.urls import re_path

from . import consumers

websocket_urlpatterns = [
    re_path(
        r"^ws/orders/(?P<orders_id>[A-Za-z0-9_-]{1,40})/$",
        consumers.OrdersConsumer.as_asgi(),
    ),
]
