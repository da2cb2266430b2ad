"""manage.py startfeature: adds a real-time feature to the project, or to one of its apps."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.common.management.model_facts import Found, read_facts
from apps.common.management.scaffold import PROJECT, add_feature, is_generated

ACTION = '"place_order item:str:200 quantity:int:1:99 event=order_placed"'
MODEL = '"Order item:str:200 status:enum:new:paid customer:fk:user:optional"'
EVENT = '"shop_closed reason:text:optional"'


class Command(BaseCommand):
    help = "Adds a real-time feature: apps/NAME. Without a name it asks for everything."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="in snake_case, such as orders or live_chat")
        parser.add_argument("--access", help="who may connect: authenticated (if left out), public or staff")
        parser.add_argument("--model", help=f"a live list of a new model, {MODEL}, or of one that is there, shop.Order")
        parser.add_argument("--render", help="who draws the rows: the page (data, the default) or a template (html)")
        parser.add_argument("--per", help="to whom a message goes: id (/orders/42/), site (for a model) or user")
        # The plural is what Copier's question is called.
        parser.add_argument(
            "--action", "--actions", action="append", help=f"what a page can ask for: {ACTION}; may be repeated"
        )
        parser.add_argument(
            "--event", "--events", action="append", help=f"what else the server sends: {EVENT}; may be repeated"
        )
        parser.add_argument("--dry-run", action="store_true", help="list the files, and write nothing")

    def handle(
        self,
        *args: Any,
        name: str | None,
        access: str | None,
        model: str | None,
        render: str | None,
        per: str | None,
        action: list[str] | None,
        event: list[str] | None,
        dry_run: bool,
        **options: Any,
    ) -> None:
        if not name and not sys.stdin.isatty():
            raise CommandError("Give the feature a name: manage.py startfeature orders (--help lists the options).")
        found = read_facts(model or "", name or "")
        answers = {
            "feature": name,
            "access": access,
            "model": model,
            "model_facts": found.facts or None,
            "render": render,
            "per": per,
            # Events alone are a feature too, without the action that is the default.
            "actions": ", ".join(action) if action else "" if event else None,
            "events": ", ".join(event) if event else None,
        }
        given = {question: answer for question, answer in answers.items() if answer is not None}
        made = add_feature(given, ask=not name, dry_run=dry_run, errors=found.errors)
        feature = made[0].parts[1]
        is_app_of_yours = any(path not in made for path in app_files(feature))
        has_new_model = any(path.name == "models.py" for path in made)
        if has_new_model and not dry_run:
            made += make_migration(feature)
        self.stdout.write("\n".join(path.as_posix() for path in made))
        self._write_notes(found)
        next_steps = "Nothing was written." if dry_run else self._next_steps(feature, has_new_model, is_app_of_yours)
        self.stdout.write(f"\n{next_steps}")

    def _write_notes(self, found: Found) -> None:
        if found.left_out:
            self.stdout.write(f"\nThese columns do not travel: {', '.join(found.left_out)}.")
        if found.manager_fix:
            self.stdout.write(f"\n{found.manager_fix}")

    def _next_steps(self, name: str, has_new_model: bool, is_app_of_yours: bool) -> str:
        manage = f"{'uv run' if is_generated() else 'python'} manage.py"
        serve = f"{manage} runserver"
        test = f"{'uv run ' if is_generated() else ''}pytest apps/{name}"
        width = max(len(serve), len(test))
        migrate = f"\n  {f'{manage} migrate':{width}}    makes its table" if has_new_model else ""
        page = re.search(r'^URL = "(.+)"', (PROJECT / "apps" / name / "urls.py").read_text(encoding="utf-8"), re.M)
        removal = f"after `{manage} migrate {name} zero`, " if has_new_model else ""
        folder = "these files" if is_app_of_yours else "the folder"
        first = "live.py" if (PROJECT / "apps" / name / "live.py").exists() else "consumers.py"
        return f"""\
apps/{name} is live; nothing else needs editing. To remove the feature, {removal}remove {folder}.
{migrate}
  {serve:{width}}    then open http://127.0.0.1:8000{page[1] if page else "/"}
  {test:{width}}    tests it

Start reading in apps/{name}/{first}."""


def app_files(feature: str) -> list[Path]:
    """The files that an app has, but for what Python writes and marks packages with."""
    files = [path for path in (PROJECT / "apps" / feature).rglob("*") if path.is_file()]
    return [path.relative_to(PROJECT) for path in files if path.suffix != ".pyc" and path.name != "__init__.py"]


def make_migration(feature: str) -> list[Path]:
    """Makes the first migration, in a process that has the new app. Returns its path; the feature stays if it fails."""
    command = [sys.executable, "manage.py", "makemigrations", feature]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["without a message"]
        run = f"{'uv run' if is_generated() else 'python'} manage.py makemigrations {feature}"
        raise CommandError(f"apps/{feature} is made, but not its migration: {reason[0]}\nFix that, then run: {run}")
    folder = PROJECT / "apps" / feature / "migrations"
    return [path.relative_to(PROJECT) for path in sorted(folder.glob("0*.py"))]
