"""A project with two features runs all its own tests, of all kinds, by its own Makefile."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.template import Template, paths, run

FEATURES = ["live_chat", "orders"]
# The newest series that each Python can run, as pyproject.toml.jinja allows it.
NEWEST_DJANGO = "6.1" if sys.version_info >= (3, 12) else "5.2"


def results(report: Path) -> tuple[Counter[str], set[str]]:
    """How many tests of each module passed, and which did not."""
    passed: Counter[str] = Counter()
    others: set[str] = set()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314
        if len(case):
            others.add(f"{case.attrib['classname']}::{case.attrib['name']}: {case[0].tag}")
        else:
            passed[case.attrib["classname"]] += 1
    return passed, others


@pytest.mark.turn(0)  # what it installs others wait for
def test_make_test_runs_tests_of_all_kinds(tools: Tools, tmp_path: Path) -> None:
    printed = run(tools.home, "make", "test", PYTEST_ADDOPTS=f"--junit-xml={tmp_path / 'report.xml'}")
    passed, others = results(tmp_path / "report.xml")
    assert others == set()
    for feature in FEATURES:
        for kind in ("consumer", "browser"):
            assert passed[f"apps.{feature}.tests.test_{kind}"] > 0
        assert re.search(rf"✓ apps/{feature}/tests/{feature}_websocket\.test\.js \(\d+ tests?\)", printed)
    assert re.search(r"Tests  +\d+ passed \(\d+\)", printed)
    assert "skipped" not in printed


@pytest.mark.turn(3)
def test_make_check_passes(tools: Tools) -> None:
    assert "System check identified no issues" in run(tools.home, "make", "check")


def test_make_test_passes_without_the_tests_of_the_base(
    template: Template, plain: Path, tools: Tools, tmp_path: Path
) -> None:
    """As an owner's project is made: with the tests of its features alone."""
    project = copy(plain, tmp_path)
    template.feature("orders", project)
    assert not (project / "apps/common/tests").exists()
    report = tmp_path / "report.xml"
    printed = tools.make(project, "test", f"--junit-xml={report}")
    passed, others = results(report)
    assert others == set()
    assert set(passed) == {"apps.orders.tests.test_consumer", "apps.orders.tests.test_browser"}
    assert "Test Files  1 passed (1)" in printed


def test_every_test_of_the_project_is_collected(cafe: Path, tools: Tools, tmp_path: Path) -> None:
    project = copy(cafe, tmp_path)
    written = [path for path in paths(project) if re.search(r"/test_\w+\.py$|\.test\.js$", path)]
    assert len(written) >= 8
    collected = tools.run(project, "python", "-m", "pytest", "--collect-only", "-q")
    listed = tools.run(project, "vitest", "list", "--filesOnly")
    assert [path for path in written if path not in collected + listed] == []


def test_the_newest_django_of_this_python_is_used(tools: Tools) -> None:
    assert tools.run(tools.home, "python", "-m", "django", "--version").startswith(NEWEST_DJANGO)


def other_end() -> tuple[str, str] | None:
    """The other end of what is supported, if this machine can run it: a Python, and a series of Django."""
    if NEWEST_DJANGO != "5.2":
        return sys.executable, "5.2"
    newer = (shutil.which(f"python3.{minor}") for minor in (14, 13, 12))
    # A version manager's shim may be there for a Python that is not chosen.
    works = (path for path in newer if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0)
    return next(((path, "6.1") for path in works), None)


# Defined where there is another end: nothing is skipped.
if OTHER_END := other_end():

    @pytest.mark.turn(2)
    def test_the_other_end_of_what_is_supported_passes_too(cafe: Path, tools: Tools, tmp_path: Path) -> None:
        assert OTHER_END
        python, django = OTHER_END
        project = copy(cafe, tmp_path)
        command = ["env", f"UV_PROJECT_ENVIRONMENT={tmp_path / 'environment'}", f"UV_PYTHON={python}"]
        command += ["uv", "run", "--quiet", "--with", f"django=={django}.*"]
        assert run(project, *command, "python", "-m", "django", "--version").startswith(django)
        report = tmp_path / "report.xml"
        run(project, *command, "python", "-m", "pytest", "-q", f"--junit-xml={report}")
        passed, others = results(report)
        assert others == set()
        assert all(passed[f"apps.{feature}.tests.test_browser"] for feature in FEATURES)


@pytest.mark.parametrize("feature", FEATURES)
def test_removing_the_folder_removes_the_feature(feature: str, cafe: Path, tools: Tools, tmp_path: Path) -> None:
    project = copy(cafe, tmp_path)
    page = f'"/{feature.replace("_", "-")}/demo/"'
    assert page in home_page(project, tools)
    shutil.rmtree(project / "apps" / feature)
    assert page not in home_page(project, tools)
    tools.run(project, "python", "manage.py", "check")


def test_removing_a_feature_breaks_no_test_of_another(cafe: Path, tools: Tools, tmp_path: Path) -> None:
    project = copy(cafe, tmp_path)
    shutil.rmtree(project / "apps/live_chat")
    tools.run(project, "python", "-m", "mypy", ".")
    tools.run(project, "biome", "check")
    tools.run(project, "tsc")
    assert re.search(r"\d+ passed", tools.run(project, "python", "-m", "pytest", "-q", "apps/orders"))
    assert "Test Files  1 passed (1)" in tools.run(project, "vitest", "run", "apps/orders")


def test_a_project_without_features_passes_its_checks(cafe: Path, tools: Tools, tmp_path: Path) -> None:
    project = copy(cafe, tmp_path)
    for feature in FEATURES:
        shutil.rmtree(project / "apps" / feature)
    tools.run(project, "python", "manage.py", "check")
    assert "demo/" not in home_page(project, tools)


def copy(project: Path, folder: Path) -> Path:
    ignore = shutil.ignore_patterns(".venv", "node_modules", "__pycache__", ".*_cache", "db.sqlite3", "uv.lock")
    return Path(shutil.copytree(project, folder / "project", ignore=ignore))


def home_page(project: Path, tools: Tools) -> str:
    get = "from django.test import Client; print(Client(headers={'host': 'localhost'}).get('/').content.decode())"
    tools.run(project, "python", "manage.py", "migrate", "--verbosity", "0")
    return tools.run(project, "python", "manage.py", "shell", "-c", get)
