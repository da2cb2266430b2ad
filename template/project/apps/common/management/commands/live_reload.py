"""manage.py live_reload: pages with live rows read them again, after what Django cannot see."""

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.common.live.publishing import live_reload


class Command(BaseCommand):
    help = "Has open pages read their live rows again: after raw SQL, a trigger, or a restored backup."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("models", nargs="*", metavar="app_label.Model", help="all live models, if left out")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in options["models"]:
            try:
                live_reload(apps.get_model(name))
            except (LookupError, ValueError) as error:
                raise CommandError(f"{name}: {error} Models are written as app_label.Model.") from error
        if not options["models"]:
            live_reload()
