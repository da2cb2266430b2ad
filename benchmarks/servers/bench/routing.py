"""The routes of the benchmark, the same for every server that is measured."""

from django.urls import re_path

from . import consumers

websocket_urlpatterns = [
    re_path(r"^ws/echo/$", consumers.EchoConsumer.as_asgi()),
    re_path(r"^ws/idle/$", consumers.IdleConsumer.as_asgi()),
    re_path(r"^ws/fanout/$", consumers.FanoutConsumer.as_asgi()),
    re_path(r"^ws/room/(?P<room>\d+)/$", consumers.RoomConsumer.as_asgi()),
    re_path(r"^ws/unnumbered/$", consumers.FanoutWithoutReplayConsumer.as_asgi()),
]
