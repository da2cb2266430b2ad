"""Finds a Chromium for tests in a browser, or installs one: `python -m apps.common.testing.chromium`.

Searched in this order: the variable CHROMIUM, a browser of the system, the one that Playwright keeps. Installed from
Playwright, or with apt (as root, on Debian and its derivatives).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge"]
MISSING = (
    "Chromium is missing: run `make browser` (or `uv run python -m apps.common.testing.chromium`), set CHROMIUM to its "
    "path, or leave browser tests out with `make test-fast` (or `pytest -m 'not browser'`)."
)
FAILED = (
    "No Chromium could be installed. Install one of the system's packages (chromium, google-chrome), run "
    "`uv run playwright install --with-deps chromium`, or set CHROMIUM to the program's path."
)


def find() -> str | None:
    """The path of a Chromium, or None."""
    candidates = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]
    found = next((path for path in candidates if path and Path(path).exists()), None) or _of_playwright()
    return found if Path(found).is_file() else None


def find_or_install() -> str:
    """The path of a Chromium, which is installed if there is none. Exits with a solution if installation fails."""
    for install in (None, _install_from_playwright, _install_from_apt):
        if install:
            install()
        if path := find():
            return path
    sys.exit(FAILED)


def _of_playwright() -> str:
    # In a process of its own, which prints nothing where the driver lacks a library.
    script = "from playwright.sync_api import sync_playwright as p\nwith p() as it: print(it.chromium.executable_path)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _install_from_playwright() -> None:
    print("Installing a Chromium from Playwright …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


def _install_from_apt() -> None:
    if sys.platform == "win32" or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    print("Installing a Chromium with apt …", file=sys.stderr)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
    # libatomic1: Playwright's own Node.js needs it, and a small system lacks it.
    packages = ["chromium", "libatomic1"]
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=False, env=quiet)


if __name__ == "__main__":
    print(find_or_install())
