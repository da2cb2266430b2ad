"""A later version reaches projects and features, and no edit of their owner's is lost."""

from pathlib import Path

import copier
import pytest

from tests.template import Template, changes, commit, edit, git, run

COMMON = "apps/common/websockets/protocol.py"


def update(project: Path, answers_file: str = ".copier-answers.yml") -> None:
    """The same as `copier update --defaults -a FILE`, without `--trust`."""
    copier.run_update(project, answers_file=answers_file, defaults=True, overwrite=True, quiet=True, unsafe=False)


def test_a_change_of_the_template_arrives(own_template: Template, project: Path) -> None:
    edit(own_template.path / "template/project" / COMMON, end="# newer\n")
    (own_template.path / "template/project/apps/common/added.py").touch()
    own_template.release("1.1.0")
    update(project)
    assert changes(project) == {"M .copier-answers.yml", f"M {COMMON}", "?? apps/common/added.py"}
    assert "_commit: 1.1.0" in (project / ".copier-answers.yml").read_text()


def test_edits_apart_from_each_other_merge(own_template: Template, project: Path) -> None:
    edit(project / COMMON, top="# mine\n")
    commit(project)
    edit(own_template.path / "template/project" / COMMON, end="# newer\n")
    own_template.release("1.1.0")
    update(project)
    text = (project / COMMON).read_text()
    assert text.startswith("# mine\n")
    assert text.endswith("# newer\n")
    assert "<<<<<<<" not in text


def test_edits_of_one_line_conflict_and_both_are_there(own_template: Template, project: Path) -> None:
    edit(project / COMMON, end="# mine\n")
    commit(project)
    edit(own_template.path / "template/project" / COMMON, end="# newer\n")
    own_template.release("1.1.0")
    update(project)
    text = (project / COMMON).read_text()
    assert "<<<<<<<" in text
    assert "# mine\n" in text
    assert "# newer\n" in text
    assert git(project, "ls-files", "--unmerged") != ""


@pytest.mark.parametrize("path", ["README.md", "package.json"])
def test_what_the_owner_owns_of_a_project_stays(own_template: Template, project: Path, path: str) -> None:
    (project / path).write_text("mine\n")
    commit(project)
    edit(own_template.path / f"template/project/{path}.jinja", end="newer\n")
    own_template.release("1.1.0")
    update(project)
    assert (project / path).read_text() == "mine\n"
    assert changes(project) == {"M .copier-answers.yml"}


def test_deleted_files_stay_deleted(own_template: Template, project: Path) -> None:
    for path in ("README.md", "biome.json", COMMON):
        (project / path).unlink()
    commit(project)
    for path in ("README.md.jinja", "biome.json", COMMON):
        edit(own_template.path / "template/project" / path, end="\n")
    edit(own_template.path / "template/project/manage.py", end="# newer\n")
    own_template.release("1.1.0")
    update(project)
    assert not any((project / path).exists() for path in ("README.md", "biome.json", COMMON))
    assert (project / "manage.py").read_text().endswith("# newer\n")


def test_files_of_the_owners_stay(own_template: Template, project: Path) -> None:
    for path in ("mine.txt", "apps/common/mine.py", "apps/orders/models.py"):
        (project / path).write_text("mine\n")
    commit(project)
    edit(own_template.path / "template/project/manage.py", end="# newer\n")
    own_template.release("1.1.0")
    update(project)
    assert changes(project) == {"M .copier-answers.yml", "M manage.py"}


def test_a_project_without_change_keeps_its_features_as_they_are(own_template: Template, project: Path) -> None:
    for path in own_template.path.glob("template/feature/apps/*/**/*.jinja"):
        edit(path, end="newer\n")
    own_template.release("1.1.0")
    update(project)
    assert changes(project) == {"M .copier-answers.yml"}


# Of each folder in a feature one file; with `/*` as a pattern those in deeper folders would be lost.
OWNED = [
    "consumers.py",
    "messages.py",
    "static/orders/js/orders_app.js",
    "static/orders/js/services/orders_websocket.js",
    "templates/orders/index.html",
    "tests/test_consumer.py",
    "tests/orders_websocket.test.js",
]


def test_an_edited_feature_stays_as_its_owner_left_it(own_template: Template, project: Path) -> None:
    for path in OWNED:
        (project / "apps/orders" / path).write_text("mine\n")
    commit(project)
    release_another_feature(own_template)
    update(project, "apps/orders/.copier-answers.yml")
    assert changes(project) == {"M apps/orders/.copier-answers.yml"}
    assert "_commit: 1.1.0" in (project / "apps/orders/.copier-answers.yml").read_text()


def test_deleted_files_of_a_feature_stay_deleted(own_template: Template, project: Path) -> None:
    for path in OWNED:
        (project / "apps/orders" / path).unlink()
    commit(project)
    release_another_feature(own_template)
    update(project, "apps/orders/.copier-answers.yml")
    assert changes(project) == {"M apps/orders/.copier-answers.yml"}


def test_a_feature_keeps_its_answers(own_template: Template, project: Path) -> None:
    before = (project / "apps/orders/.copier-answers.yml").read_text()
    assert "actions: place_order item:str:200" in before
    release_another_feature(own_template)
    update(project, "apps/orders/.copier-answers.yml")
    assert (project / "apps/orders/.copier-answers.yml").read_text() == before.replace("1.0.0", "1.1.0")


def test_updating_one_feature_leaves_the_other_alone(own_template: Template, project: Path) -> None:
    release_another_feature(own_template)
    update(project, "apps/live_chat/.copier-answers.yml")
    assert changes(project) == {"M apps/live_chat/.copier-answers.yml"}


def test_nothing_to_do_changes_nothing(own_template: Template, project: Path) -> None:
    update(project)
    update(project, "apps/orders/.copier-answers.yml")
    assert changes(project) == set()


def test_the_command_line_updates_too(own_template: Template, project: Path) -> None:
    edit(own_template.path / "template/project/manage.py", end="# newer\n")
    own_template.release("1.1.0")
    run(project, "copier", "update", "--defaults", "--quiet")
    assert changes(project) == {"M .copier-answers.yml", "M manage.py"}


def release_another_feature(template: Template) -> None:
    """Every file of the feature scaffold changes, but for what holds the answers."""
    files = list(template.path.glob("template/feature/apps/*/**/*.jinja"))
    assert len(files) > 10
    for path in files:
        edit(path, end="newer\n")
    template.release("1.1.0")
