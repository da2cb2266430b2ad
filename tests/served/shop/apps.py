from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "apps.shop"

    def ready(self):
        from apps.shop import signals

        signals.logger.debug("The shop's signals are connected")
