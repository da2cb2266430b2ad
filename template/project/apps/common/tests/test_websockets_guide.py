"""docs/websockets.md is true: its code runs as one feature, its commands exist, its figures are those of the source.

websockets_guide.test.js runs its JavaScript in Node.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from apps.common.features import APPS_DIR
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.messages import PROTOCOL_TYPES, RESERVED_TYPES
from apps.common.websockets.protocol import CloseCode
from apps.common.websockets.streams import base as streams

ROOT = APPS_DIR.parent
COMMON = APPS_DIR / "common"
GUIDE = (ROOT / "docs/websockets.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", GUIDE, re.MULTILINE)
PATH = re.compile(r"(?:#|//|\{#) (apps/tickets/\S+)")
EMPTY = ["apps/tickets/__init__.py", "apps/tickets/tests/__init__.py"]  # the guide says so in a sentence


def files():
    """The blocks that are files of the guide's feature, by path."""
    return {match[1]: code for language, code in BLOCKS if language != "shell" and (match := PATH.match(code))}


def commands():
    """The commands of the guide: in blocks, and in its sentences."""
    lines = [line for language, code in BLOCKS if language == "shell" for line in _joined(code).splitlines()]
    return lines + re.findall(r"`((?:uv run|npm|make) [^`]+)`", GUIDE)


def _joined(code):
    """A command that continues in the next line is one line."""
    return re.sub(r"\\\n\s*", "", code)


def table(head):
    """The rows of the table whose first column has this head."""
    [rows] = re.findall(rf"^\| {head} \|.*\n.*\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def figures(head):
    """{name: number} of a table."""
    return {name.strip("` "): number(default) for name, default, *_ in table(head)}


def number(text):
    """65,536 ms -> 65536"""
    return int(text.split()[0].replace(",", ""))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The apps of this project and the feature that the guide makes. Everything else is found where it is."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(APPS_DIR, folder / "apps", ignore=shutil.ignore_patterns("__pycache__", "tickets"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for path, code in (files() | dict.fromkeys(EMPTY, "")).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(code, encoding="utf-8")
    # A test database of its own, beside that of the tests which run now.
    (folder / "guide_settings.py").write_text(
        f'from {settings.SETTINGS_MODULE} import *\n\nDATABASES["default"]["NAME"] = "guide"\n', encoding="utf-8"
    )
    return folder


def run(project, *command):
    """The output and the exit code of a Python program, in the project with the guide's feature."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "guide_settings",
        "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)]),
        "REDIS_URL": "",
    }
    options = {"cwd": project, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([sys.executable, "-m", *command], check=False, **options)
    return done.stdout, done.returncode


def test_every_block_is_run():
    languages = {"python", "javascript", "html", "shell"}
    proxies = {"nginx", "haproxy", "caddyfile"}  # which the template's own tests run
    rights = {"redis"}  # test_redis_rights.py
    assert {language for language, _ in BLOCKS} == languages | proxies | rights
    assert len(files()) == sum(language in languages - {"shell"} for language, _ in BLOCKS)
    assert GUIDE.count("```") == 2 * len(BLOCKS)


def test_the_feature_works(project):
    printed, code = run(project, "pytest", "--override-ini", "addopts=", "-p", "no:cacheprovider", "apps/tickets")
    assert code == 0, printed
    tests = [path for path in files() if Path(path).name.startswith("test_")]
    assert tests
    assert [path for path in tests if path not in printed] == []


def test_the_checks_find_its_wrong_imports_and_nothing_else(project):
    [path] = [path for path in files() if path.endswith("wrong_imports.js")]
    lines = enumerate(files()[path].splitlines(), start=1)
    expected = {f"{path}:{line}: ({match[0]})" for line, text in lines if (match := re.search(r"common\.E\d+", text))}
    printed, code = run(project, "django", "check")
    assert code != 0
    assert expected
    assert set(re.findall(r"^\S+: \(\S+\.[EC]\d+\)", printed, re.MULTILINE)) == expected, printed


def test_its_page_has_the_import_map_before_any_script():
    page = files()["apps/tickets/templates/tickets/index.html"]
    assert 0 < page.index("{% import_map %}") < page.index("<script")


@pytest.mark.parametrize("line", commands())
def test_a_command_exists(line):
    words = shlex.split(line)
    while "=" in words[0]:
        assert is_known(words.pop(0).partition("=")[0])
    match words[2:] if words[:2] == ["uv", "run"] else words:
        case ["manage.py", command, *arguments]:
            parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
            parser.parse_args(arguments)
        case ["python", "-m", module]:
            assert find_spec(module)
        case ["pytest", *_]:
            assert find_spec("pytest")
        case ["make", target]:
            assert f"\n{target}:" in (ROOT / "Makefile").read_text()
        case ["npm", script]:
            assert script in json.loads((ROOT / "package.json").read_text())["scripts"]
        case ["update.py" as script, *_]:  # its options are the template's
            assert (ROOT / script).exists()
        case _:
            pytest.fail(f"Nothing checks {line!r}")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z][A-Z_]{3,})`", GUIDE))))
def test_a_setting_exists(name):
    assert is_known(name)


def is_known(name):
    sources = [ROOT / ".env.example", *COMMON.glob("*.py"), *COMMON.glob("static/js/components/*.js")]
    return hasattr(settings, name) or hasattr(streams, name) or any(name in path.read_text() for path in sources)


def test_the_limits_are_those_of_the_consumer():
    limits = figures("Consumer attribute")
    assert limits == {name: getattr(BaseWebSocketConsumer, name) for name in limits}


def test_the_options_are_those_of_the_service():
    source = (COMMON / "static/js/services/websocket.js").read_text()
    [defaults] = re.findall(r"const DEFAULTS = \{\n(.+?)\};", source, re.DOTALL)
    assert figures("Service option") == {name: int(value) for name, value in re.findall(r"(\w+): ([\d_]+),", defaults)}


def test_the_close_codes_are_those_of_the_server():
    assert {int(code): what.endswith("gives up") for code, _, what in table("Close code")} == {
        code: 4400 <= code < 4500 and code not in (CloseCode.SILENT, CloseCode.TOO_FAST) for code in CloseCode
    }


def test_the_messages_are_those_of_the_protocol():
    named = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in table("Message type"))))
    assert named | {"message"} == PROTOCOL_TYPES


def test_the_guide_has_every_reserved_name():
    [sentences] = re.findall(r"^These and `message` are reserved(.+?)\n\n", GUIDE, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`([a-z]+)`", sentences)) - {"startfeature"} == RESERVED_TYPES - PROTOCOL_TYPES


def test_the_bounds_are_those_of_the_streams():
    bounds = {name: number(figure) for name, figure in re.findall(r"`([A-Z_]+)`\s+\(([\d,]+)", GUIDE)}
    assert bounds
    assert bounds == {name: getattr(streams, name) for name in bounds}


def test_the_checks_are_those_of_the_project():
    checks = (COMMON / "checks/__init__.py").read_text()
    assert {name for name in re.findall(r"common\.[EW]\d{3}", GUIDE) if name not in checks} == set()
