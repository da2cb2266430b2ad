"""Every row of options, rendered: it lints, it is formatted, its types are right, and its own tests pass."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.conftest import Tools
from tests.template import ROOT, Template, paths

pytestmark = pytest.mark.turn(4)

WORDS = ["place", "cancel", "ship", "track", "pay", "refund", "return_it", "rate"]
LONGEST = 40
# Two blank lines are right in Python, also where it stands in a guide or a template of Django's.
PYTHON_IN_IT = (".py", ".py-tpl", ".md")


def of_length(length: int, seed: str) -> str:
    """A name of that many characters: seed_seed_se…"""
    name = (f"{seed}_" * LONGEST)[:length]
    return name[:-1] + "x" if name.endswith("_") else name


def names(count: int, prefix: str) -> str:
    return ",".join(f"{prefix}_{word}" for word in WORDS[:count])


# Features by name with their answers. First every two of access, number of actions and number of events together (the
# last follows from the other two, as in a Latin square), then what is extreme.
FEATURES: dict[str, dict[str, str]] = {
    f"{access}_{'abc'[actions - 1]}{'abc'[events - 1]}": {
        "access": access,
        "actions": names(actions, "do"),
        "events": names(events, "on"),
    }
    for row, access in enumerate(("authenticated", "public", "staff"))
    for actions in (1, 2, 3)
    for events in [(row + actions) % 3 + 1]
} | {
    "bookings": {},  # before and after apps.common, in order of name
    "zebra": {},
    "a": {"actions": "b", "events": "c"},
    "every_length": {
        "actions": ",".join(of_length(length, "do") for length in range(2, LONGEST + 1)),
        "events": ",".join(of_length(length, "on") for length in range(2, LONGEST + 1)),
    },
    "every_single_word": {
        "actions": ",".join("d" * length for length in range(1, LONGEST + 1, 3)),
        "events": ",".join("e" * length for length in range(1, LONGEST + 1, 3)),
    },
    **{
        of_length(length, seed): {"access": access}
        for length in (19, 33, LONGEST)
        for seed, access in {"live": "authenticated", "zz": "public", "qqqqqqqqq": "staff"}.items()
    },
    "w" * LONGEST: {"access": "staff"},
}


@pytest.fixture(scope="module")
def project(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project with all the features."""
    project = template.project(tmp_path_factory.mktemp("options") / "project", github=True, docker=True)
    for feature, answers in FEATURES.items():
        template.feature(feature, project, **answers)
    return project


LINTERS = {
    "ruff_check": ["ruff", "check"],
    "ruff_format": ["ruff", "format", "--check"],
    "biome": ["biome", "check"],
    "tsc": ["tsc"],
    "mypy": ["python", "-m", "mypy", "."],
    "django": ["python", "manage.py", "check"],
}


@pytest.mark.parametrize("linter", LINTERS)
def test_every_feature_satisfies(linter: str, project: Path, tools: Tools) -> None:
    tools.run(project, *LINTERS[linter])


def test_a_linter_finds_errors(template: Template, tmp_path: Path, tools: Tools) -> None:
    project = template.project(tmp_path / "project")
    template.feature("orders", project)
    consumers = project / "apps/orders/consumers.py"
    consumers.write_text(consumers.read_text() + "\n\n\n\nimport os\nx: int = ''\n")
    service = project / "apps/orders/static/orders/js/services/orders_websocket.js"
    service.write_text(service.read_text() + "   notThere();\n")
    for linter in ("ruff_check", "ruff_format", "biome", "tsc", "mypy"):
        with pytest.raises(AssertionError, match="exited"):
            tools.run(project, *LINTERS[linter])


def test_every_feature_passes_its_tests_of_the_server(project: Path, tools: Tools) -> None:
    consumer_tests = [f"apps/{feature}/tests/test_consumer.py" for feature in FEATURES]
    printed = tools.run(project, "python", "-m", "pytest", "-q", *consumer_tests)
    assert counted("passed", printed) >= 3 * len(FEATURES)
    assert "skipped" not in printed


def test_every_feature_passes_its_tests_of_the_service(project: Path, tools: Tools) -> None:
    printed = tools.run(project, "vitest", "run", *(f"apps/{feature}/tests" for feature in FEATURES))
    assert f"Test Files  {len(FEATURES)} passed ({len(FEATURES)})" in printed


@pytest.mark.parametrize("access", ["authenticated", "public", "staff"])
def test_the_page_works_in_a_browser_with_access(project: Path, tools: Tools, access: str) -> None:
    tools.run(project, "python", "-m", "apps.common.testing.chromium")
    feature = next(
        name for name, answers in FEATURES.items() if answers.get("access") == access and len(name) == LONGEST
    )
    printed = tools.run(project, "python", "-m", "pytest", "-q", f"apps/{feature}/tests/test_browser.py")
    assert counted("passed", printed) >= 1
    assert "skipped" not in printed


# ----------------------------------------------------------------------------------------------------------------------
# No trace of the template is left
# ----------------------------------------------------------------------------------------------------------------------


def leftovers(path: str, text: str) -> list[str]:
    """Jinja that was not rendered. Django's templates have tags of their own, and some languages have braces."""
    if path.endswith(".html"):
        # Django knows no whitespace control, no `set`, and none of the template's names.
        names = {name for name in questions() if name != "project_name"}  # a context processor gives that one
        found: list[str] = re.findall(r"\{[%{#]-|-[%}#]\}|\{%\s*(?:set|raw|from|macro|import)\b", text)
        return found + [name for name in re.findall(r"\{\{\s*(\w+)", text) if name in names]
    if path.endswith(".js"):
        text = re.sub(r"@\w+ \{\{ ", "", text)  # JSDoc: an object's type
    if path.endswith(".py"):
        text = re.sub(r"""f(["']).*?\1""", "", text)  # an f-string's own braces
    return re.findall(r"\{%|\{\{|\{#", text)


def names_left_over(text: str) -> list[str]:
    """Names that only the template has, in anything like a tag."""
    own = {
        name
        for name in questions()
        if name.startswith(("feature_", "_copier")) or name.endswith(("_items", "_rule", "_slug"))
    }
    return [name for tag in re.findall(r"\{[{%].*?[}%]\}", text) for name in own if re.search(rf"\b{name}\b", tag)]


@cache
def questions() -> frozenset[str]:
    copier_yml = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return frozenset(name for name in copier_yml if name[0] != "_") | {"_copier_conf", "_copier_answers"}


def rendered_paths(project: Path) -> list[str]:
    """The paths that have a .jinja file behind them."""
    sources = [path.removesuffix(".jinja") for path in paths(ROOT / "template") if path.endswith(".jinja")]
    bodies = [
        source.split("/", 1)[1].replace("{{ _copier_conf.answers_file }}", ".copier-answers.yml") for source in sources
    ]
    patterns = [re.escape(body).replace(re.escape("{{ feature }}"), r"(\w+)") for body in bodies]
    return [path for path in paths(project) if any(re.fullmatch(pattern, path) for pattern in patterns)]


def test_no_jinja_is_left_over(project: Path) -> None:
    rendered = rendered_paths(project)
    assert len(rendered) > 10 * len(FEATURES)
    found = {path: leftovers(path, (project / path).read_text(encoding="utf-8")) for path in rendered}
    assert {path: tags for path, tags in found.items() if tags} == {}


def test_jinja_that_is_left_over_is_found() -> None:
    templates = [path for path in paths(ROOT / "template") if path.endswith(".jinja")]
    assert len(templates) > 15
    for path in templates:
        text = (ROOT / "template" / path).read_text(encoding="utf-8")
        assert leftovers(path.removesuffix(".jinja"), text), path


def test_what_is_copied_as_it_is_names_nothing_of_the_template(project: Path) -> None:
    copied = set(paths(project)) - set(rendered_paths(project))
    assert "manage.py" in copied
    texts = {path: (project / path).read_text(encoding="utf-8") for path in copied}
    assert {path: names for path, text in texts.items() if (names := names_left_over(text))} == {}
    assert names_left_over("<h1>{{ feature_title }}</h1>") == ["feature_title"]


def test_no_name_of_a_path_is_left_over(project: Path) -> None:
    made = paths(project)
    assert "apps/bookings/static/bookings/js/bookings_app.js" in made
    assert [path for path in made if "{" in path or path.endswith(".jinja")] == []


def test_lines_end_as_if_written_by_hand(project: Path) -> None:
    texts = {path: (project / path).read_text(encoding="utf-8") for path in paths(project)}
    assert [path for path, text in texts.items() if text and not re.search(r"\S\n\Z", text)] == []
    assert [path for path, text in texts.items() if re.search(r"[ \t]\n", text)] == []
    assert [path for path, text in texts.items() if "\n\n\n" in text and not path.endswith(PYTHON_IN_IT)] == []


def counted(word: str, printed: str) -> int:
    return sum(int(number) for number in re.findall(rf"(\d+) {word}", printed))
