"""Every import in the JavaScript of a local app leads to a file."""

import re
from difflib import get_close_matches
from posixpath import basename, dirname, relpath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import is_valid_path

from apps.common.checks import javascript
from apps.common.checks.scripts import AppConfigs, Script, local_scripts

STATIC = "/static/"
# Where a file lies, instead of where it is collected to: /static/apps/common/…, /static/common/….
APP_FOLDER = re.compile(rf"{STATIC}(?:apps/\w+|common)/(?:static/)?")


@register(Tags.staticfiles)  # collectstatic runs these, too, and stops
def check_imports(app_configs: AppConfigs = None, **kwargs: Any) -> list[CheckMessage]:
    files = {path.replace("\\", "/") for finder in get_finders() for path, _storage in finder.list([])}
    return [
        _error(script, literal, files)
        for script in local_scripts(app_configs)
        for literal in javascript.imports(script.source)
        if not _is_found(literal.text, script.path, files)
    ]


def _is_found(specifier: str, importer: str, files: set[str]) -> bool:
    if urlsplit(specifier).netloc or urlsplit(specifier).scheme:
        return True  # another site's
    path = _path(specifier, importer)
    if roots := [root for root in (STATIC, settings.STATIC_URL) if path.startswith(root)]:
        return any(path.removeprefix(root) in files for root in roots)
    return bool(is_valid_path(path))  # a view's


def _error(script: Script, literal: javascript.Literal, files: set[str]) -> Error:
    path = _path(literal.text, script.path)
    folder = APP_FOLDER.match(path)
    right = _nearest(path[folder.end() :] if folder else path.removeprefix(STATIC), files)
    if right and literal.text.startswith("."):
        right = _relative(right, script.path)
    return Error(
        f"{literal.text!r} names the folder of an app, not the path that its static files are collected to."
        if folder
        else f"{literal.text!r} is no static file.",
        hint=f"Did you mean {right!r}?" if right else "Static files lie in the folder static/ of an app.",
        obj=script.place(literal.line),
        id="common.E002" if folder else "common.E001",
    )


def _path(specifier: str, importer: str) -> str:
    if specifier.startswith(("/", "./", "../")):  # a bare name is looked up in the import map alone, which has none
        specifier = urljoin(STATIC + importer, specifier)
    return unquote(urlsplit(specifier).path)


def _nearest(path: str, files: set[str]) -> str | None:
    scripts = [file for file in files if file.endswith((".js", ".mjs"))]
    of_that_name = [script for script in scripts if basename(script) == basename(path)]
    nearest = get_close_matches(path, of_that_name, n=1) or get_close_matches(path, scripts, n=1)
    return STATIC + nearest[0] if nearest else None


def _relative(path: str, importer: str) -> str:
    relative = relpath(path, dirname(STATIC + importer))
    return relative if relative.startswith(".") else f"./{relative}"
