"""A template that runs code on its user's machine has to be trusted first. This one need not be."""

from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from copier.errors import UnsafeTemplateError

from tests.template import ROOT, Template

NEEDS_TRUST = {"_tasks", "_jinja_extensions", "_migrations"}


def conversation() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return parsed


def test_nothing_in_copier_yml_needs_trust() -> None:
    settings = set(conversation())
    assert "_subdirectory" in settings
    assert settings & NEEDS_TRUST == set()


def test_no_answer_is_secret_and_no_data_is_external() -> None:
    assert "_external_data" not in conversation()
    assert [name for name, question in conversation().items() if "secret" in question] == []


def test_copies_and_updates_without_trust(own_template: Template, tmp_path: Path) -> None:
    project = own_template.project(tmp_path / "project")
    own_template.feature("orders", project)
    assert (project / "apps/orders/consumers.py").is_file()


def test_a_task_would_need_trust(own_template: Template, tmp_path: Path) -> None:
    with (own_template.path / "copier.yml").open("a", encoding="utf-8") as file:
        file.write("\n_tasks: [ls]\n")
    own_template.release("1.1.0")
    with pytest.raises(UnsafeTemplateError):
        copier.run_copy(str(own_template.path), tmp_path / "project", defaults=True, quiet=True, unsafe=False)
