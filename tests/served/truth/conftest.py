"""The project of the truth tests: each user's orders, and writers of every kind."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.template import ROOT, Template

SITE = ROOT / "tests/served/truth/site"
MODEL = "Order item:str:200 quantity:int price:decimal:10:2 status:enum:new:paid"


@pytest.fixture(scope="module")
def project(template: Template, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = template.project(tmp_path_factory.mktemp("truth") / "project")
    feature = template.feature("orders", project, model=MODEL, per="user")
    shutil.copytree(SITE / "orders", feature, dirs_exist_ok=True)
    tools.run(project, "python", "manage.py", "makemigrations", "orders", "--verbosity", "0")
    return project
