"""The conversation: few questions, each in words that a newcomer understands."""

import os
import sys
from pathlib import Path

import pexpect
import yaml

from tests.template import ROOT, Template, paths, without_colours


def help_texts() -> dict[str, str]:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return {name: question["help"] for name, question in questions.items() if name[0] != "_" and "help" in question}


def in_terminal(template: Template, destination: Path, *arguments: str) -> "pexpect.spawn[str]":
    return pexpect.spawn(
        sys.executable,
        ["-m", "copier", "copy", *arguments, str(template.path), str(destination)],
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 200),
        # Without this, each prompt waits for the terminal to say where its cursor is.
        env={**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1"},
    )


def converse(template: Template, destination: Path, *arguments: str, **answers: str) -> list[str]:
    """Answers each prompt, by Enter alone if no answer is given. Returns what was asked, in order."""
    terminal = in_terminal(template, destination, *arguments)
    remaining = help_texts()
    asked: list[str] = []
    while True:
        names = list(remaining)
        found = terminal.expect_exact([*remaining.values(), pexpect.EOF])
        if found == len(names):
            terminal.close()
            assert terminal.exitstatus == 0, without_colours(terminal.before or "")
            return asked
        asked.append(names[found])
        del remaining[names[found]]
        terminal.send(answers.get(asked[-1], "") + "\r")


def test_a_project_takes_at_most_six_prompts(template: Template, tmp_path: Path) -> None:
    asked = converse(template, tmp_path / "project", project_name="s")
    assert asked == ["project_name", "description", "author", "github", "docker"]
    assert "My Projects\n" in (tmp_path / "project/README.md").read_text()


def test_a_feature_takes_five_prompts(template: Template, tmp_path: Path) -> None:
    project = template.project(tmp_path / "project")
    assert converse(template, project, "-d", "feature=orders") == ["access", "model", "per", "actions", "events"]
    assert "apps/orders/consumers.py" in paths(project)


def test_a_project_asks_for_the_name_of_a_feature(template: Template, tmp_path: Path) -> None:
    project = template.project(tmp_path / "project")
    assert converse(template, project, feature="orders") == ["feature", "access", "model", "per", "actions", "events"]
    assert "apps/orders/consumers.py" in paths(project)


def test_without_a_name_it_says_what_is_expected(template: Template, tmp_path: Path) -> None:
    terminal = in_terminal(template, template.project(tmp_path / "project"))
    terminal.expect_exact(help_texts()["feature"])
    terminal.send("\r")
    terminal.expect_exact("this folder is a generated project already. To add a feature")
    terminal.send("orders\r")
    terminal.expect_exact(help_texts()["access"])
    terminal.close(force=True)


def test_every_question_has_a_help_text() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    assert len(help_texts()) >= 9
    computed = {name for name, question in questions.items() if name[0] != "_" and question.get("when") is False}
    assert set(help_texts()) | computed == {name for name in questions if name[0] != "_"}
