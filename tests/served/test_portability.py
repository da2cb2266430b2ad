"""Generated projects work on Windows and macOS too, as far as that can be checked on one system."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.scaffold.test_names import accepted_features
from tests.template import ROOT, Template, paths

pytestmark = pytest.mark.turn(5)

RESERVED = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}
# Windows allows 260 characters in all; this leaves 100 for the folder around the project.
MAX_CHARACTERS = 160

# Of the standard library, one thing that another system lacks.
LACKS = {"win32": "geteuid", "darwin": "memfd_create"}


@pytest.fixture(scope="module")
def project(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every option, and features of the shortest and the longest name."""
    project = template.project(tmp_path_factory.mktemp("portability") / "project", github=True, docker=True)
    template.feature("a", project)
    template.feature("z" * 40, project)
    return project


def test_every_path_is_one_on_windows_and_macos(project: Path) -> None:
    made = paths(project)
    assert len(made) > 100
    assert [path for path in made if not re.fullmatch(r"[\w./-]+", path, re.ASCII)] == []
    parts = {part for path in made for part in path.split("/")}
    assert {part for part in parts if part.endswith(".") or part.split(".")[0].lower() in RESERVED} == set()
    assert {path for path in made if len(path) > MAX_CHARACTERS} == set()


def test_no_two_paths_differ_by_case_alone(project: Path) -> None:
    everything = [path.relative_to(project).as_posix() for path in project.rglob("*")]
    assert len({path.lower() for path in everything}) == len(everything) > 100


def test_refuses_features_that_windows_could_not_hold() -> None:
    assert accepted_features(RESERVED | {"com", "lpt10", "nullable"}) == {"com", "lpt10", "nullable"}


@pytest.mark.parametrize("system", LACKS)
def test_uses_nothing_that_is_missing_on(system: str, project: Path, tools: Tools) -> None:
    (project / "probe.py").write_text(f"from os import {LACKS[system]}\n")
    printed = tools.run(project, "sh", "-c", f"python -m mypy --platform {system} . || true")
    [error] = [line for line in printed.splitlines() if "error:" in line]
    assert error.startswith(f'probe.py:1: error: Module "os" has no attribute "{LACKS[system]}"')
    assert re.search(r"checked \d\d+ source files", printed)


def recipes(project: Path) -> dict[str, list[str]]:
    """The commands of each target of the Makefile, without what make adds to them."""
    makefile = (project / "Makefile").read_text()
    [targets] = re.findall(r"^\.PHONY: (.+)$", makefile, re.M)
    found = {}
    for target in targets.split():
        [recipe] = re.findall(rf"^{target}:.*\n((?:(?:\t|ifdef|else|endif).*\n)*)", makefile, re.M)
        found[target] = re.findall(r"\$\((?:UV\) run|RUN\)) (.+)", recipe)
    return found


def test_every_target_of_the_makefile_is_explained_without_make(project: Path) -> None:
    readme = (project / "README.md").read_text()
    targets = recipes(project)
    assert re.findall(r"^\| `make (\w+)` \| ", readme, re.M) == ["run", "test", "check", "update"]
    assert [target for target in targets if f"`make {target}`" not in readme] == ["help"]
    options = r" --no-audit| --no-fund| --verbosity 0| \$\(PORT\)"
    commands = {re.sub(options, "", command) for recipe in targets.values() for command in recipe}
    assert len(commands) > 10
    assert {command for command in commands if command not in readme} == set()


SETS_A_VARIABLE = r"\b[A-Z_]+=\S+ (?:[A-Z_]+=\S+ )*(?:uv|python)\b"


@pytest.mark.parametrize("page", ["README.md.jinja", "docs/websockets.md", "docs/existing-project.md"])
def test_what_only_a_shell_of_posix_understands_is_explained(page: str) -> None:
    text = " ".join((ROOT / "template/project" / page).read_text(encoding="utf-8").split())
    assert re.search(SETS_A_VARIABLE, text)
    assert re.search(r"[Oo]n Windows,? set [\w ]+ first, in PowerShell with `\$env:", text)


def test_scripts_of_npm_need_no_shell_of_posix(project: Path) -> None:
    scripts = json.loads((project / "package.json").read_text())["scripts"]
    word, words = r"[\w@./-]+", r"( [\w@./:=-]+)*"
    plain = re.compile(f"{word}{words}( && {word}{words})*")
    assert {name for name, script in scripts.items() if not plain.fullmatch(script)} == set()
    assert not plain.fullmatch("CI=1 vitest run 'apps/**'")
