"""Odd places work like any other; from a bad one Copier says why, and nothing is left there."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.template import Template, commit, edit, run, snapshot

ODD = {
    "signs": """Ann's "best" Café Größe 日本; 50% & $HOME `x` a[x]b {{ co }} *? #1""",
    "leading_dash": "-project",
    "long": "x" * 200,
}
# Root may write everywhere; here it may no more than another user.
AS_ANYBODY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
# Stands in for a full disk: no file may grow beyond 500 kB.
ON_A_FULL_DISK = ["sh", "-c", 'ulimit -f 1000; exec "$@"', "sh"]
TOO_MUCH = "# {{ 'x' * 1_000_000 }}\n"


def copy(folder: Path, *arguments: str | Path) -> None:
    """The commands that a user types in a folder."""
    run(folder, "copier", "copy", "--defaults", "--quiet", *arguments)


def fail_to_copy(folder: Path, *arguments: str | Path, when: list[str]) -> str:
    """The last line of what is printed."""
    command = [*when, "copier", "copy", "--defaults", "--quiet", *arguments]
    return run(folder, *command, succeed=False).splitlines()[-1]


def assert_works(project: Path, tools: Tools) -> None:
    tools.run(project, "python", "manage.py", "check")
    assert (project / "apps/orders/consumers.py").is_file()
    assert "layout: django-channels\n" in (project / ".copier-answers.yml").read_text()
    assert "added: orders\n" in (project / "apps/orders/.copier-answers.yml").read_text()


@pytest.mark.parametrize("kind", ODD)
def test_a_folder_of_any_name_works(kind: str, template: Template, tools: Tools, tmp_path: Path) -> None:
    copy(tmp_path, template.path, f"./{ODD[kind]}")
    project = tmp_path / ODD[kind]
    copy(project, "-d", "feature=orders", template.path, ".")
    assert_works(project, tools)
    printed = fail_to_copy(project, "-d", "feature=orders", template.path, ".", when=[])
    assert "feature 'orders' is there already" in printed


@pytest.mark.parametrize("target", ["linked", "linked/project"])
def test_a_linked_folder_works(target: str, template: Template, tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    copy(tmp_path, template.path, target)
    copy(tmp_path, "-d", "feature=orders", template.path, target)
    assert_works(tmp_path / target.replace("linked", "real"), tools)
    assert (tmp_path / "linked").is_symlink()


def test_a_folder_of_any_name_is_updated(own_template: Template, tmp_path: Path) -> None:
    project = own_template.project(tmp_path / ODD["signs"])
    own_template.feature("orders", project)
    edit(project / "manage.py", top="# mine\n")
    commit(project)
    for path in ("project/manage.py", "feature/apps/{{ feature }}/routing.py.jinja"):
        edit(own_template.path / "template" / path, end="# newer\n")
    own_template.release("1.1.0")
    run(project, "copier", "update", "--defaults", "--quiet")
    commit(project)
    run(project, "copier", "update", "--defaults", "--quiet", "-a", "apps/orders/.copier-answers.yml")
    text = (project / "manage.py").read_text()
    assert text.startswith("# mine\n")
    assert text.endswith("# newer\n")
    assert "_commit: 1.1.0\n" in (project / "apps/orders/.copier-answers.yml").read_text()


@pytest.mark.parametrize("name", ["ends with a space ", "two\nlines"])
def test_a_folder_that_git_could_not_update_is_refused(name: str, template: Template, tmp_path: Path) -> None:
    assert "Choose another name" in fail_to_copy(tmp_path, template.path, name, when=[])
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------------------------
# Places that cannot be written
# ----------------------------------------------------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    pass


def a_file(folder: Path) -> None:
    (folder / "project").write_text("mine\n")


def read_only(name: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(0o555)

    return prepare


def a_link_to(target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "project").symlink_to(target)


BAD_FOR_A_PROJECT: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "file": (a_file, "project", "Not a directory"),
    "below_a_file": (a_file, "project/below", "Not a directory"),
    "read_only": (read_only("project"), "project", "Permission denied"),
    "in_a_read_only_folder": (read_only("."), "project", "Permission denied"),
    "link_to_nowhere": (a_link_to("nowhere"), "project", "File exists"),
    # Before Python 3.13, and from it on.
    "link_to_itself": (a_link_to("project"), "project", "Symlink loop|Too many levels of symbolic links"),
    "name_too_long": (nothing, "x" * 300, "File name too long"),
}


@pytest.mark.parametrize("kind", BAD_FOR_A_PROJECT)
def test_no_project_in(kind: str, template: Template, tmp_path: Path) -> None:
    prepare, target, words = BAD_FOR_A_PROJECT[kind]
    place = tmp_path / "place"
    place.mkdir()
    prepare(place)
    before = snapshot(tmp_path)
    assert re.search(words, fail_to_copy(place, template.path, target, when=AS_ANYBODY))
    assert snapshot(tmp_path) == before


def apps_elsewhere(project: Path) -> None:
    (project / "apps").rename(project.parent / "apps")
    (project / "apps").symlink_to("../apps")


def a_file_of_its_name(project: Path) -> None:
    (project / "apps/orders").write_text("mine\n")


BAD_FOR_A_FEATURE: dict[str, tuple[Callable[[Path], None], str]] = {
    "read_only_apps": (read_only("apps"), "Permission denied"),
    "read_only_app": (read_only("apps/orders"), "Permission denied"),
    "file": (a_file_of_its_name, "Not a directory"),
    "apps_elsewhere": (apps_elsewhere, "forbidden"),
}


@pytest.mark.parametrize("kind", BAD_FOR_A_FEATURE)
def test_no_feature_in(kind: str, template: Template, plain: Path, tmp_path: Path) -> None:
    prepare, words = BAD_FOR_A_FEATURE[kind]
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    prepare(project)
    before = snapshot(tmp_path)
    assert words in fail_to_copy(project, "-d", "feature=orders", template.path, ".", when=AS_ANYBODY)
    assert snapshot(tmp_path) == before


# ----------------------------------------------------------------------------------------------------------------------
# A disk that fills up half-way
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(own_template: Template) -> Template:
    """One file of each scaffold is larger than the disk."""
    consumer = "{% if not model %}consumers.py{% endif %}.jinja"
    for path in ("project/README.md.jinja", f"feature/apps/{{{{ feature }}}}/{consumer}"):
        edit(own_template.path / "template" / path, end=TOO_MUCH)
    own_template.release("1.1.0")
    return own_template


def test_a_project_that_does_not_fit_leaves_nothing(large: Template, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    assert "File too large" in fail_to_copy(place, large.path, "project", when=ON_A_FULL_DISK)
    assert list(place.iterdir()) == []


def test_a_feature_that_does_not_fit_stays_in_its_folder_and_is_not_taken_for_one(
    large: Template, plain: Path, tmp_path: Path
) -> None:
    """Copier leaves in a folder that was there what it has written so far; `manage.py startfeature` does not."""
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    before = snapshot(project)
    arguments = ("-d", "feature=orders", large.path, ".")
    assert "File too large" in fail_to_copy(project, *arguments, when=ON_A_FULL_DISK)
    after = snapshot(project)
    assert {path: after[path] for path in before} == before
    assert all(path.startswith("apps/orders") for path in after.keys() - before.keys())
    assert "remove the folder first" in fail_to_copy(project, *arguments, when=[])
