"""The app that every feature builds on."""

from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "apps.common"

    def ready(self) -> None:
        from apps.common import checks  # noqa: F401 - registers them
        from apps.common.websockets.process import revocation

        revocation.connect_signals()
