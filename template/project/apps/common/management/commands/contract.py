"""manage.py contract: refreshes, prints, checks and compares the contracts of features."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.common.contract import drift, revision, schemas
from apps.common.contract.contract_file import Version, refresh, render
from apps.common.contract.features import Feature, find_features


class Command(BaseCommand):
    help = (
        "Refreshes the contract file of each feature from its messages.py; with an option it writes nothing. Commit "
        "the file: pages carry its number and hash."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("features", nargs="*", metavar="feature", help="orders; all features if left out")
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--format", choices=("json-schema", "asyncapi", "types"), help="print it")
        group.add_argument("--check", action="store_true", help="name what differs from messages.py, and exit 1")
        group.add_argument("--against", metavar="REF", help="list what breaks pages of that revision, and exit 1")

    def handle(self, *args: Any, **options: Any) -> None:
        if ref := options["against"]:
            self._finish(revision.breaking_changes_since(ref, options["features"]), "break open pages")
            return
        try:
            features = find_features(*options["features"])
        except LookupError as error:
            raise CommandError(str(error)) from error
        if options["check"]:
            self._finish([problem for each in features for problem in drift.problems(each)], "differ from messages.py")
        elif options["format"]:
            self.stdout.write(_formatted(options["format"], features), ending="")
        else:
            for feature in features:
                self._refresh(feature)

    def _refresh(self, feature: Feature) -> None:
        path = feature.path
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        try:
            new = refresh(feature.name, text, feature.messages)
        except ValueError as error:
            raise CommandError(f"{drift.place(path)} cannot be read: {error}. Restore or remove it.") from error
        if new != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new, encoding="utf-8")
        self.stdout.write(f"{drift.place(path)}: {'written' if new != text else 'unchanged'}")

    def _finish(self, problems: list[str], what: str) -> None:
        self.stdout.write("".join(f"{problem}\n" for problem in problems), ending="")
        if problems:
            self.stdout.flush()  # before the error, where both go to one place
            raise CommandError(f"{len(problems)} of these {what}.")


def _formatted(name: str, features: list[Feature]) -> str:
    if name == "types":
        return "\n".join(render(each.name, Version(1, each.messages)) for each in features)
    document = schemas.json_schema(features) if name == "json-schema" else schemas.asyncapi(features)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
