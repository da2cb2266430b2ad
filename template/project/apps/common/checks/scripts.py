"""The JavaScript files that are checked."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.apps import AppConfig, apps

AppConfigs = Iterable[AppConfig] | None  # None is all


@dataclass(frozen=True)
class Script:
    """A JavaScript file of a local app, and its path below /static/."""

    file: Path
    path: str

    @property
    def source(self) -> str:
        return self.file.read_text(encoding="utf-8", errors="replace")

    def place(self, line: int) -> str:
        """As editors and terminals understand it: apps/orders/static/orders/js/orders_app.js:1."""
        return f"{os.path.relpath(self.file)}:{line}"


def local_scripts(app_configs: AppConfigs) -> Iterator[Script]:
    """The scripts of the apps in apps/, but for other people's: *.min.js, and those in a folder named vendor."""
    for config in app_configs or apps.get_app_configs():
        if config.name.startswith("apps."):
            yield from filter(_is_own, _scripts(Path(config.path, "static")))


def _scripts(folder: Path) -> Iterator[Script]:
    for file in sorted([*folder.rglob("*.js"), *folder.rglob("*.mjs")]):
        if file.is_file():  # and no link that leads nowhere
            yield Script(file, file.relative_to(folder).as_posix())


def _is_own(script: Script) -> bool:
    return "vendor" not in script.path.split("/") and ".min." not in script.path
