"""A generated project with the lowest versions that it allows, by its behaviour."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.conftest import Shared, Tools
from tests.served.test_generated import FEATURES, copy, results
from tests.template import ROOT, Template, paths, run

# Clients that stop reading, fall silent, have gone or send too much; sessions; the import map; contracts and hashes.
FILES = [
    *(
        "access",
        "bounds",
        "broadcast_transactions",
        "context",
        "contract_file",
        "csp",
        "database",
        "import_map",
        "input",
        "kit",
    ),
    *("page_user", "redis", "redis_lag_check", "redis_rights", "registry", "revocation", "streams", "uvicorn"),
]
# A store that is cut off, replaced, demoted or hangs.
FAILOVER = [
    "a_broadcast_follows_to_the_new_primary",
    "a_command_follows_to_the_new_primary",
    "a_process_that_only_listens_follows_too",
    "a_half_open_connection_loses_no_broadcast",
    "a_connection_that_the_server_closed_loses_no_broadcast",
    "a_half_open_subscription_is_replaced",
    "a_broadcast_whose_answer_was_lost_is_kept_once",
]


@pytest.fixture(scope="session")
def lowest(cafe: Path, tools: Tools, shared: Shared) -> Path:
    """A project with its own environment of the lowest versions. A test that changes it copies it first."""

    def make(folder: Path) -> None:
        project = copy(cafe, folder)
        run(project, "uv", "sync", "--quiet", "--python", sys.executable, "--resolution", "lowest-direct")

    return shared.once("lowest", make) / "project"


def requirements(pyproject: Path) -> dict[str, Requirement]:
    """The dependencies and the dev group of a pyproject.toml."""
    contents = tomllib.loads(pyproject.read_text())
    named = [*contents["project"].get("dependencies", []), *contents["dependency-groups"]["dev"]]
    return {requirement.name: requirement for requirement in map(Requirement, named)}


def lower_bound(requirement: Requirement) -> Version:
    [bound] = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
    return bound


@pytest.mark.turn(2)
def test_clients_stores_and_servers_behave_as_with_the_newest(lowest: Path, tmp_path: Path) -> None:
    installed = json.loads(run(lowest, "uv", "pip", "list", "--quiet", "--format", "json"))
    versions = {package["name"].lower(): Version(package["version"]) for package in installed}
    bounds = {name: lower_bound(requirement) for name, requirement in requirements(lowest / "pyproject.toml").items()}
    assert len(bounds) > 15
    assert {name: versions[name] for name in bounds} == bounds

    tests = [f"apps/common/tests/test_{name}.py" for name in FILES]
    failover = [f"apps/common/tests/test_redis_failover.py::test_{name}" for name in FAILOVER]
    report = tmp_path / "report.xml"
    command = (lowest / ".venv/bin/python", "-m", "pytest", "-q", f"--junit-xml={report}")
    run(lowest, *command, *tests, *failover, *(f"apps/{feature}" for feature in FEATURES))
    passed, others = results(report)
    assert others == set()
    assert {path.replace("/", ".").removesuffix(".py") for path in tests} <= set(passed)
    assert passed["apps.common.tests.test_redis_failover"] >= len(FAILOVER)
    assert all(passed[f"apps.{feature}.tests.test_{kind}"] for feature in FEATURES for kind in ("consumer", "browser"))


@pytest.mark.turn(3)
def test_tools_find_nothing_wrong(lowest: Path) -> None:
    for tool in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "."], ["lint-imports"]):
        run(lowest, lowest / ".venv/bin" / tool[0], *tool[1:])
    assert "identified no issues" in run(lowest, lowest / ".venv/bin/python", "manage.py", "check")


@pytest.mark.turn(3)
def test_the_lowest_copier_makes_the_same_files(lowest: Path, template: Template, plain: Path, tmp_path: Path) -> None:
    bin, project = lowest / ".venv/bin", tmp_path / "project"
    version = run(lowest, bin / "copier", "--version").split()[-1]
    assert f'_min_copier_version: "{version}"' in (ROOT / "copier.yml").read_text()
    assert requirements(ROOT / "pyproject.toml")["copier"].specifier.contains(version)
    run(tmp_path, bin / "copier", "copy", "--quiet", "--defaults", template.path, project)
    assert paths(project) == paths(plain)
    assert [path for path in paths(plain) if (project / path).read_bytes() != (plain / path).read_bytes()] == []
    run(project, bin / "python", "manage.py", "startfeature", "orders", "--action", "place_order")
    assert "class PlaceOrder" in (project / "apps/orders/messages.py").read_text()
    assert "identified no issues" in run(project, bin / "python", "manage.py", "check")


@pytest.mark.turn(4)
def test_the_lowest_packages_of_node_pass_tests_and_checks(cafe: Path, tools: Tools, tmp_path: Path) -> None:
    project = copy(cafe, tmp_path)
    package = project / "package.json"
    package.write_text(package.read_text().replace('": "^', '": "'))
    tools.node(project, "npm", "install", "--silent", "--no-audit", "--no-fund")
    installed = json.loads(tools.node(project, "npm", "ls", "--json"))["dependencies"]
    named = json.loads(package.read_text())["devDependencies"]
    assert {name: found["version"] for name, found in installed.items()} == named
    assert re.search(r"Tests  +\d+ passed \(\d+\)", tools.node(project, "npm", "test"))
    tools.node(project, "npm", "run", "check")


@pytest.mark.parametrize(
    "path", ["docs/existing-project.md", "update.py", "apps/common/management/scaffold.py"], ids=lambda path: path
)
def test_bounds_are_the_same_wherever_they_are_named(path: str, cafe: Path) -> None:
    bounds = requirements(cafe / "pyproject.toml")
    named = re.findall(r'"([\w-]+>=[\w.,<]+)"', (ROOT / "template/project" / path).read_text())
    assert named
    assert {text for text in named if (found := Requirement(text)).specifier != bounds[found.name].specifier} == set()
