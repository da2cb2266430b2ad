"""The app that every feature builds on."""

from django.apps import AppConfig
from django.conf import settings


class CommonConfig(AppConfig):
    name = "apps.common"

    def ready(self) -> None:
        from apps.common import checks  # noqa: F401 - registers them
        from apps.common.contract import pages, service_checks  # noqa: F401 - registers the checks
        from apps.common.live import checks as live_checks  # noqa: F401 - registers them
        from apps.common.live import publishing
        from apps.common.websockets.process import revocation
        from apps.common.websockets.streams import get_streams

        if getattr(settings, "REDIS_URL", ""):
            get_streams()  # so that a wrong address ends the start, and not the first request that needs it
        revocation.connect_signals()
        pages.register()
        publishing.connect()
