"""manage.py startfeature: adds a real-time feature to the project, or to one of its apps."""

import re
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.common.management.scaffold import PROJECT, add_feature, is_generated

ACTION = '"place_order item:str:200 quantity:int:1:99 event=order_placed"'
EVENT = '"shop_closed reason:text:optional"'


class Command(BaseCommand):
    help = "Adds a real-time feature: apps/NAME. Without a name it asks for everything."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="in snake_case, such as orders or live_chat")
        parser.add_argument("--access", help="who may connect: authenticated (if left out), public or staff")
        parser.add_argument("--per", help="to whom a message goes: id (if left out; /orders/42/), site or user")
        parser.add_argument("--action", action="append", help=f"what a page can ask for: {ACTION}; may be repeated")
        parser.add_argument("--event", action="append", help=f"what else the server sends: {EVENT}; may be repeated")
        parser.add_argument("--dry-run", action="store_true", help="list the files, and write nothing")

    def handle(
        self,
        *args: Any,
        name: str | None,
        access: str | None,
        per: str | None,
        action: list[str] | None,
        event: list[str] | None,
        dry_run: bool,
        **options: Any,
    ) -> None:
        if not name and not sys.stdin.isatty():
            raise CommandError("Give the feature a name: manage.py startfeature orders (--help lists the options).")
        answers = {
            "feature": name,
            "access": access,
            "per": per,
            # Events alone are a feature too, without the action that is the default.
            "actions": ", ".join(action) if action else "" if event else None,
            "events": ", ".join(event) if event else None,
        }
        given = {question: answer for question, answer in answers.items() if answer is not None}
        made = add_feature(given, ask=not name, dry_run=dry_run)
        self.stdout.write("\n".join(path.as_posix() for path in made))
        self.stdout.write("\nNothing was written." if dry_run else self._next_steps(made[0].parts[1]))

    def _next_steps(self, name: str) -> str:
        serve = f"{'uv run' if is_generated() else 'python'} manage.py runserver"
        test = f"{'uv run ' if is_generated() else ''}pytest apps/{name}"
        width = max(len(serve), len(test))
        page = re.search(r'^URL = "(.+)"', (PROJECT / "apps" / name / "urls.py").read_text(encoding="utf-8"), re.M)
        return f"""
apps/{name} is live; nothing else needs editing. Removing the folder removes the feature.

  {serve:{width}}    then open http://127.0.0.1:8000{page[1] if page else "/"}
  {test:{width}}    tests it

Start reading in apps/{name}/consumers.py."""
