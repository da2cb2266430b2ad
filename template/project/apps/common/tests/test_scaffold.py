"""The work of startfeature beside that of Copier."""

import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.common.management.scaffold import Refusal, Template, _copy_new, app_errors, recorded_template


def refusal_of(question, reason):
    return Refusal.of(ValueError(f"Validation error for question '{question}': {reason}"))


def test_without_copier_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "copier", None)
    with pytest.raises(CommandError, match=r"Copier is not installed here.* uv sync"):
        call_command("startfeature", "orders")


def test_without_copier_and_perhaps_without_uv_the_fix_is_pips(monkeypatch, tmp_path):
    (tmp_path / ".copier-answers.channels.yml").touch()
    monkeypatch.setattr("apps.common.management.scaffold.PROJECT", tmp_path)
    monkeypatch.setitem(sys.modules, "copier", None)
    with pytest.raises(CommandError, match=r'Copier is not installed here\. pip install "copier'):
        call_command("startfeature", "orders")


def test_of_two_answers_files_that_of_this_template_counts(tmp_path):
    (tmp_path / ".copier-answers.yml").write_text("_commit: v1\n_src_path: gh:else/where\n")
    with pytest.raises(CommandError, match="which template made this project"):
        recorded_template(tmp_path)
    (tmp_path / ".copier-answers.channels.yml").write_text("_commit: v2\n_src_path: /here\nlayout: django-channels\n")
    assert recorded_template(tmp_path) == Template("/here", "v2", ".copier-answers.channels.yml")


def test_a_refusal_knows_its_question():
    assert refusal_of("feature", "'Orders' is bad") == Refusal("feature", "'Orders' is bad")
    assert Refusal.of(ValueError("Invalid choice for 'access': 'all' is not in []")) == Refusal(
        "access", "access 'all' is not in []"
    )
    assert Refusal.of(ValueError("Unknown revision")) is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        *(("feature", "other_n1"), ("actions", "other_n1"), ("events", "other_n1")),
        *(("access", "authenticated"), ("per", "site")),
    ],
)
def test_what_was_refused_is_replaced(question, expected):
    assert Refusal(question, "it is bad").replacement(1) == expected


def test_a_label_of_another_app_does_not_fit():
    assert app_errors("sessions") == [
        "feature 'sessions' is the label of an installed app, django.contrib.sessions. Choose another name."
    ]
    assert app_errors("nowhere") == []


def test_all_files_are_copied_or_none(tmp_path):
    made = [Path("apps/orders/a.py"), Path("apps/orders/tests/b.py")]
    for path in made:
        (tmp_path / "new" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / path).write_text("new\n")
    _copy_new(made, tmp_path / "new", tmp_path / "project")
    assert [(tmp_path / "project" / path).read_text() for path in made] == ["new\n", "new\n"]
    with pytest.raises(CommandError, match="Nothing was made"):
        _copy_new([*made, Path("missing.py")], tmp_path / "new", tmp_path / "other")
    assert not (tmp_path / "other").exists()
