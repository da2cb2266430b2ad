"""Django's startapp, which makes the app where the project finds it: apps/NAME, imported as apps.NAME."""

from contextlib import chdir
from keyword import iskeyword
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.core.management.commands.startapp import Command as StartAppCommand

from apps.common.management.scaffold import PROJECT

# Django's own has the name "invoices" where it must be "apps.invoices", imports that no linter accepts unused, and a
# views.py and a tests.py, in place of which a feature that the app takes later has files.
APP_TEMPLATE = Path(__file__).resolve().parent.parent / "app_template"


class Command(StartAppCommand):
    help = "Creates a Django app where the project finds it: apps/NAME."

    def handle(self, **options: Any) -> None:  # type: ignore[override]
        name, directory, template = options["name"], options["directory"], options["template"] or APP_TEMPLATE
        folder = PROJECT / "apps" / name
        if directory and Path(directory).expanduser().resolve() != folder:
            raise CommandError(
                f"The project finds its apps in {folder.parent}: leave the directory out. "
                f"For an app elsewhere: uv run django-admin startapp {name} {directory}"
            )
        if found := name_errors(name):
            raise CommandError("\n".join(found))
        options["directory"] = str(folder) if directory and folder.exists() else None
        options["template"] = str(Path(template).resolve() if Path(template).exists() else template)
        with chdir(folder.parent):
            super().handle(**options)
        self.stdout.write(f"apps/{name} is installed; nothing else needs editing.")


def name_errors(name: str) -> list[str]:
    """Names that Django accepts, and that would fail later."""
    labels = {config.label: config.name for config in apps.get_app_configs()}
    twins = [path.name for path in (PROJECT / "apps").iterdir() if path.name.lower() == name.lower()]
    found = []
    if iskeyword(name):
        found.append(f"'{name}' is a keyword of Python. Choose another name.")
    if name in labels:
        found.append(f"'{name}' is the label of an installed app, {labels[name]}. Choose another name.")
    if twins and name not in twins:
        found.append(f"apps/{twins[0]} is there, and not every computer tells it from '{name}'. Choose another name.")
    return found
