"""The template, and a project whose tools (Python and Node packages) every rendered project shares.

Several processes run the tests: what all of them need, the first that asks makes.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.template import CHAT_FEATURE, ORDER_FEATURE, Template, clone_work_tree, commit, run

# Git prompts for nothing, and ignores the settings of the machine's owner.
os.environ.update(GIT_TERMINAL_PROMPT="0", GIT_CONFIG_GLOBAL=os.devnull)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests in a browser wait for much of their time."""
    return (os.cpu_count() or 1) + 1


LAST = 9
# Their tests share what takes long to make, and run in one process, one after the other.
TOGETHER = [
    *("test_chaos.py", "test_compatibility.py", "test_delivery.py", "test_django_project.py", "test_firefox.py"),
    *("test_mechanisms.py", "test_options.py", "test_portability.py", "test_servers.py"),
]


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if Path(module).name in TOGETHER else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest run first, so that no worker ends with one of them alone. Their marker says which is when."""
    items.sort(key=lambda item: mark.args[0] if (mark := item.get_closest_marker("turn")) else LAST)


@dataclass(frozen=True)
class Shared:
    """A folder of all workers."""

    folder: Path

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """The path of a file or folder in it, which the first to ask for it makes, while others that ask wait."""
        made = self.folder / name
        self.folder.mkdir(exist_ok=True)
        with Path(f"{made}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not Path(f"{made}.made").exists():
                shutil.rmtree(made, ignore_errors=True)  # of a worker that failed
                make(made)
                Path(f"{made}.made").touch()
        return made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Shared:
    own = tmp_path_factory.getbasetemp()
    return Shared((own.parent if hasattr(request.config, "workerinput") else own) / "shared")


@pytest.fixture(scope="session")
def template(shared: Shared) -> Template:
    """The template as version 1.0.0. A test that changes it takes `own_template`."""
    return Template(shared.once("template", clone_work_tree))


@pytest.fixture
def own_template(template: Template, tmp_path: Path) -> Template:
    return Template(Path(shutil.copytree(template.path, tmp_path / "template")))


@pytest.fixture(scope="session")
def plain(template: Template, shared: Shared) -> Path:
    """A project as `copier copy --defaults` makes it. A test that changes it copies it first, as with each below."""
    return shared.once("plain", template.project)


@pytest.fixture(scope="session")
def cafe(template: Template, shared: Shared) -> Path:
    """The project of the README: two features, and a name with a space and an accent; with the base's own tests."""

    def make(project: Path) -> None:
        template.project(project, project_name="Café Orders", base_tests=True)
        template.feature("orders", project, **ORDER_FEATURE)
        template.feature("live_chat", project, **CHAT_FEATURE)

    return shared.once("cafe", make)


@pytest.fixture(scope="session")
def first(template: Template, shared: Shared) -> Path:
    """A project with two features, of version 1.0.0."""

    def make(project: Path) -> None:
        template.project(project)
        template.feature("orders", project, **ORDER_FEATURE)
        template.feature("live_chat", project)

    return shared.once("first", make)


@pytest.fixture
def project(first: Path, template: Template, own_template: Template, tmp_path: Path) -> Path:
    """A copy of it, as if made from a template that the test may change; committed."""
    project = Path(shutil.copytree(first, tmp_path / "project"))
    for answers in project.rglob(".copier-answers.yml"):
        answers.write_text(answers.read_text().replace(str(template.path), str(own_template.path)))
    commit(project)
    return project


@dataclass(frozen=True)
class Tools:
    """The programs that a project's own `make install` installed, for use in other projects."""

    home: Path
    mypy_cache: Path

    def make(self, project: Path, target: str, pytest_options: str = "") -> str:
        """A target of the project's Makefile, which finds everything installed."""
        self._lend_packages(project)
        (project / "node_modules").touch()
        environment = str(self.home / ".venv")
        return run(
            *(project, "make", target),
            UV_PROJECT_ENVIRONMENT=environment,
            UV_NO_SYNC="1",
            PYTEST_ADDOPTS=pytest_options,
        )

    def run(self, project: Path, *command: str) -> str:
        self._lend_packages(project)
        if "mypy" in command and not (project / ".mypy_cache").exists():
            shutil.copytree(self.mypy_cache, project / ".mypy_cache")
        programs = [self.home / ".venv/bin", self.home / "node_modules/.bin", os.environ["PATH"]]
        return run(project, *command, PATH=os.pathsep.join(map(str, programs)))

    def node(self, folder: Path, *command: str | Path) -> str:
        """A command of Node.js, whose packages the folder has itself."""
        return run(folder, *command, PATH=f"{self.home / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")

    def _lend_packages(self, project: Path) -> None:
        """Links, in a folder in which programs may write without being in each other's way."""
        if (project / "node_modules").exists():
            return
        (project / "node_modules").mkdir()
        for package in (self.home / "node_modules").iterdir():
            if package.name not in (".vite", ".vite-temp", ".cache"):
                (project / "node_modules" / package.name).symlink_to(package)


@pytest.fixture(scope="session")
def tools(cafe: Path, shared: Shared) -> Tools:
    def make(folder: Path) -> None:
        home = folder / "Café Orders"
        shutil.copytree(cafe, home)
        run(home, "make", "install")
        run(home, ".venv/bin/python", "-m", "apps.common.testing.chromium")
        # mypy reads the packages once: what it found out goes along into each project.
        run(home, ".venv/bin/python", "-m", "mypy", ".")
        shutil.copytree(home / ".mypy_cache", folder / "mypy_cache")

    folder = shared.once("tools", make)
    return Tools(folder / "Café Orders", folder / "mypy_cache")
