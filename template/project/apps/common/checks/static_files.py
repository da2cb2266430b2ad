"""The static files of the common part and those of the owner do not shadow each other: all apps share one tree."""

from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, Error, Tags, register

from apps.common.checks.scripts import AppConfigs

STATIC = Path(__file__).resolve().parent.parent / "static"
E012 = Error(
    "No finder finds the static files of apps: neither those of apps.common nor those of a feature.",
    hint="Add 'django.contrib.staticfiles.finders.AppDirectoriesFinder' to STATICFILES_FINDERS.",
    id="common.E012",
)


@register(Tags.staticfiles)  # collectstatic runs these, too, and stops
def check_static_files(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    found = {file: _places(file) for file in sorted(STATIC.rglob("*")) if file.is_file()}
    if not all(file in places for file, places in found.items()):
        return [E012]
    return [_error(file, places) for file, places in found.items() if len(places) > 1]


def _places(file: Path) -> list[Path]:
    """The files at its path. The first one is served, and shadows the others."""
    places = finders.find(file.relative_to(STATIC).as_posix(), find_all=True)
    return list(dict.fromkeys(Path(place).resolve() for place in places))


def _error(file: Path, places: list[Path]) -> Error:
    served, *hidden = places
    other = next(place for place in places if place != file)
    return Error(
        f"{', '.join(map(_readable, hidden))} is never served: {_readable(served)} comes first, at the same path.",
        hint=f"Move {_readable(other)} to a path of its own, such as static/myapp/{file.name}.",
        id="common.E011",
    )


def _readable(path: Path) -> str:
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()
