"""The CPU of a start: of a project's processes beside a bare Django project, and of the template's commands:
`python benchmarks/start.py`.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from run import PRODUCTION, TEMPLATE, prepare, uv

# Each imports more than the one before it; the first request is of a page that both have.
FIRST_REQUEST = (
    "; from django.test import Client; "
    "assert Client(SERVER_NAME='127.0.0.1').get('/admin/login/', secure=True).status_code == 200"
)
FEATURE = ["-d", "feature=orders", "-d", "actions=place_order item:str:200 event=order_placed"]
BARE = "from bare.settings import *\nINSTALLED_APPS += ['channels']\nASGI_APPLICATION = 'bare.asgi.application'\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        project, _ = prepare(Path(folder) / "project")
        bare = start_bare(project, Path(folder) / "bare")
        python = str(project / ".venv/bin/python")
        setup = "import {}.asgi"
        commands: dict[str, tuple[list[str], Path]] = {
            "Python alone": ([python, "-c", ""], project),
            "a bare Django project with Channels: asgi.py": ([python, "-c", setup.format("bare")], bare),
            "… and its first request": ([python, "-c", setup.format("bare") + FIRST_REQUEST], bare),
            "a generated project: asgi.py": ([python, "-c", setup.format("config")], project),
            "a generated project: its first request": ([python, "-c", setup.format("config") + FIRST_REQUEST], project),
            "manage.py check": ([python, "manage.py", "check"], project),
            "import copier": ([sys.executable, "-c", "import copier.cli"], project),
            "copier copy: a project": (copy(), Path(folder)),
            "copier copy: a feature": (copy(*FEATURE), project),
        }
        used: dict[str, list[float]] = {what: [] for what in commands}
        for turn in range(turns + 1):  # the first one compiles
            for what, (command, cwd) in commands.items():
                target = [str(Path(folder) / f"copied{turn}")] if command == copy() else []
                seconds = cpu_of([*command, *target], cwd)
                if turn:
                    used[what].append(seconds)
        print("| CPU, ms | median | least |\n|---|---:|---:|")
        for what, values in used.items():
            print(f"| {what} | {statistics.median(values) * 1e3:.0f} | {min(values) * 1e3:.0f} |")
        print("\n| import of a generated project's asgi.py, ms by package | |\n|---|---:|")
        for package, seconds in imports(python, project).most_common(8):
            print(f"| {package} | {seconds * 1e3:.0f} |")


def start_bare(project: Path, bare: Path) -> Path:
    """The project of `django-admin startproject`, with Channels."""
    bare.mkdir()
    uv(project, "run", "django-admin", "startproject", "bare", str(bare))
    (bare / "bare" / "with_channels.py").write_text(BARE)
    return bare


def copy(*arguments: str) -> list[str]:
    """The command line; its target is the working folder, or follows."""
    words = [str(Path(sys.executable).with_name("copier")), "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD"]
    return [*words, "--overwrite", *arguments, str(TEMPLATE), *(["."] if arguments else [])]


def cpu_of(command: list[str], cwd: Path) -> float:
    """Seconds of the process and its children."""
    settings = "bare.with_channels" if cwd.name == "bare" else "config.settings"
    before = os.times()
    subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **PRODUCTION, "DJANGO_SETTINGS_MODULE": settings},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def imports(python: str, project: Path) -> Counter[str]:
    """Seconds of each package's own modules, the least of five."""
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [python, "-X", "importtime", "-c", "import config.asgi"],
            cwd=project,
            env={**os.environ, **PRODUCTION},
            check=True,
            capture_output=True,
            text=True,
        )
        own: Counter[str] = Counter()
        for microseconds, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)", done.stderr):
            own[name.split(".")[0]] += int(microseconds) / 1e6
        runs.append(own)
    return Counter({name: min(own[name] for own in runs) for name in runs[0]})


if __name__ == "__main__":
    main()
