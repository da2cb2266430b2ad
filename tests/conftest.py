"""The template, and a project whose tools (Python and Node packages) every rendered project shares."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from scaffold import Template, clone_work_tree, commit, run

# Git asks nobody, and reads nothing of the machine's owner.
os.environ.update(GIT_TERMINAL_PROMPT="0", GIT_CONFIG_GLOBAL=os.devnull)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The template as version 1.0.0. A test that changes it takes `own_template`."""
    return clone_work_tree(tmp_path_factory.mktemp("template"))


@pytest.fixture
def own_template(template: Template, tmp_path: Path) -> Template:
    return Template(Path(shutil.copytree(template.path, tmp_path / "template")))


@pytest.fixture(scope="session")
def cafe(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the README: two features, and a name with a space and an accent."""
    project = template.project(tmp_path_factory.mktemp("cafe") / "Café Orders", project_name="Café Orders")
    template.feature("orders", project, actions="place_order, cancel_order", events="order_placed, order_cancelled")
    template.feature("live_chat", project, access="public", actions="send_line", events="line_sent")
    return project


@pytest.fixture(scope="session")
def first(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two features, of version 1.0.0."""
    project = template.project(tmp_path_factory.mktemp("first") / "project")
    template.feature("orders", project, actions="place_order", events="order_placed")
    template.feature("live_chat", project)
    return project


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

    def run(self, project: Path, *command: str) -> str:
        if not (project / "node_modules").exists():
            (project / "node_modules").symlink_to(self.home / "node_modules")
        programs = [self.home / ".venv/bin", self.home / "node_modules/.bin", os.environ["PATH"]]
        return run(project, *command, PATH=os.pathsep.join(map(str, programs)))


@pytest.fixture(scope="session")
def tools(cafe: Path) -> Tools:
    run(cafe, "make", "install")
    return Tools(cafe)
