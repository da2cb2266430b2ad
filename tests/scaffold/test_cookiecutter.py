"""Cookiecutter's entry point: `cookiecutter TEMPLATE` makes what `copier copy TEMPLATE` makes."""

import json
from pathlib import Path

import copier
import pytest
import yaml
from pytest_cookies.plugin import Cookies, Result

from tests.template import ROOT, Template, commit, git, paths, snapshot

ODD_LINE = """Ann's "quoted" \\ café <b>"""


def bake(cookies: Cookies, template: Template, **answers: object) -> Path:
    result: Result = cookies.bake(template=str(template.path), extra_context=answers)
    assert result.exception is None
    assert isinstance(result.project_path, Path)
    return result.project_path


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"project_name": "Café Orders", "github": True, "docker": True},
        {"project_name": "Orders", "description": ODD_LINE, "author": ODD_LINE},
    ],
    ids=["defaults", "options", "quotes"],
)
def test_makes_the_tree_of_copier_byte_for_byte(
    cookies: Cookies, template: Template, tmp_path: Path, answers: dict[str, object]
) -> None:
    baked = bake(cookies, template, **answers)
    copied = template.project(tmp_path / "copied", **answers)
    assert ".copier-answers.yml" in paths(baked)
    assert snapshot(baked) == snapshot(copied)


def test_names_the_folder_after_the_project(cookies: Cookies, template: Template) -> None:
    assert bake(cookies, template, project_name="Café Orders").name == "cafe-orders"


def test_the_last_words_name_the_folder(
    cookies: Cookies, template: Template, capfd: pytest.CaptureFixture[str]
) -> None:
    project = bake(cookies, template, project_name="Café Orders")
    assert f"Café Orders is ready. Next, in {project}:\n" in capfd.readouterr().err


def test_asks_what_copier_asks_with_the_same_defaults() -> None:
    asked = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    prompts = asked.pop("__prompts__")
    assert set(prompts) == set(asked)
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    of_a_project = {
        name
        for name, asked in questions.items()
        if name[0] != "_" and asked.get("when") == "{{ not (feature or existing or updater) }}"
    }
    del asked["project_slug"]
    assert asked == {name: questions[name]["default"] for name in of_a_project}
    assert {name: prompts[name] for name in asked} == {name: questions[name]["help"] for name in of_a_project}


def test_is_updated_by_copier(cookies: Cookies, own_template: Template) -> None:
    project = bake(cookies, own_template)
    commit(project)
    manage = own_template.path / "template/project/manage.py"
    manage.write_text(manage.read_text() + "# newer\n")
    own_template.release("1.1.0")
    copier.run_update(project, defaults=True, overwrite=True, quiet=True, unsafe=False)
    assert git(project, "diff", "--name-only").split() == [".copier-answers.yml", "manage.py"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"project_name": " "}, "project_name is empty; give it a name"),
        ({"author": "Ann\nBob"}, "author has a line break"),
        ({"description": "x" * 201}, "use at most 200"),
        ({"project_slug": "../evil"}, "project_slug '../evil' is a path. Give the name of a folder"),
    ],
)
def test_leaves_nothing_behind_when_an_answer_is_refused(
    cookies: Cookies,
    template: Template,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    answers: dict[str, object],
    words: str,
) -> None:
    result = cookies.bake(template=str(template.path), extra_context=answers)
    assert result.exit_code != 0
    assert words in capfd.readouterr().err
    assert not list(tmp_path.rglob("evil"))
    assert_nothing_was_made(tmp_path)


def test_ends_with_the_instruction_when_copier_is_missing(
    cookies: Cookies,
    template: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "copier.py").write_text("raise ModuleNotFoundError('copier')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = cookies.bake(template=str(template.path))
    assert result.exit_code != 0
    assert "pip install copier" in capfd.readouterr().err
    assert_nothing_was_made(tmp_path)


def test_ends_with_the_instruction_when_the_template_is_a_relative_path(
    cookies: Cookies,
    template: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(template.path.parent)
    result = cookies.bake(template=f"./{template.path.name}")
    assert result.exit_code != 0
    assert f"copier copy ./{template.path.name} my-project" in capfd.readouterr().err
    assert_nothing_was_made(tmp_path)


def assert_nothing_was_made(folder: Path) -> None:
    outputs = list((folder / "cookies").iterdir())
    assert len(outputs) == 1
    assert list(outputs[0].iterdir()) == []
