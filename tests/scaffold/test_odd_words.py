"""A project may be called anything: its files are right with each word that it is described by."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.template import Template

ODD_WORDS = {
    "plain": "Orders",
    "accents": "Café Größe 日本",
    "single_quotes": "Ann's 'orders'",
    "double_quotes": 'The "best" orders',
    "both_quotes": """Ann's "best" orders""",
    "backslashes": "C:\\new\\table",
    "markup": "<b>Orders</b> & {{ co }} {% raw %} #{x}",
    "long": "x" * 80,
}


@pytest.mark.parametrize("words", ODD_WORDS)
def test_a_project_may_be_called_anything(words: str, template: Template, tmp_path: Path, tools: Tools) -> None:
    text = ODD_WORDS[words]
    project = template.project(tmp_path / "project", project_name=text, description=text, author=text)
    tools.run(project, "ruff", "check", "config")
    tools.run(project, "ruff", "format", "--check", "config")
    printed = tools.run(
        project,
        "python",
        "-c",
        "from config.settings import PROJECT_NAME as name; import json; print(json.dumps(name))",
    )
    assert json.loads(printed) == text
    assert text in (project / "README.md").read_text(encoding="utf-8")
    read_metadata = "import json, tomllib; print(json.dumps(tomllib.load(open('pyproject.toml', 'rb'))['project']))"
    metadata = json.loads(tools.run(project, "python", "-c", read_metadata))
    assert (metadata["description"], metadata["authors"]) == (text, [{"name": text}])
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", metadata["name"])
    assert json.loads((project / "package.json").read_text())["name"] == metadata["name"]
