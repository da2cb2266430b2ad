"""The features of earlier releases work in a project of the work tree: an owner's feature is never updated."""

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.template import ROOT, Template, snapshot
from tests.updates.freeze import FEATURE, RELEASED, freeze


def number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def released() -> list[str]:
    return re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.M)


pytestmark = pytest.mark.turn(5)

FROZEN = sorted((folder.name for folder in RELEASED.iterdir() if folder.is_dir()), key=number)
NEWEST = FROZEN[-1]


@pytest.fixture(scope="module", params=[version for version in FROZEN if number(version)[0] == number(NEWEST)[0]])
def project(request: pytest.FixtureRequest, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the work tree, with the feature of an earlier release."""
    project = Path(shutil.copytree(plain, tmp_path_factory.mktemp("compatibility") / "project"))
    shutil.copytree(RELEASED / request.param / FEATURE, project / "apps" / FEATURE)
    return project


@pytest.mark.parametrize("command", ["python manage.py check", "python -m mypy .", "tsc", "biome check"])
def test_a_released_feature_satisfies(command: str, project: Path, tools: Tools) -> None:
    tools.run(project, *command.split())


def test_a_released_feature_passes_its_tests_of_the_server_and_in_a_browser(project: Path, tools: Tools) -> None:
    tools.run(project, "python", "-m", "apps.common.testing.chromium")
    printed = tools.run(project, "python", "-m", "pytest", "-v", f"apps/{FEATURE}")
    for module in ("test_consumer", "test_browser"):
        assert re.search(rf"{module}\.py::\w+ PASSED", printed)
    assert "SKIPPED" not in printed


def test_a_released_feature_passes_its_tests_of_the_service(project: Path, tools: Tools) -> None:
    assert "Test Files  1 passed (1)" in tools.run(project, "vitest", "run", f"apps/{FEATURE}")


def test_a_base_that_changed_is_noticed(project: Path, tools: Tools, tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("node_modules", "__pycache__", ".*_cache")
    broken = Path(shutil.copytree(project, tmp_path / "broken", ignore=ignore))
    for path in broken.glob("apps/common/websockets/*.py"):
        path.write_text(re.sub(r"\bgroup_name\b", "group", path.read_text()))
    with pytest.raises(AssertionError, match="exited"):
        tools.run(broken, "python", "-m", "pytest", "-q", f"apps/{FEATURE}/tests/test_consumer.py")


def test_every_release_of_the_changelog_is_frozen() -> None:
    assert sorted({*released(), NEWEST}, key=number) == FROZEN


# Until the changelog names it, it is the next release; then it stays as it is.
if NEWEST not in released():

    def test_the_next_release_is_frozen_as_it_is_rendered(template: Template, tmp_path: Path) -> None:
        freeze(template, tmp_path, tmp_path / "now")
        assert snapshot(tmp_path / "now") == snapshot(RELEASED / NEWEST / FEATURE), (
            f"python -m tests.updates.freeze {NEWEST}"
        )
