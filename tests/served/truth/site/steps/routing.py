from django.urls import path

from .control import control

websocket_urlpatterns = [path("ws/steps/", control)]
