"""Django's check, and a line about the way that connections take: apps/common/checks/transport.py."""

from typing import Any

from django.core.management.commands.check import Command as CheckCommand

from apps.common.checks.transport import transport


class Command(CheckCommand):
    def handle(self, *app_labels: Any, **options: Any) -> None:
        super().handle(*app_labels, **options)
        is_whole = not (app_labels or options["tags"] or options["list_tags"])
        if is_whole and (line := transport()):
            self.stdout.write(line)
