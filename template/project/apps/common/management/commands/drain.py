"""manage.py drain: moves the pages of a process to another one, before it is stopped."""

import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.common.websockets.process.registry import publish_command


class Command(BaseCommand):
    help = (
        "Tells the pages that are connected to this host's processes to reconnect, spread over some time, and makes "
        "/ready/ answer 503, so that the load balancer sends them elsewhere. For a rolling deploy: run it before a "
        "host is stopped. A plain restart needs no drain."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--within", type=int, default=30, help="seconds over which the pages leave (30)")
        parser.add_argument("--host", default=socket.gethostname(), help="another host than this one, by its name")

    def handle(self, *args: Any, within: int, host: str, **options: Any) -> None:
        if not settings.REDIS_URL:
            raise CommandError("Without REDIS_URL there is one process, and nowhere to move to: restart it.")
        if within < 1:
            raise CommandError(f"--within {within}: give at least one second.")
        if not publish_command({"drain": str(within), "host": host}):
            raise CommandError("Redis did not answer, so the command was not sent. Try again.")
        self.stdout.write(f"The pages of {host} leave within {within} s. Then stop it.")
