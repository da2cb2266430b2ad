"""The app that every feature builds on."""

from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "apps.common"
