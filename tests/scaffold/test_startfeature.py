"""manage.py startfeature and startapp: a feature by itself, a feature in an app of the owner's, and what is refused."""

import json
import os
import re
import shutil
from pathlib import Path

import pexpect
import pytest

from tests.conftest import Tools
from tests.scaffold.test_names import CONTRACTS, FEATURES
from tests.template import Template, changes, commit, edit, paths, run, snapshot, without_colours

MODEL = """
from django.db import models


class Invoice(models.Model):
    number = models.IntegerField()

    def __str__(self):
        return str(self.number)
"""
TEST = """
from apps.invoices.models import Invoice


def test_mine():
    assert str(Invoice(number=1)) == "1"
"""
URLS = """
from django.http import HttpRequest, HttpResponse
from django.urls import path


def detail(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(f"invoice {pk}")


urlpatterns = [path("<int:pk>/", detail, name="invoice")]
"""
# Files of a feature that an app of the owner's may have before.
MAY_BE_THERE = {"__init__.py", "tests/__init__.py"}


@pytest.fixture
def project(plain: Path, tmp_path: Path) -> Path:
    """A project without features, of which each test has its own copy."""
    return Path(shutil.copytree(plain, tmp_path / "project"))


def manage(
    project: Path, tools: Tools, *arguments: str, below: str = ".", succeed: bool = True, **environment: str
) -> str:
    command: list[str | Path] = [tools.home / ".venv/bin/python", project / "manage.py", *arguments]
    return run(project / below, *command, succeed=succeed, PYTHONDONTWRITEBYTECODE="1", **environment)


def refusal(project: Path, tools: Tools, *arguments: str) -> list[str]:
    """The lines of an error, after which nothing is different."""
    before = snapshot(project)
    printed = manage(project, tools, *arguments, succeed=False)
    assert snapshot(project) == before
    assert "Traceback" not in printed
    return printed.removeprefix("CommandError: ").splitlines()


def files_of(app: Path) -> dict[str, str]:
    return {path: (app / path).read_text() for path in paths(app)}


def make_app(project: Path, tools: Tools) -> Path:
    """An app as its owner may have it, with files of each kind."""
    manage(project, tools, "startapp", "invoices")
    app = project / "apps/invoices"
    (app / "models.py").write_text(MODEL.lstrip())
    (app / "addresses.py").write_text(URLS.lstrip())
    include_urls(project / "config/urls.py")
    (app / "tests").mkdir()
    (app / "tests/__init__.py").write_text("# mine\n")
    (app / "tests/test_invoices.py").write_text(TEST.lstrip())
    manage(project, tools, "makemigrations", "invoices")
    return app


def include_urls(urls: Path) -> None:
    """As an owner does: at the end of the list."""
    before, end, after = urls.read_text().replace("import path\n", "import include, path\n").partition("]\n")
    urls.write_text(f'{before}    path("invoices/", include("apps.invoices.addresses")),\n{end}{after}')


def views_of(project: Path, tools: Tools, *addresses: str) -> list[str]:
    """The views of the addresses: ["apps.invoices.urls.detail", …]."""
    tell = f"from django.urls import resolve; [print(resolve(address)._func_path) for address in {addresses}]"
    return manage(project, tools, "shell", "--verbosity", "0", "--command", tell).splitlines()


# ----------------------------------------------------------------------------------------------------------------------
# A feature by itself
# ----------------------------------------------------------------------------------------------------------------------


PLACE, CANCEL, PLACED = "place_order item:str:20 event=order_placed", "cancel_order id:int", "order_placed id:int"


@pytest.mark.parametrize(
    "options",
    [
        ["--action", PLACE, "--action", CANCEL, "--event", PLACED],
        ["--actions", f"{PLACE}, {CANCEL}", "--events", PLACED],  # as Copier's questions
    ],
)
def test_makes_what_copier_makes(
    template: Template, project: Path, tools: Tools, tmp_path: Path, options: list[str]
) -> None:
    other = Path(shutil.copytree(project, tmp_path / "other"))
    template.feature("orders", other, access="staff", per="site", actions=f"{PLACE}, {CANCEL}", events=PLACED)
    printed = manage(project, tools, "startfeature", "orders", "--access", "staff", "--per", "site", *options)
    assert "then open http://127.0.0.1:8000/orders/\n" in printed
    assert snapshot(project) == snapshot(other)


def test_makes_a_feature_by_its_name_alone(template: Template, project: Path, tools: Tools, tmp_path: Path) -> None:
    other = Path(shutil.copytree(project, tmp_path / "other"))
    template.feature("live_chat", other)
    manage(project, tools, "startfeature", "live_chat")
    assert snapshot(project) == snapshot(other)


def test_lists_what_it_made_and_what_comes_next(project: Path, tools: Tools) -> None:
    before = paths(project)
    printed = manage(project, tools, "startfeature", "live_chat")
    assert printed.split("\n\n")[0].splitlines() == [path for path in paths(project) if path not in before]
    assert "  uv run manage.py runserver      then open http://127.0.0.1:8000/live-chat/demo/\n" in printed
    assert 'URL = "/live-chat/demo/"\n' in (project / "apps/live_chat/urls.py").read_text()
    assert "  uv run pytest apps/live_chat    tests it\n" in printed
    assert "Start reading in apps/live_chat/consumers.py" in printed


@pytest.mark.parametrize("answers", [".copier-answers.yml", ".copier-answers.channels.yml"])
def test_copier_ends_with_the_same_words(
    template: Template, project: Path, tools: Tools, tmp_path: Path, answers: str
) -> None:
    (project / ".copier-answers.yml").rename(project / answers)
    other = Path(shutil.copytree(project, tmp_path / "other"))
    words = manage(project, tools, "startfeature", "live_chat").partition("\n\n")[2]
    assert "manage.py runserver" in words
    assert words in run(other, "copier", "copy", "--defaults", "-d", "feature=live_chat", template.path, ".")


def test_a_dry_run_lists_the_same_and_writes_nothing(project: Path, tools: Tools) -> None:
    before = snapshot(project)
    dry_run = manage(project, tools, "startfeature", "orders", "--dry-run")
    assert snapshot(project) == before
    assert "Nothing was written" in dry_run
    made = manage(project, tools, "startfeature", "orders")
    assert dry_run.split("\n\n")[0] == made.split("\n\n")[0]


@pytest.mark.parametrize("below", ["apps", "apps/common/checks", "config"])
def test_works_in_any_folder_of_the_project(project: Path, tools: Tools, below: str) -> None:
    manage(project, tools, "startfeature", "orders", below=below)
    assert "apps/orders/consumers.py" in paths(project)
    assert [path for path in paths(project) if "orders" in path and not path.startswith("apps/orders/")] == []


def test_related_names_live_side_by_side(project: Path, tools: Tools) -> None:
    names = ["order", "orders", "order_items"]
    for name in names:
        manage(project, tools, "startfeature", name)
    manage(project, tools, "check")
    tests = [f"apps/{name}/tests/test_{kind}.py" for name in names for kind in ("consumer",)]
    assert re.search(r"\d+ passed", tools.run(project, "python", "-m", "pytest", "-q", *tests))
    assert "Test Files  3 passed (3)" in tools.run(project, "vitest", "run", *(f"apps/{name}/" for name in names))


def test_a_removed_feature_can_be_made_again(project: Path, tools: Tools) -> None:
    manage(project, tools, "startfeature", "orders")
    shutil.rmtree(project / "apps/orders")
    (project / "apps/orders/__pycache__").mkdir(parents=True)  # git leaves it
    manage(project, tools, "check")
    manage(project, tools, "startfeature", "orders")
    assert "apps/orders/consumers.py" in paths(project)


def test_works_while_checks_fail_and_the_database_is_unavailable(project: Path, tools: Tools) -> None:
    script = project / "apps/common/static/js/broken.js"
    script.write_text("import './missing.js';\n")
    unavailable = "postgres://none@127.0.0.1:1/none"
    assert "missing.js" in manage(project, tools, "check", succeed=False, DATABASE_URL=unavailable)
    manage(project, tools, "startfeature", "orders", DATABASE_URL=unavailable)
    assert "apps/orders/consumers.py" in paths(project)


# ----------------------------------------------------------------------------------------------------------------------
# The template it comes from
# ----------------------------------------------------------------------------------------------------------------------


def test_a_feature_has_the_version_of_its_project(own_template: Template, tools: Tools, tmp_path: Path) -> None:
    project = own_template.project(tmp_path / "project")
    edit(own_template.path / "template/feature/apps/{{ feature }}/routing.py.jinja", end="# newer\n")
    own_template.release("1.1.0")
    manage(project, tools, "startfeature", "orders")
    assert "# newer" not in (project / "apps/orders/routing.py").read_text()
    assert "_commit: 1.0.0\n" in (project / "apps/orders/.copier-answers.yml").read_text()


def test_a_template_that_is_gone_is_named(own_template: Template, tools: Tools, tmp_path: Path) -> None:
    project = own_template.project(tmp_path / "project")
    own_template.path.rename(tmp_path / "moved")
    lines = refusal(project, tools, "startfeature", "orders")
    assert lines[0].startswith(f"The template {own_template.path} cannot be read at version 1.0.0: ")
    assert lines[1:] == ["If it has moved, write its new address into .copier-answers.yml, as _src_path."]


def test_a_version_that_is_gone_is_named(project: Path, tools: Tools) -> None:
    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("_commit: 1.0.0", "_commit: 9.9.9"))
    assert "cannot be read at version 9.9.9: Unknown revision" in refusal(project, tools, "startfeature", "orders")[0]


def test_a_project_without_answers_is_named(project: Path, tools: Tools) -> None:
    (project / ".copier-answers.yml").unlink()
    assert "which template made this project" in refusal(project, tools, "startfeature", "orders")[0]


def test_a_project_that_took_the_common_part_alone_works(project: Path, tools: Tools) -> None:
    (project / ".copier-answers.yml").rename(project / ".copier-answers.channels.yml")
    (project / ".copier-answers.yml").write_text("_commit: v1\n_src_path: gh:else/where\naccess: staff\n")
    printed = manage(project, tools, "startfeature", "orders")
    assert "\n  python manage.py runserver    then open" in printed
    assert "\n  pytest apps/orders            tests it\n" in printed
    assert "access: authenticated\n" in (project / "apps/orders/.copier-answers.yml").read_text()
    assert "gh:else/where" in (project / ".copier-answers.yml").read_text()


# ----------------------------------------------------------------------------------------------------------------------
# Refusals
# ----------------------------------------------------------------------------------------------------------------------


def test_reports_all_errors_at_once(project: Path, tools: Tools) -> None:
    actions = ["--action", "Place", "--action", "cancel_order id:integer", "--action", "class"]
    options = ["--access", "all", "--per", "room", *actions, "--event", "error"]
    lines = refusal(project, tools, "startfeature", "Order-Items", *options)
    expected = [
        r"feature 'Order-Items' is not snake_case.* Try 'order_items'\.",
        r"access 'all' is not in \['authenticated', 'public', 'staff'\]",
        r"per 'room' is not in \['id', 'site', 'user'\]",
        r"action 'Place' is not snake_case.* Try 'place'\.",
        r"action 'class' is a keyword of Python\. Try 'class_item'.*",
        r"action cancel_order, field 'id:integer': has the unknown type 'integer'; did you mean int\?",
        r"event 'error' is a message type of the protocol\. Try 'error_item'.*",
    ]
    assert len(lines) == len(expected)
    assert [line for line, words in zip(lines, expected, strict=True) if not re.fullmatch(words, line)] == []


# Run in the project; prints what each call is refused with.
TRY_ALL = """
import json, os, sys
import django
from django.core.management import CommandError, call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
for name, options in json.load(open(sys.argv[1])):
    try:
        call_command("startfeature", name, **options)
    except CommandError as error:
        print(json.dumps(str(error)))
"""


def test_refuses_names_as_copier_does(project: Path, tools: Tools, tmp_path: Path) -> None:
    # Every third name: test_names.py tries them all, and it is the same questions that refuse them.
    bad: list[tuple[str, dict[str, list[str]], str]] = [
        *((name, {}, words) for name, words, _ in FEATURES[::3]),
        *(("orders", {"action": [actions], "event": [events]}, words) for actions, events, words, *_ in CONTRACTS[::3]),
    ]
    (tmp_path / "bad.json").write_text(json.dumps([case[:2] for case in bad]))
    before = snapshot(project)
    python = tools.home / ".venv/bin/python"
    printed = run(project, python, "-c", TRY_ALL, tmp_path / "bad.json", PYTHONDONTWRITEBYTECODE="1")
    refused = [json.loads(line) for line in printed.splitlines()]
    assert snapshot(project) == before
    assert len(refused) == len(bad)
    assert [case for case, error in zip(bad, refused, strict=True) if case[2] not in error] == []


def test_refuses_a_feature_that_is_there(template: Template, project: Path, tools: Tools) -> None:
    template.feature("orders", project)
    assert refusal(project, tools, "startfeature", "orders") == [
        "feature 'orders' is there already: apps/orders/consumers.py. Choose another name, or remove the folder first."
    ]


def test_refuses_the_label_of_an_app_that_the_owner_installed(project: Path, tools: Tools) -> None:
    edit(project / "config/settings.py", end='\nINSTALLED_APPS += ["plugins.basket"]\n')
    for folder in ("plugins", "plugins/basket"):
        (project / folder).mkdir()
        (project / folder / "__init__.py").touch()
    assert refusal(project, tools, "startfeature", "basket") == [
        "feature 'basket' is the label of an installed app, plugins.basket. Choose another name."
    ]


@pytest.mark.parametrize("twin", ["Orders", "ORDERS"])
def test_refuses_a_twin_that_differs_by_capital_letters(
    template: Template, project: Path, tools: Tools, twin: str
) -> None:
    (project / "apps" / twin).mkdir()
    (project / "apps" / twin / "models.py").touch()
    words = f"apps/{twin} is there, and not every computer tells it from 'orders'. Choose another name."
    assert refusal(project, tools, "startfeature", "orders") == [words]
    with pytest.raises(ValueError, match=re.escape(words)):
        template.feature("orders", project)


def test_without_a_terminal_it_asks_nothing(project: Path, tools: Tools) -> None:
    assert refusal(project, tools, "startfeature") == [
        "Give the feature a name: manage.py startfeature orders (--help lists the options)."
    ]


# ----------------------------------------------------------------------------------------------------------------------
# In an app of the owner's
# ----------------------------------------------------------------------------------------------------------------------


def test_adds_a_feature_to_an_app(project: Path, tools: Tools) -> None:
    app = make_app(project, tools)
    commit(project)
    before = files_of(app)
    manage(project, tools, "startfeature", "invoices")
    assert {path: text for path, text in files_of(app).items() if path in before} == before
    added = {change.removeprefix("?? apps/invoices/") for change in changes(project)}
    assert {"consumers.py", "views.py", "tests/test_consumer.py"} <= added
    assert added & set(before) == set()
    manage(project, tools, "check")
    manage(project, tools, "makemigrations", "--check")
    tests = [f"apps/invoices/tests/test_{kind}.py" for kind in ("consumer", "invoices")]
    printed = tools.run(project, "python", "-m", "pytest", "-v", *tests)
    assert "test_invoices.py::test_mine PASSED" in printed
    assert "test_consumer.py::" in printed


def test_the_pages_of_an_app_come_before_that_of_its_feature(project: Path, tools: Tools) -> None:
    make_app(project, tools)
    manage(project, tools, "startfeature", "invoices")
    views = ["apps.invoices.addresses.detail", "apps.invoices.views.index"]
    assert views_of(project, tools, "/invoices/5/", "/invoices/demo/") == views
    tools.run(project, "ruff", "format", "--check", "config/urls.py")


def test_adds_a_feature_to_an_app_that_is_as_startapp_made_it(project: Path, tools: Tools) -> None:
    manage(project, tools, "startapp", "invoices")
    before = files_of(project / "apps/invoices")
    manage(project, tools, "startfeature", "invoices")
    after = files_of(project / "apps/invoices")
    assert {path: after[path] for path in before} == before
    assert {"models.py", "views.py", "tests/test_consumer.py"} <= set(after)


def test_refuses_to_hide_the_tests_of_an_app(template: Template, project: Path, tools: Tools) -> None:
    app = make_app(project, tools)
    shutil.rmtree(app / "tests")
    (app / "tests.py").touch()
    words = (
        "apps/invoices/tests.py would be shadowed by the feature's tests/. "
        "Move it to apps/invoices/tests/test_invoices.py, with an __init__.py beside it."
    )
    assert refusal(project, tools, "startfeature", "invoices") == [words]
    with pytest.raises(ValueError, match=re.escape(words)):
        template.feature("invoices", project)
    assert not (project / "apps/invoices/consumers.py").exists()


def test_refuses_to_overwrite_and_lists_every_file(
    template: Template, project: Path, tools: Tools, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(project, tmp_path / "other"))
    made = set(paths(template.feature("orders", other)))
    assert made > MAY_BE_THERE
    for path in made - {"consumers.py"}:
        (project / "apps/orders" / path).parent.mkdir(parents=True, exist_ok=True)
        (project / "apps/orders" / path).touch()
    (project / "apps/orders/views.py").write_text("import os\n")
    (project / "apps/orders/routing.py").write_text("websocket_urlpatterns = []\n")
    [line] = refusal(project, tools, "startfeature", "orders")
    listed = re.fullmatch(r"apps/orders has files that the feature would overwrite: (.+)\. Rename them .+", line)
    assert listed
    assert set(listed[1].split(", ")) == made - MAY_BE_THERE - {"consumers.py"}
    before = snapshot(project)
    with pytest.raises(ValueError, match=re.escape(line)):
        template.feature("orders", project)
    assert snapshot(project) == before


def test_refuses_to_hide_a_module(template: Template, project: Path, tools: Tools) -> None:
    (project / "apps/orders.py").touch()
    [line] = refusal(project, tools, "startfeature", "orders")
    assert line.startswith("apps/orders.py is there, and a folder apps/orders would shadow it.")
    with pytest.raises(ValueError, match=re.escape(line)):
        template.feature("orders", project)


def test_an_app_of_another_name_stops_it(project: Path, tools: Tools) -> None:
    app = make_app(project, tools)
    (app / "apps.py").write_text((app / "apps.py").read_text().replace('"apps.invoices"', '"invoices"'))
    before = snapshot(project)
    printed = manage(project, tools, "startfeature", "invoices", succeed=False)
    assert "Check that 'apps.invoices.apps.InvoicesConfig.name' is correct" in printed
    assert snapshot(project) == before


def test_refuses_an_app_of_another_label(project: Path, tools: Tools) -> None:
    app = make_app(project, tools)
    edit(app / "apps.py", end='    label = "bills"\n')
    assert refusal(project, tools, "startfeature", "invoices") == [
        "apps/invoices/apps.py has the label 'bills'. Write 'invoices', or leave it out."
    ]


# ----------------------------------------------------------------------------------------------------------------------
# In a terminal
# ----------------------------------------------------------------------------------------------------------------------


def in_terminal(project: Path, tools: Tools, *arguments: str) -> "pexpect.spawn[str]":
    return pexpect.spawn(
        str(tools.home / ".venv/bin/python"),
        ["manage.py", "startfeature", *arguments],
        cwd=project,
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 200),
        # Without this, each prompt waits for the terminal to say where its cursor is.
        env={**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_asks_for_what_it_must_know(project: Path, tools: Tools) -> None:
    terminal = in_terminal(project, tools)
    terminal.expect_exact("What is the feature called?")
    terminal.send("Order-Items\r")
    terminal.expect_exact("Try 'order_items'")
    terminal.send("\x15orders\r")  # Ctrl-U clears the line
    terminal.expect_exact("Who may connect?")
    terminal.send("\r")
    terminal.expect_exact("Does it show a table's rows?")
    terminal.send("\r")
    terminal.expect_exact("To whom does a message go?")
    terminal.send("\r")
    terminal.expect_exact("What can a page ask the server to do?")
    terminal.send("\x15place_order item:string\r")
    terminal.expect_exact("did you mean str?")
    terminal.send("\x15place_order item:str:20 event=order_placed\r")
    terminal.expect_exact("What else does the server send?")
    terminal.send("\r")
    terminal.expect_exact("http://127.0.0.1:8000/orders/demo/")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    answers = (project / "apps/orders/.copier-answers.yml").read_text()
    assert "actions: place_order item:str:20 event=order_placed\nevents: ''\n" in answers


def test_interrupting_it_leaves_nothing(project: Path, tools: Tools) -> None:
    before = snapshot(project)
    terminal = in_terminal(project, tools)
    terminal.expect_exact("What is the feature called?")
    terminal.send("orders\r")
    terminal.expect_exact("Who may connect?")
    terminal.send("\x03")
    terminal.expect(pexpect.EOF)
    terminal.close()
    printed = without_colours(terminal.before or "")
    assert "Nothing was made." in printed
    assert "Traceback" not in printed
    assert snapshot(project) == before


# ----------------------------------------------------------------------------------------------------------------------
# startapp
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("below", "tests"), [(".", "tests/test_invoices.py"), ("apps/common", "tests.py")])
def test_an_app_is_found_and_its_tests_too(project: Path, tools: Tools, below: str, tests: str) -> None:
    manage(project, tools, "startapp", "invoices", below=below)
    app = project / "apps/invoices"
    assert 'name = "apps.invoices"\n' in (app / "apps.py").read_text()
    (app / "models.py").write_text(MODEL.lstrip())
    (app / tests).parent.mkdir(exist_ok=True)
    (app / tests).write_text(TEST.lstrip())
    manage(project, tools, "check")
    manage(project, tools, "makemigrations", "invoices")
    assert (app / "migrations/0001_initial.py").is_file()
    assert "1 passed" in tools.run(project, "python", "-m", "pytest", "-q", "apps/invoices")


def test_a_new_app_has_no_file_that_says_nothing(project: Path, tools: Tools) -> None:
    manage(project, tools, "startapp", "invoices")
    made = ["__init__.py", "apps.py", "migrations/__init__.py", "models.py"]
    assert paths(project / "apps/invoices") == made


def test_a_new_app_satisfies_the_linters(project: Path, tools: Tools) -> None:
    manage(project, tools, "startapp", "invoice_items")
    tools.run(project, "ruff", "check", "apps/invoice_items")
    tools.run(project, "ruff", "format", "--check", "apps/invoice_items")
    tools.run(project, "python", "-m", "mypy", "apps/invoice_items")


def test_an_app_may_be_given_its_folder(project: Path, tools: Tools) -> None:
    (project / "apps/invoices").mkdir()
    manage(project, tools, "startapp", "invoices", "apps/invoices")
    manage(project, tools, "check")
    assert 'name = "apps.invoices"\n' in (project / "apps/invoices/apps.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sessions"], "'sessions' is the label of an installed app, django.contrib.sessions"),
        (["common"], "'common' is the label of an installed app, apps.common"),
        (["class"], "'class' is a keyword of Python"),
        (["config"], "conflicts with the name of an existing Python module"),
        (["../invoices"], "is not a valid app name"),
        (["Bills"], "apps/bills is there, and not every computer tells it from 'Bills'"),
        (["bills"], "already exists"),
        (["invoices", "."], "leave the directory out. For an app elsewhere: uv run django-admin startapp invoices ."),
    ],
)
def test_refuses_an_app_that_would_break(project: Path, tools: Tools, arguments: list[str], words: str) -> None:
    (project / "apps/bills").mkdir()
    assert words in " ".join(refusal(project, tools, "startapp", *arguments))
