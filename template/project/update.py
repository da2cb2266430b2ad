# /// script
# requires-python = ">=3.11"
# dependencies = ["copier>=9.19.1,<10"]
# ///
"""Brings the project, then each of its features, to the newest version of their template: one commit each.

It runs the template's own updater, of the version that is asked for, so that what is fixed there reaches every project.
`uv run update.py --help` lists what it can do. uv gets Copier for it alone: it works amid conflict markers, too.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

# The second belongs to a project into which only the common part was copied.
PROJECT_ANSWERS = (".copier-answers.yml", ".copier-answers.channels.yml")
AGAIN = "then run update.py again."


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--to", metavar="VERSION")
    version = parser.parse_known_args()[0].to
    os.chdir(Path(__file__).resolve().parent)
    if not find_spec("copier"):
        sys.exit('Copier is not installed. With uv: uv run update.py; or else: pip install "copier>=9.19.1,<10"')
    if not shutil.which("git"):
        sys.exit(f"An update needs git. Install it, {AGAIN}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        fetch_updater(recorded_template(), version, folder)
        sys.path.insert(0, folder)
        code: int = import_module("updater").main()
        return code


def recorded_template() -> str:
    """Its address; read from that line alone, as an answers file may have conflict markers."""
    import yaml

    for file in map(Path, PROJECT_ANSWERS):
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        address = re.search(r"^_src_path: .*(\n +.*)*", text, re.MULTILINE)
        if address and re.search(r"^layout: django-channels\s*$", text, re.MULTILINE):
            return str(yaml.safe_load(address[0])["_src_path"])
    sys.exit(f"There is no {PROJECT_ANSWERS[0]} beside update.py, which holds the version. Restore it.")


def fetch_updater(template: str, version: str | None, folder: str) -> None:
    import copier
    from copier.errors import CopierError

    try:
        copier.run_copy(template, folder, data={"updater": True}, vcs_ref=version, defaults=True, quiet=True)
        Path(folder, "updater.py").resolve(strict=True)
    except (CopierError, ValueError, OSError) as error:
        which = f" or has no version {version}" if version else ""
        fix = f"If it moved, write its new address as _src_path in every answers file, commit, {AGAIN}"
        why = (getattr(error, "stderr", "") or str(error)).strip()
        sys.exit(f"The template {template} cannot be reached{which}; nothing was changed. {fix}\n{why}")


if __name__ == "__main__":
    sys.exit(main())
