"""Django's runserver, with the server that production has: it speaks WebSocket, and reloads at every edit."""

import os
import socket
from typing import Any

import uvicorn
from channels.routing import get_default_application
from django.conf import settings
from django.contrib.staticfiles.management.commands.runserver import Command as RunserverCommand
from django.db import connections
from django.utils import autoreload

from apps.common.server import UVICORN_OPTIONS, with_static_files


class Command(RunserverCommand):
    help = "Starts a development server for HTTP and WebSocket."

    # Set by the parent's handle().
    addr: str
    port: str
    use_ipv6: bool

    def inner_run(self, *args: Any, **options: Any) -> None:
        autoreload.raise_last_exception()
        if not options["skip_checks"]:
            self.check(display_num_errors=True)
        self.check_migrations()
        connections.close_all()
        listener = self._listen()
        self.on_bind(listener.getsockname()[1])
        application: Any = get_default_application()
        if options["use_static_handler"] and (settings.DEBUG or options["insecure_serving"]):
            application = with_static_files(application)
        uvicorn.Server(uvicorn.Config(application, **UVICORN_OPTIONS)).run(sockets=[listener])

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if self.use_ipv6 else socket.AF_INET
        try:
            return socket.create_server(("" if self.addr == "0" else self.addr, int(self.port)), family=family)
        except OSError as error:
            self.stderr.write(f"Error: port {self.port} cannot be used ({error.strerror}). Try another: runserver 8001")
            os._exit(1)  # sys.exit would end the reloader's thread alone
