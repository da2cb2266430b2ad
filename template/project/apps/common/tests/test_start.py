"""Errors at the start, and of a process from which no client can be reached."""

import os
import subprocess
import sys

import pytest

PUBLISH = """
import django
django.setup()
from apps.common.tests.test_broadcast_transactions import Note, StreamsUnavailable, broadcast
for _ in range(2):
    broadcast("notes", Note())
try:
    broadcast("notes", Note(), strict=True)
except StreamsUnavailable as error:
    print("strict:", error)
"""


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"DEBUG": "true", "REDIS_URL": "", "DJANGO_SETTINGS_MODULE": "config.settings", **environment}
    return subprocess.run([sys.executable, *command], env={**os.environ, **variables}, capture_output=True, text=True)


def test_a_process_whose_broadcast_no_client_can_receive_says_so():
    finished = run("-c", PUBLISH)
    assert finished.stderr.count("Set REDIS_URL") == 1, finished.stderr
    assert finished.stdout.startswith("strict: A broadcast reaches no client")


def test_without_a_redis_url_nothing_imports_redis():
    finished = run("-c", "import sys, config.asgi; print('redis' in sys.modules)")
    assert finished.stdout == "False\n", finished.stderr


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("localhost:6379", "does not begin with redis://"),
        ("127.0.0.1", "does not begin with redis://"),
        ("http://localhost:6379", "does not begin with redis://"),
        ("redis://:se/cret@localhost:6379/0", "%2F"),
        ("redis://:se#cret@localhost:6379/0", "%23"),
        ("redis://localhost:port/0", "cannot be read"),
        ("redis://localhost:6379/name", "cannot be read"),
        ("redis://[::1:6379/0", "cannot be read"),
        ("redis://", "cannot be read"),
        ("unix://", "cannot be read"),
        ("redis://localhost:6379/0?wait=5", "unknown or wrong"),
        ("redis://localhost:6379/0?socket_timeout=x", "socket_timeout"),
    ],
)
def test_a_wrong_redis_url_is_refused_at_start(url, fix):
    finished = run("-c", "import django; django.setup()", REDIS_URL=url)
    assert "ImproperlyConfigured: REDIS_URL" in finished.stderr
    assert fix in finished.stderr
    assert "cret" not in finished.stderr


def test_several_processes_without_redis_are_refused():
    finished = run("-m", "apps.common.server", WORKERS="2")
    assert "WORKERS=2 needs REDIS_URL" in finished.stderr
