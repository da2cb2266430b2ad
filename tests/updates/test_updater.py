"""`update.py` brings a project and its features to a newer version, or says what to do first; nothing is ever lost."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.template import ORDER_FEATURE, Template, changes, commit, edit, git, run, snapshot

pytestmark = pytest.mark.turn(1)  # while the tools are installed, which these do not need

COMMON = "apps/common/websockets/protocol.py"
ANSWERS = "apps/orders/.copier-answers.yml"
PARTS = ["the project", "apps/live_chat", "apps/orders"]
# An update is quicker with few files.
KEPT = {
    *("copier.yml", "{{ _copier_conf.answers_file }}.jinja"),
    "routing.py.jinja",
    *(".gitignore", "README.md.jinja", "biome.json", "manage.py", "package.json.jinja", "protocol.py"),
    *("pyproject.toml.jinja", "update.py", "updater.py"),
}


@pytest.fixture(scope="module")
def template(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Template:
    small = tmp_path_factory.mktemp("small") / "template"
    shutil.copytree(template.path, small, ignore=shutil.ignore_patterns(".git", "tests", "benchmarks", "docs"))
    for path in small.rglob("*"):
        if path.is_file() and path.name not in KEPT and path.parent != small / "lib":
            path.unlink()
    Template(small).release("1.0.0")
    return Template(small)


@pytest.fixture(scope="module")
def first(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template.project(tmp_path_factory.mktemp("first") / "Café Orders", project_name="Café Orders")


@pytest.fixture
def features(own_template: Template, project: Path) -> None:
    """Most tests need none."""
    own_template.feature("orders", project, **ORDER_FEATURE)
    own_template.feature("live_chat", project)
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--amend", "--no-edit")


def update(project: Path, *options: str) -> str:
    printed = run(project, sys.executable, "update.py", *options)
    assert changes(project) == set()
    return printed


def stopped(project: Path, *options: str, **environment: str) -> str:
    return run(project, sys.executable, "update.py", *options, succeed=False, **environment)


def refused(project: Path, *options: str, **environment: str) -> str:
    """Its message when it changes nothing at all, in one or two lines."""
    before = snapshot(project)
    message = stopped(project, *options, **environment)
    assert without_git(snapshot(project)) == without_git(before)
    assert "Traceback" not in message
    return message


def without_git(files: dict[str, str]) -> dict[str, str]:
    """Git refreshes its index when it is asked; its commits are compared."""
    return {path: found for path, found in files.items() if not path.startswith(".git/") or "/refs/" in path}


def messages(project: Path) -> list[str]:
    return git(project, "log", "--format=%s", "--reverse").splitlines()[1:]


def titles(*parts: str, old: str = "1.0.0", new: str = "1.1.0") -> list[str]:
    return [f"Update {part} from {old} to {new}" for part in parts]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def release(template: Template, file: str = "manage.py", *, tag: str = "1.1.0", **change: str) -> None:
    """A version in which a file of the project's scaffold has a line more."""
    path = template.path / "template/project" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    edit(path, **(change or {"end": "# newer\n"}))
    template.release(tag)


# Changes of the template


@pytest.mark.usefixtures("features")
def test_the_project_and_then_each_feature_is_a_commit(own_template: Template, project: Path) -> None:
    release(own_template)
    assert "Next: uv sync" in update(project)
    assert messages(project) == titles(*PARTS)
    assert (project / "manage.py").read_text().endswith("# newer\n")
    assert "_commit: 1.1.0" in (project / ".copier-answers.yml").read_text()
    assert "_commit: 1.1.0" in (project / ANSWERS).read_text()


def test_nothing_to_do_is_said(project: Path) -> None:
    assert update(project) == "Everything is at 1.0.0 already.\n"
    assert messages(project) == []


@pytest.mark.usefixtures("features")
def test_a_check_only_tells(own_template: Template, project: Path) -> None:
    assert update(project, "--check") == "Everything is at 1.0.0 already.\n"
    release(own_template)
    assert refused(project, "--check").splitlines() == titles(*PARTS)


def test_a_version_can_be_named(own_template: Template, project: Path) -> None:
    release(own_template)
    release(own_template, tag="1.2.0", end="# newest\n")
    update(project, "--to", "1.1.0")
    assert (project / "manage.py").read_text().endswith("# newer\n")


def test_the_updater_is_that_of_the_version_asked_for(own_template: Template, project: Path) -> None:
    updater = own_template.path / "template/updater/updater.py"
    for version in ("1.1.0", "1.2.0"):
        edit(updater, top=f"print('The updater of {version}', flush=True)\n")
        own_template.release(version)
    assert update(project, "--to", "1.1.0").startswith("The updater of 1.1.0\nUpdate the project")
    assert update(project).startswith("The updater of 1.2.0\nThe updater of 1.1.0\nUpdate the project")


def test_a_prerelease_has_to_be_named(own_template: Template, project: Path) -> None:
    release(own_template, tag="2.0.0rc1")
    assert "Everything is at 1.0.0" in update(project)
    update(project, "--to", "2.0.0rc1")
    assert messages(project) == titles("the project", new="2.0.0rc1")


@pytest.mark.usefixtures("features")
def test_a_feature_of_an_older_version_comes_along(own_template: Template, project: Path) -> None:
    release(own_template)
    update(project)
    git(project, "revert", "--no-edit", "HEAD")
    update(project)
    assert messages(project)[-1:] == titles("apps/orders")


def test_a_project_in_a_folder_of_a_repository(own_template: Template, project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    site = Path(shutil.move(project, tmp_path / "all of it/the site"))
    edit(site / COMMON, top="# mine\n")
    commit(site.parent)
    release(own_template, COMMON)
    run(tmp_path, sys.executable, site / "update.py")
    assert (site / COMMON).read_text().startswith("# mine\n")
    assert (site / COMMON).read_text().endswith("# newer\n")
    assert messages(site) == titles("the project")


def test_an_existing_project_that_took_the_common_part(own_template: Template, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "apps/mine").mkdir(parents=True)
    for path in ("manage.py", ".copier-answers.yml", "apps/mine/.copier-answers.yml"):
        (site / path).write_text("_src_path: elsewhere\n")
    own_template.copy(site, {"existing": True})
    commit(site)
    release(own_template, COMMON)
    assert "Next: python manage.py check" in update(site)
    assert messages(site) == titles("the project")
    assert (site / COMMON).read_text().endswith("# newer\n")
    assert "_commit: 1.1.0" in (site / ".copier-answers.channels.yml").read_text()
    assert (site / "manage.py").read_text() == "_src_path: elsewhere\n"


# Changes of the owner


def test_edits_apart_from_each_other_merge(own_template: Template, project: Path) -> None:
    edit(project / COMMON, top="# mine\n")
    commit(project)
    release(own_template, COMMON)
    update(project)
    assert (project / COMMON).read_text().startswith("# mine\n")
    assert (project / COMMON).read_text().endswith("# newer\n")


@pytest.mark.usefixtures("features")
def test_edits_of_one_line_stop_it_and_the_next_run_finishes(own_template: Template, project: Path) -> None:
    edit(project / COMMON, end="# mine\n")
    commit(project)
    release(own_template, COMMON)
    assert f"{COMMON}: both changed it" in stopped(project)
    text = (project / COMMON).read_text()
    assert "<<<<<<<" in text
    assert "# mine\n" in text
    assert "# newer\n" in text
    assert f"Finish the last update: resolve {COMMON}" in refused(project)
    (project / COMMON).write_text("# resolved\n")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--no-edit")
    update(project)
    assert (project / COMMON).read_text() == "# resolved\n"
    assert [message for message in messages(project) if message != "x"] == titles(*PARTS)


def test_a_stopped_update_can_be_taken_back(own_template: Template, project: Path) -> None:
    edit(project / COMMON, end="# mine\n")
    commit(project)
    release(own_template, COMMON)
    assert "git reset --hard" in stopped(project)
    git(project, "reset", "--hard")
    assert changes(project) == set()
    assert (project / COMMON).read_text().endswith("# mine\n")


@pytest.mark.usefixtures("features")
def test_what_the_owner_owns_stays(own_template: Template, project: Path) -> None:
    owned = ["README.md", "package.json", "apps/orders/routing.py"]
    for path in owned:
        (project / path).write_text("mine\n")
    commit(project)
    for path in ("project/README.md", "project/package.json", "feature/apps/{{ feature }}/routing.py"):
        edit(own_template.path / f"template/{path}.jinja", end="# newer\n")
    release(own_template)
    update(project)
    assert [(project / path).read_text() for path in owned] == ["mine\n"] * 3


@pytest.mark.usefixtures("features")
def test_deleted_files_stay_deleted(own_template: Template, project: Path) -> None:
    deleted = [COMMON, "README.md", "apps/orders/routing.py"]
    for path in deleted:
        (project / path).unlink()
    commit(project)
    edit(own_template.path / "template/project/README.md.jinja", end="newer\n")
    release(own_template, COMMON)
    assert f"\n  {COMMON}: you removed it; it stays removed\n" in update(project)
    assert not any((project / path).exists() for path in deleted)
    assert messages(project)[1:] == titles(*PARTS)
    assert update(project) == "Everything is at 1.1.0 already.\n"


def test_a_deleted_folder_stays_deleted(own_template: Template, project: Path) -> None:
    shutil.rmtree(project / "apps")
    commit(project)
    release(own_template, COMMON)
    assert f"{COMMON}: you removed it; it stays removed" in update(project)
    assert not (project / "apps").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (COMMON, "apps/common/frames.py"),
        ("apps/common/websockets", "apps/common/sockets"),
        ("apps/common", "apps/[c]ommon é"),
        (COMMON, "../frames.py"),
    ],
    ids=["file", "folder", "odd_name", "elsewhere"],
)
def test_changes_follow_what_the_owner_moved(own_template: Template, project: Path, old: str, new: str) -> None:
    shutil.rmtree(project / ".git")
    site = Path(shutil.move(project, project.with_name("all") / "site"))
    edit(site / COMMON, top="# mine\n")
    commit(site.parent)
    (site / old).rename(site / new)
    commit(site.parent)
    release(own_template, COMMON)
    update(site)
    moved = site / COMMON.replace(old, new)
    assert moved.read_text().startswith("# mine\n")
    assert moved.read_text().endswith("# newer\n")
    assert not (site / old).exists()
    assert "Everything is at 1.1.0" in update(site)


def test_edits_of_one_line_in_a_file_that_left_the_project_stop_it(own_template: Template, project: Path) -> None:
    shutil.rmtree(project / ".git")
    site = Path(shutil.move(project, project.with_name("all") / "site"))
    commit(site.parent)
    edit(site / COMMON, end="# mine\n")
    (site / COMMON).rename(site.parent / "frames.py")
    commit(site.parent)
    release(own_template, COMMON)
    assert "../frames.py: both changed it" in stopped(site)


def test_a_file_that_both_moved_is_a_conflict(own_template: Template, project: Path) -> None:
    (project / COMMON).rename(project / "mine.py")
    commit(project)
    scaffold = own_template.path / "template/project"
    (scaffold / COMMON).rename(scaffold / "newer.py")
    release(own_template)
    assert "  mine.py: both moved it, to different places; git add the one that you keep" in stopped(project)
    git(project, "add", "mine.py")
    git(project, "rm", "--cached", "--quiet", COMMON, "newer.py")
    (project / "newer.py").unlink()
    git(project, "commit", "--quiet", "--no-edit")
    assert "Everything is at 1.1.0" in update(project)


def test_a_file_that_git_ignores_since_stays(own_template: Template, project: Path) -> None:
    edit(project / ".gitignore", end="biome.json\n")
    git(project, "rm", "--quiet", "--cached", "biome.json")
    commit(project)
    (project / "biome.json").write_text("mine\n")
    release(own_template, "biome.json")
    update(project)
    assert (project / "biome.json").read_text() == "mine\n"


def test_a_file_that_the_template_removed_goes(own_template: Template, project: Path) -> None:
    (own_template.path / "template/project" / COMMON).unlink()
    release(own_template)
    update(project)
    assert not (project / COMMON).exists()


def test_a_file_that_the_template_removed_and_the_owner_edited_stays(own_template: Template, project: Path) -> None:
    edit(project / COMMON, end="# mine\n")
    commit(project)
    (own_template.path / "template/project" / COMMON).unlink()
    release(own_template)
    assert f"{COMMON}: you edited or moved it, the template removed it; git add keeps it" in stopped(project)
    git(project, "add", COMMON)
    git(project, "commit", "--quiet", "--no-edit")
    update(project)
    assert (project / COMMON).read_text().endswith("# mine\n")


def test_edits_follow_a_file_that_the_template_moved(own_template: Template, project: Path) -> None:
    edit(project / COMMON, end="# mine\n")
    (project / COMMON).with_name("mine.py").write_text("# mine alone\n")
    commit(project)
    scaffold = own_template.path / "template/project"
    (scaffold / COMMON).rename(scaffold / "apps/common/frames.py")
    release(own_template)
    update(project)
    assert (project / "apps/common/frames.py").read_text().endswith("# mine\n")
    assert not (project / COMMON).exists()
    assert (project / COMMON).with_name("mine.py").exists()


def test_a_new_file_of_both_is_a_conflict(own_template: Template, project: Path) -> None:
    (project / "new.py").write_text("# mine\n")
    commit(project)
    (own_template.path / "template/project/new.py").write_text("# newer\n")
    release(own_template)
    assert "new.py: both changed it" in stopped(project)
    assert "# mine\n" in (project / "new.py").read_text()


def test_a_new_file_that_git_ignores_is_not_overwritten(own_template: Template, project: Path) -> None:
    (project / ".env").write_text("SECRET=mine\n")
    (own_template.path / "template/project/.env").write_text("SECRET=\n")
    git(own_template.path, "add", "--force", "template/project/.env")
    release(own_template)
    assert "the template adds .env, which git ignores. Move yours" in refused(project)


def test_a_file_with_a_picture_stays_as_the_owner_drew_it(own_template: Template, project: Path) -> None:
    for path in (own_template.path / "template/project/icon é.png", project / "icon é.png"):
        path.write_bytes(bytes(range(256)))
    own_template.release("1.0.1")
    commit(project)
    update(project)
    (project / "icon é.png").write_bytes(b"mine\0")
    commit(project)
    release(own_template)
    update(project)
    assert (project / "icon é.png").read_bytes() == b"mine\0"
    assert (project / "manage.py").read_text().endswith("# newer\n")


def test_the_executable_bit_arrives_and_stays(own_template: Template, project: Path) -> None:
    (project / COMMON).chmod(0o755)
    commit(project)
    (own_template.path / "template/project/biome.json").chmod(0o755)
    release(own_template, COMMON)
    update(project)
    assert [oct((project / path).stat().st_mode & 0o777) for path in (COMMON, "biome.json")] == ["0o755"] * 2


def test_other_line_endings_are_no_conflict(own_template: Template, project: Path) -> None:
    (project / COMMON).write_bytes((project / COMMON).read_bytes().replace(b"\n", b"\r\n"))
    commit(project)
    release(own_template, COMMON)
    update(project)
    assert (project / COMMON).read_text().endswith("# newer\n")


# Dependencies: what `uv add` wrote, beside what the template changed.


@pytest.mark.parametrize(
    ("mine", "newer", "merged"),
    [
        (
            '    "celery>=5",\n    "channels>=4.3.2,<5",\n',
            '    "channels>=4.4,<5",\n',
            ["celery>=5", "channels>=4.4,<5"],
        ),
        ('    "channels>=4.3.2,<5",\n    "channels-api>=1", # why\n', "", ["channels-api>=1"]),
        (
            '    "celery>=5",\n    "channels>=4.3.2,<5",\n',
            '    "anyio>=4",\n    "channels>=4.3.2,<5",\n',
            ["anyio>=4", "celery>=5"],
        ),
    ],
)
def test_dependencies_of_both_merge(
    own_template: Template, project: Path, mine: str, newer: str, merged: list[str]
) -> None:
    change_dependencies(own_template, project, mine, newer)
    update(project)
    text = (project / "pyproject.toml").read_text()
    assert all(f'    "{requirement}",' in text for requirement in merged)
    assert "4.3.2" not in text or "channels>=4.3.2" in newer
    assert '    "channels-redis>=' in text


@pytest.mark.parametrize("mine", ['    "channels==4.3.2",\n', '    "channels>=4.3.2,<5", "celery",\n'])
def test_a_dependency_that_both_changed_is_a_conflict(own_template: Template, project: Path, mine: str) -> None:
    change_dependencies(own_template, project, mine, '    "channels>=4.4,<5",\n')
    assert "pyproject.toml: both changed it" in stopped(project)
    text = (project / "pyproject.toml").read_text()
    assert mine in text
    assert "|||||||" not in text


def change_dependencies(template: Template, project: Path, mine: str, newer: str) -> None:
    line = '    "channels>=4.3.2,<5",\n'
    replace(project / "pyproject.toml", line, mine)
    commit(project)
    replace(template.path / "template/project/pyproject.toml.jinja", line, newer)
    template.release("1.1.0")


# Answers: the tests of the common part, which a project has on request

PROTOCOL_TEST = "apps/common/tests/test_protocol.py"


@pytest.fixture
def tested(own_template: Template, project: Path) -> Path:
    """A project of version 1.0.1, in which the common part has a test, with that test."""
    release(own_template, PROTOCOL_TEST, tag="1.0.1", end="def test_protocol(): ...\n")
    update(project, "--answer", "base_tests=true")
    assert (project / PROTOCOL_TEST).is_file()
    return project


def test_an_answer_is_changed_without_a_newer_version(own_template: Template, project: Path) -> None:
    release(own_template, PROTOCOL_TEST, tag="1.0.1", end="def test_protocol(): ...\n")
    update(project)
    assert not (project / PROTOCOL_TEST).exists()
    assert "base_tests: false\n" in (project / ".copier-answers.yml").read_text()
    update(project, "--answer", "base_tests=true")
    assert (project / PROTOCOL_TEST).read_text() == "def test_protocol(): ...\n"
    assert "base_tests: true\n" in (project / ".copier-answers.yml").read_text()
    assert messages(project)[-1] == "Update the project from 1.0.1 to 1.0.1, base_tests=true"
    assert update(project, "--answer", "base_tests=true") == "Everything is at 1.0.1 already.\n"


def test_an_answer_stays_changed_in_a_later_update(own_template: Template, tested: Path) -> None:
    edit(tested / PROTOCOL_TEST, top="# mine\n")
    commit(tested)
    release(own_template, PROTOCOL_TEST)
    update(tested)
    assert (tested / PROTOCOL_TEST).read_text() == "# mine\ndef test_protocol(): ...\n# newer\n"


def test_an_answer_for_tests_and_a_test_of_the_owners_conflict(own_template: Template, project: Path) -> None:
    (project / PROTOCOL_TEST).parent.mkdir(parents=True)
    (project / PROTOCOL_TEST).write_text("# mine\n")
    (project / PROTOCOL_TEST).with_name("test_mine.py").write_text("# mine alone\n")
    commit(project)
    release(own_template, PROTOCOL_TEST, end="def test_protocol(): ...\n")
    assert f"{PROTOCOL_TEST}: both changed it" in stopped(project, "--answer", "base_tests=true")
    assert "# mine\n" in (project / PROTOCOL_TEST).read_text()
    assert "def test_protocol" in (project / PROTOCOL_TEST).read_text()
    assert (project / PROTOCOL_TEST).with_name("test_mine.py").read_text() == "# mine alone\n"


def test_an_answer_removes_tests_that_the_owner_did_not_edit(tested: Path) -> None:
    (tested / PROTOCOL_TEST).with_name("test_mine.py").write_text("# mine alone\n")
    commit(tested)
    update(tested, "--answer", "base_tests=false")
    assert not (tested / PROTOCOL_TEST).exists()
    assert (tested / PROTOCOL_TEST).with_name("test_mine.py").exists()
    assert "base_tests: false\n" in (tested / ".copier-answers.yml").read_text()


def test_an_answer_keeps_a_test_that_the_owner_edited(tested: Path) -> None:
    edit(tested / PROTOCOL_TEST, end="# mine\n")
    commit(tested)
    message = stopped(tested, "--answer", "base_tests=false")
    assert f"{PROTOCOL_TEST}: you edited or moved it, the template removed it; git add keeps it" in message
    assert (tested / PROTOCOL_TEST).read_text().endswith("# mine\n")
    git(tested, "add", PROTOCOL_TEST)
    git(tested, "commit", "--quiet", "--no-edit")
    assert update(tested, "--answer", "base_tests=false") == "Everything is at 1.0.1 already.\n"
    assert (tested / PROTOCOL_TEST).read_text().endswith("# mine\n")


def test_an_answer_comes_with_a_newer_version(own_template: Template, project: Path) -> None:
    release(own_template, PROTOCOL_TEST, end="def test_protocol(): ...\n", tag="1.0.1")
    release(own_template)
    update(project, "--answer", "base_tests=true", "--answer", "docker=true")
    assert messages(project) == ["Update the project from 1.0.0 to 1.1.0, base_tests=true, docker=true"]
    assert (project / PROTOCOL_TEST).exists()
    assert (project / "manage.py").read_text().endswith("# newer\n")
    assert "docker: true\n" in (project / ".copier-answers.yml").read_text()


@pytest.mark.usefixtures("features")
def test_an_answer_is_the_projects_alone(project: Path) -> None:
    update(project, "--answer", "docker=true")
    assert messages(project) == ["Update the project from 1.0.0 to 1.0.0, docker=true"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("base_test=true", "version 1.0.0 has no answer base_test."),
        ("base_tests", "'base_tests' is no NAME=VALUE that can change"),
        ("feature=orders", "'feature=orders' is no NAME=VALUE that can change"),
        ("_commit=1.0.0", "'_commit=1.0.0' is no NAME=VALUE that can change"),
    ],
)
def test_an_answer_that_there_is_not(project: Path, answer: str, reason: str) -> None:
    assert reason in refused(project, "--answer", answer)


# Refusals, with nothing changed


@pytest.mark.usefixtures("features")
def test_a_renamed_feature(own_template: Template, project: Path) -> None:
    git(project, "mv", "apps/orders", "apps/invoices")
    commit(project)
    release(own_template)
    message = refused(project)
    assert "of apps/invoices/.copier-answers.yml is `feature: orders`" in message
    assert "write feature: invoices there" in message
    for key in ("feature", "added"):
        replace(project / "apps/invoices/.copier-answers.yml", f"{key}: orders", f"{key}: invoices")
    commit(project)
    update(project)
    assert titles("apps/invoices")[0] in messages(project)


def test_an_answer_that_a_newer_version_refuses(own_template: Template, project: Path) -> None:
    replace(own_template.path / "lib/validators.jinja", "answer | length > 200", "answer | length > 30")
    release(own_template)
    message = refused(project)
    assert "version 1.1.0" in message
    assert "what .copier-answers.yml records" in message
    assert "question 'description': description has" in message


@pytest.mark.usefixtures("features")
def test_a_feature_whose_name_a_newer_version_refuses(own_template: Template, project: Path) -> None:
    replace(own_template.path / "lib/reserved.jinja", "'update', 'live'", "'update', 'orders'")
    release(own_template)
    message = refused(project)
    assert f"what {ANSWERS} records" in message
    assert "feature 'orders' is a name the project itself uses" in message


@pytest.mark.usefixtures("features")
def test_a_choice_that_a_newer_version_does_not_have(own_template: Template, project: Path) -> None:
    replace(own_template.path / "copier.yml", "    Everyone who is signed in: authenticated\n", "")
    replace(own_template.path / "copier.yml", "default: authenticated", "default: staff")
    release(own_template)
    message = refused(project)
    assert "what apps/live_chat/.copier-answers.yml records" in message
    assert "authenticated" in message


def test_a_downgrade(own_template: Template, project: Path) -> None:
    release(own_template)
    update(project)
    assert "Downgrades are not supported" in refused(project, "--to", "1.0.0")


@pytest.mark.parametrize("options", [(), ("--to", "1.1.0")])
def test_a_template_that_is_gone(own_template: Template, project: Path, options: tuple[str, ...]) -> None:
    own_template.path.rename(own_template.path.with_name("moved"))
    message = refused(project, *options)
    assert f"The template {own_template.path} cannot be reached" in message
    assert "write its new address as _src_path" in message


def test_a_version_that_does_not_exist(own_template: Template, project: Path) -> None:
    release(own_template)
    assert "version 9.9.9" in refused(project, "--to", "9.9.9")
    replace(project / ".copier-answers.yml", "_commit: 1.0.0", "_commit: 1.0.0-3-gabcdef0")
    commit(project)
    message = refused(project)
    assert "version 1.0.0-3-gabcdef0" in message
    assert "what .copier-answers.yml records" in message


def test_an_address_that_is_no_template(project: Path) -> None:
    address = (project / ".copier-answers.yml").read_text().partition("_src_path: ")[2].partition("\n")[0]
    replace(project / ".copier-answers.yml", f"_src_path: {address}\n", "_src_path: .\n")
    commit(project)
    assert "The template . cannot be reached" in refused(project)


def test_a_template_without_a_release(own_template: Template, project: Path) -> None:
    git(own_template.path, "tag", "--delete", "1.0.0")
    assert "has no released version" in refused(project)


def test_an_answers_file_with_conflict_markers(own_template: Template, project: Path) -> None:
    edit(project / ".copier-answers.yml", top="<<<<<<< HEAD\n")
    commit(project)
    assert ".copier-answers.yml is no YAML" in refused(project)


def test_a_project_without_answers(project: Path) -> None:
    (project / ".copier-answers.yml").unlink()
    commit(project)
    assert "There is no .copier-answers.yml" in refused(project)


@pytest.mark.parametrize("path", ["manage.py", "a new file é.txt"])
def test_what_is_not_committed(project: Path, path: str) -> None:
    (project / path).write_text("mine\n")
    assert f"Not committed: {path}. Commit or stash that" in refused(project)


def test_many_files_that_are_not_committed(project: Path) -> None:
    for number in range(9):
        (project / f"{number}.txt").touch()
    assert "Not committed: 0.txt and 8 more." in refused(project)


def test_a_project_without_a_commit(project: Path) -> None:
    shutil.rmtree(project / ".git")
    assert "builds on a first commit: git init, git add --all" in refused(project)
    git(project, "init", "--quiet")
    assert "builds on a first commit: git init, git add --all" in refused(project)


# The machine


def test_hooks_are_run(own_template: Template, project: Path) -> None:
    hook = project / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho no trailing newer, please\nexit 1\n")
    hook.chmod(0o755)
    release(own_template)
    message = stopped(project)
    assert "The commit failed; the update is staged" in message
    assert "no trailing newer, please" in message
    hook.unlink()
    git(project, "commit", "--quiet", "--no-edit")
    assert messages(project) == titles("the project")
    assert "Everything is at 1.1.0" in update(project)


def test_what_is_set_for_every_repository_changes_nothing(own_template: Template, project: Path) -> None:
    (project / ".git/always").write_text(
        "[commit]\ngpgSign = true\n[gpg]\nprogram = false\n[merge]\nconflictStyle = diff3\n"
        "[core]\nautocrlf = true\nquotepath = true\n[rerere]\nenabled = true\nautoUpdate = true\n"
    )
    git(project, "config", "commit.gpgSign", "false")
    release(own_template)
    run(project, sys.executable, "update.py", GIT_CONFIG_GLOBAL=str(project / ".git/always"))
    assert messages(project) == titles("the project")


def test_without_git(project: Path) -> None:
    assert "An update needs git" in refused(project, PATH="")


def test_without_copier(project: Path) -> None:
    message = run(project, sys.executable, "-S", "update.py", succeed=False)
    assert message == 'Copier is not installed. With uv: uv run update.py; or else: pip install "copier>=9.19.1,<10"\n'


def test_uv_runs_it_in_a_project_that_does_not_start(own_template: Template, project: Path) -> None:
    (project / "pyproject.toml").write_text("<<<<<<< HEAD\n")
    commit(project)
    release(own_template)
    run(project, "uv", "run", "update.py")
    assert messages(project)[-1:] == titles("the project")
