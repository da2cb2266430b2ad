"""`manage.py check` in a project with an error: one cause is named once, and checking changes nothing."""

import os
import shutil
import subprocess
import sys

import pytest
from django.conf import settings

IGNORED = shutil.ignore_patterns(".venv", "node_modules", ".git", "*.sqlite3", "staticfiles", ".*_cache", "__pycache__")
FEATURE = {
    "__init__.py": "",
    "messages.py": "",
    "consumers.py": (
        "from apps.common.websockets import BaseWebSocketConsumer\n\n\nclass C(BaseWebSocketConsumer):\n    pass\n"
    ),
    "routing.py": (
        "from django.urls import path\n\nfrom .consumers import C\n\n"
        "websocket_urlpatterns = [path('ws/faulty/', C.as_asgi())]\n"
    ),
}


@pytest.fixture
def project(tmp_path):
    """A copy of this project with one more feature, "faulty"."""
    project = shutil.copytree(settings.BASE_DIR, tmp_path / "project", ignore=IGNORED)
    (project / "apps/faulty").mkdir()
    for name, text in FEATURE.items():
        (project / "apps/faulty" / name).write_text(text)
    return project


def manage(project, *arguments, **environment):
    known = {"PATH": os.environ["PATH"], "HOME": str(project), "DATABASE_URL": f"sqlite:///{project}/db.sqlite3"}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=project, env=known | environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("file", "text", "cause"),
    [
        ("routing.py", "websocket_urlpatterns = [", "apps/faulty/routing.py:1: (common.E017)"),
        ("routing.py", "from .nowhere import x", "No module named 'apps.faulty.nowhere'"),
        ("routing.py", "1 / 0", "ZeroDivisionError: division by zero"),
        ("routing.py", "", "has no attribute 'websocket_urlpatterns'"),
        (
            "consumers.py",
            FEATURE["consumers.py"].replace("pass", "silent_seconds = None"),
            "C.silent_seconds is seconds",
        ),
        ("consumers.py", FEATURE["consumers.py"].replace("pass", "groups = ['x']"), "C.groups has no effect here"),
    ],
)
@pytest.mark.parametrize("command", [["check"], ["check", "--deploy"]], ids=" ".join)
def test_one_cause_is_named_once(project, command, file, text, cause):
    (project / "apps/faulty" / file).write_text(text)
    done = manage(project, *command)
    printed = done.stdout + done.stderr
    assert done.returncode == 1
    assert printed.count(cause) == 1, printed
    assert printed.count("common.E017") == 1, printed
    assert "Traceback" not in printed


def test_a_command_that_serves_nothing_imports_nothing_of_a_server(project):
    (project / "apps/faulty/routing.py").write_text("1 / 0")
    done = manage(project, "migrate")
    assert done.returncode == 0, done.stdout + done.stderr


SETS_UP_TWICE = """
import logging

from config.settings import *


class Counting(logging.StreamHandler):
    def __init__(self):
        super().__init__()
        print("logging is set up")


LOGGING["handlers"]["console"]["class"] = "counting_settings.Counting"
"""


@pytest.mark.parametrize("command", [["check"], ["check", "--deploy"], ["migrate"]], ids=" ".join)
def test_checks_do_not_set_django_up_again(project, command):
    (project / "counting_settings.py").write_text(SETS_UP_TWICE)
    done = manage(project, *command, DJANGO_SETTINGS_MODULE="counting_settings")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("logging is set up") == 1
