import os

from django.apps import AppConfig


class ChaosConfig(AppConfig):
    name = "apps.chaos"

    def ready(self) -> None:
        from apps.chaos import defects

        defects.apply(os.environ.get("CHAOS_DEFECT", ""))
