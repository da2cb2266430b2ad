"""What is generated works on Windows and macOS too, as far as it can be told from here."""

import json
import re
from pathlib import Path

import pytest
from conftest import Tools
from scaffold import Template, paths
from test_names import accepted_features

pytestmark = pytest.mark.turn(5)

RESERVED = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}
# Windows allows 260 characters in all; this leaves 100 for the folder around the project.
MOST_CHARACTERS = 160

# What another system lacks, by file, and why it is never reached there.
ON_THIS_SYSTEM_ALONE = {
    "win32": {
        ("apps/common/testing/chromium.py", "geteuid"): "asked only where there is an apt-get",
        ("apps/common/testing/process.py", "SIGKILL"): "tests that crash a server need Linux or macOS",
        ("apps/common/testing/process.py", "SIGSTOP"): "tests that suspend a server need Linux or macOS",
        ("apps/common/testing/process.py", "SIGCONT"): "as before",
        ("apps/common/testing/valkey.py", "SIGSTOP"): "there is no Valkey server for Windows",
        ("apps/common/testing/valkey.py", "SIGCONT"): "as before",
    },
    "darwin": {},
}


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
    assert {path for path in made if len(path) > MOST_CHARACTERS} == set()


def test_no_two_paths_differ_by_case_alone(project: Path) -> None:
    everything = [path.relative_to(project).as_posix() for path in project.rglob("*")]
    assert len({path.lower() for path in everything}) == len(everything) > 100


def test_refuses_features_that_windows_could_not_hold() -> None:
    assert accepted_features(RESERVED | {"com", "lpt10", "nullable"}) == {"com", "lpt10", "nullable"}


@pytest.mark.parametrize("system", ON_THIS_SYSTEM_ALONE)
def test_uses_nothing_that_is_missing_on(system: str, project: Path, tools: Tools) -> None:
    printed = tools.run(project, "sh", "-c", f"python -m mypy --platform {system} . || true")
    assert re.search(r"checked \d\d+ source files|in \d\d+ source files", printed)
    missing = re.findall(r"^(\S+?):\d+: error: Module has no attribute \"(\w+)\"", printed, re.M)
    assert set(missing) == set(ON_THIS_SYSTEM_ALONE[system])
    assert printed.count("error:") == len(missing)


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
    assert re.findall(r"^\| `make (\w+)` \| `", readme, re.M) == [target for target in targets if target != "help"]
    options = r" --no-audit| --no-fund| --verbosity 0| \$\(PORT\)"
    commands = {re.sub(options, "", command) for recipe in targets.values() for command in recipe}
    assert len(commands) > 10
    assert {command for command in commands if command not in readme} == set()


def test_scripts_of_npm_need_no_shell_of_posix(project: Path) -> None:
    scripts = json.loads((project / "package.json").read_text())["scripts"]
    word, words = r"[\w@./-]+", r"( [\w@./:=-]+)*"
    plain = re.compile(f"{word}{words}( && {word}{words})*")
    assert {name for name, script in scripts.items() if not plain.fullmatch(script)} == set()
    assert not plain.fullmatch("CI=1 vitest run 'apps/**'")
