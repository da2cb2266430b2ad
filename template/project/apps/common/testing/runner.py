"""`manage.py test` runs pytest: the settings name this runner, as pytest-django's documentation proposes."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any


class PytestRunner:
    def __init__(self, *, verbosity: int = 1, failfast: bool = False, **_: Any) -> None:
        self.options = [f"--verbosity={verbosity - 1}", *(["--exitfirst"] if failfast else [])]

    def run_tests(self, test_labels: Sequence[str], **_: Any) -> int:
        """Pytest's exit code: 0 if there were tests, and all passed.

        test_labels: folders, files or dotted names of modules: apps.orders
        """
        # In a process of its own: pytest rewrites the modules of its plugins, which must not be imported yet.
        command = [sys.executable, "-m", "pytest", *self.options, "--pyargs", *test_labels]
        return subprocess.run(command, check=False).returncode
