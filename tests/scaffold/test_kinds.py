"""Live pages of models that are there already: each kind works, or is refused before a file is written."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.scaffold.test_options import LINTERS, counted
from tests.template import Template, commit, run, snapshot

pytestmark = pytest.mark.turn(3)

MODELS = Path(__file__).parent / "kinds/models.py"
FEATURES = {
    "plain": ("shop.Plain", "These columns do not travel: secret_token (it looks secret)"),
    "drawn": ("shop.Plain --render html", "a DurationField does not travel"),
    "keyed": ("shop.Keyed", "For update() and bulk_create() to reach the pages, add to Keyed"),
    "coded": ("shop.Coded", "code (the key, by which pages know a row; they add none)"),
    "passports": ("shop.Passport", "owner (the key, by which pages know a row; they add none)"),
    "cafes": ("shop.Cafe", ""),
    "places": ("shop.ProxyPlace", ""),
    "tags": ("shop.Tag", "target (a generic relation has no column)"),
    "tagged": ("shop.Tagged", "places (many-to-many: make its link a live model)"),
    "old": ("shop.Legacy", ""),
    "nodes": ("shop.Node", ""),
    "cities": ("shop.City --per id", ""),
    "parts": ("shop.Part --per id", ""),
    "tables": ("shop.Table --per id --render html", ""),
}
REFUSED = [
    ("shop.Pair", "shop.Pair' has the key CompositePrimaryKey. A live model needs one column as its key"),
    ("shop.Abstract", "the app shop has no model Abstract"),
    ("shop.OnlyBinary", "model 'shop.OnlyBinary' has no field that can travel"),
    ("shop.Plane", "the app shop has no model Plane; did you mean Plain?"),
    ("shops.Plain", "no installed app has the label 'shops'; did you mean shop?"),
    ("shop.Passport --per user", "per=user needs an owner: a required foreign key"),
    ("shop.Coded --action add_coded", "a row of shop.Coded does not get its key by itself"),
]


@pytest.fixture(scope="module")
def project(template: Template, plain: Path, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an app of such models."""
    project = Path(shutil.copytree(plain, tmp_path_factory.mktemp("kinds") / "project"))
    tools.run(project, "python", "manage.py", "startapp", "shop")
    shutil.copy(MODELS, project / "apps/shop/models.py")
    tools.run(project, "python", "manage.py", "makemigrations", "--verbosity", "0", "shop")
    commit(project)
    return project


@pytest.mark.parametrize(("model", "words"), REFUSED)
def test_is_refused_before_a_file_is_written(project: Path, tools: Tools, model: str, words: str) -> None:
    before = snapshot(project / "apps")
    python = str(tools.home / ".venv/bin/python")
    command = [python, "-B", "manage.py", "startfeature", "refused", "--model", *model.split()]
    assert words in run(project, *command, succeed=False)
    assert snapshot(project / "apps") == before


def test_works(project: Path, tools: Tools) -> None:
    project = Path(shutil.copytree(project, project.parent / "with_features"))
    for feature, (model, words) in FEATURES.items():
        assert words in tools.run(project, "python", "manage.py", "startfeature", feature, "--model", *model.split())
    for linter in LINTERS.values():
        tools.run(project, *linter)
    consumer_tests = [f"apps/{feature}/tests/test_consumer.py" for feature in FEATURES]
    printed = tools.run(project, "python", "-m", "pytest", "-q", *consumer_tests)
    assert counted("passed", printed) >= 3 * len(FEATURES)
    browser_tests = [f"apps/{feature}/tests/test_browser.py" for feature in ("plain", "drawn", "cities", "tables")]
    printed = tools.run(project, "python", "-m", "pytest", "-q", *browser_tests)
    assert counted("passed", printed) == 2 * len(browser_tests)
    assert "skipped" not in printed
