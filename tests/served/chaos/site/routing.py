from django.urls import re_path

from . import consumers

websocket_urlpatterns = [
    re_path(r"^ws/chaos/(?P<group>\w+)/$", consumers.NewsConsumer.as_asgi()),
    re_path(r"^ws/publish/$", consumers.PublishConsumer.as_asgi()),
]
