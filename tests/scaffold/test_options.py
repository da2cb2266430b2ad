"""Every row of options, rendered: it lints, it is formatted, its types are right, and its own tests pass."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.conftest import Tools
from tests.template import ROOT, Template, paths

pytestmark = pytest.mark.turn(4)

LONGEST = 40
# Two blank lines are right in Python, also where it stands in a guide or a template of Django's.
PYTHON_IN_IT = (".py", ".py-tpl", ".md")


def of_length(length: int, seed: str) -> str:
    """A name of that many characters: seed_seed_se…"""
    name = (f"{seed}_" * LONGEST)[:length]
    return name[:-1] + "x" if name.endswith("_") else name


SCALARS = [
    *("str", "str:1", "text", "text:30", "slug", "slug:5", "email", "email:6", "url", "url:12"),
    *("int", "int:1:99", "int:-5:-5", "float", "float:-0.5:1.50", "float:0:9"),
    *("decimal:10:2", "decimal:3:3", "decimal:5:0", "bool", "date", "datetime", "time", "uuid"),
]
ITEMS = [
    "str",
    "text",
    "slug",
    "email",
    "url",
    "int",
    "float",
    "decimal:4:1",
    "bool",
    "date",
    "datetime",
    "time",
    "uuid",
]
LISTS = [f"list:{item}" for item in ITEMS]
TYPES = [*SCALARS, "json", "enum:new", "enum:new:paid", "list:int:1", *LISTS]
HALF = 20
OF_THEIR_TYPE = ["date", "datetime", "time", "uuid", "text", "slug", "email", "url"]
OTHERS_OF_PYTHON = ["decimal", "enum", "annotated", "literal", "field", "digits", "message"]
USUAL = [
    "id",
    "order",
    "user",
    "date",
    "group",
    "type",
    "match",
    "case",
    "none",
    "new",
    "delete",
    "function",
    "default",
]
USUAL += ["name", "value", "data", "ref", "seq", "options", "self", "cls", "length", "submit"]
USUAL += ["action", "method", "address_1"]
VALUES = ":".join(of_length(LONGEST, letter) for letter in "vwxyz")
LONG = ["str", "url", f"enum:{VALUES}", f"enum:{VALUES}:optional", "enum:new:paid:optional", "list:email"]
LONG += ["list:decimal:10:2:optional", "decimal:30:30:optional", "float:-0.5:1.5:optional"]


def message(name: str, fields: dict[str, str], event: str = "") -> str:
    words = [name, *(f"{field}:{type_}" for field, type_ in fields.items()), *([f"event={event}"] if event else [])]
    return " ".join(words)


def numbered(types: list[str], more: str = "") -> dict[str, str]:
    return {f"f{number}": type_ + more for number, type_ in enumerate(types)}


def of_every_length(letter: str, *fields: str, event: str = "") -> str:
    """Messages, each with fields of its own length; and with an event of that length."""
    return ", ".join(
        message(
            of_length(length, letter),
            {of_length(length, f"{type_[0]}a"): type_ for type_ in fields},
            event and of_length(length, event),
        )
        for length in range(2, LONGEST + 1)
    )


SEVERAL = {
    "actions": "do_place item:str:200 quantity:int:1:99 price:decimal:10:2 note:text:optional event=placed, do_close",
    "events": "placed id:int placed_at:datetime, on_ship by:str:optional, on_closed",
}
# Features by name with their answers: every access with every `per`, every type, and what is extreme.
FEATURES: dict[str, dict[str, str]] = (
    {
        f"{access}_{per}": {"access": access, "per": per, **SEVERAL}
        for access in ("authenticated", "public", "staff")
        for per in ("id", "site", "user")
        if (access, per) != ("public", "user")
    }
    | {
        "bookings": {},  # before and after apps.common, in order of name
        "zebra": {},
        "a": {"actions": "b", "events": "c"},
        "buttons": {"actions": "do_this event=on_this, do_that"},
        "requests_alone": {"per": "user", "actions": message("ask", numbered(TYPES[:9]))},
        "events_alone": {"actions": "", "events": message("noted", numbered(TYPES[9:HALF]))},
        "events_of_the_site": {"per": "site", "actions": "", "events": "noted"},
        "all_types": {
            "actions": ", ".join(
                [
                    message("do_all", numbered(TYPES[:HALF]), "on_all"),
                    message("do_more", numbered(TYPES[HALF:]), "on_more"),
                ]
            )
        },
        "all_optional": {
            "actions": message("do_all", numbered(TYPES[:HALF], ":optional"), "on_all"),
            "events": message("on_more", numbered(TYPES[HALF:], ":optional")),
        },
        "all_by_the_server": {
            "actions": "do_all event=on_all, do_more a:int event=on_more",
            "events": ", ".join(
                [message("on_all", numbered(TYPES[:HALF])), message("on_more", numbered(TYPES[HALF:]))]
            ),
        },
        "names_of_types": {
            "actions": message(
                "do_all",
                {name: f"{name}:optional" for name in OF_THEIR_TYPE} | dict.fromkeys(OTHERS_OF_PYTHON, "str"),
                "on_all",
            )
        },
        "usual_words": {"actions": message("do_all", dict.fromkeys(USUAL, "str"), "on_all")},
        "every_length": {
            "actions": of_every_length("do", "str", "int", event="ev"),
            "events": of_every_length("on"),
        },
        of_length(LONGEST, "every_long"): {
            "actions": message(
                of_length(LONGEST, "do"),
                {of_length(LONGEST, f"f{letter}"): type_ for letter, type_ in zip("abcdefghi", LONG, strict=True)},
                of_length(LONGEST, "on"),
            ),
            "events": message(
                of_length(LONGEST, "on"),
                {of_length(LONGEST, "za"): "decimal:30:2", of_length(LONGEST, "zb"): f"enum:{VALUES}"},
            ),
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
        "w" * LONGEST: {"access": "staff", "per": "user"},
    }
)


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
    assert counted("passed", printed) >= 4 * len(FEATURES)
    assert "skipped" not in printed


def test_every_feature_passes_its_tests_of_the_service(project: Path, tools: Tools) -> None:
    printed = tools.run(project, "vitest", "run", *(f"apps/{feature}/tests" for feature in FEATURES))
    assert f"Test Files  {len(FEATURES)} passed ({len(FEATURES)})" in printed


IN_A_BROWSER = ["all_types", "all_optional", "usual_words", "buttons", "requests_alone", "events_alone"]
IN_A_BROWSER += ["authenticated_site", "staff_user", "public_id", of_length(LONGEST, "every_long")]


def test_the_pages_work_in_a_browser(project: Path, tools: Tools) -> None:
    tools.run(project, "python", "-m", "apps.common.testing.chromium")
    browser_tests = [f"apps/{feature}/tests/test_browser.py" for feature in IN_A_BROWSER]
    printed = tools.run(project, "python", "-m", "pytest", "-q", *browser_tests)
    assert counted("passed", printed) >= 2 * len(IN_A_BROWSER)
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
        if name.startswith(("feature_", "_copier")) or name.endswith(("_items", "_rule", "_slug", "_imports"))
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
    bodies = [re.sub(r"\{%.*?%\}", "", body) for body in bodies]  # {% if model %}live.py{% endif %}
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
