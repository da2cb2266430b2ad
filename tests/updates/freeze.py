"""Keeps the feature that the work tree makes, as that of a release: python -m tests.updates.freeze 1.1.0"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.template import ORDER_FEATURE, ROOT, Template, clone_work_tree

RELEASED = ROOT / "tests/updates/released"
FEATURE = "orders"


def freeze(template: Template, folder: Path, destination: Path) -> None:
    """Without its answers, which say where the template lay. The project around it is made in the folder."""
    feature = template.feature(FEATURE, template.project(folder / "project"), **ORDER_FEATURE)
    shutil.copytree(feature, destination, ignore=shutil.ignore_patterns(".copier-answers.yml"))


def main(version: str) -> None:
    destination = RELEASED / version / FEATURE
    shutil.rmtree(destination, ignore_errors=True)
    with TemporaryDirectory() as folder:
        freeze(clone_work_tree(Path(folder, "template")), Path(folder), destination)


if __name__ == "__main__":
    main(*sys.argv[1:])
