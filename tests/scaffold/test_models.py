"""Features with a model: the grammar, what is refused, and what is rendered."""

import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

from tests.conftest import Tools
from tests.scaffold.test_names import validators
from tests.scaffold.test_options import LINTERS, counted
from tests.template import ROOT, Template, run, snapshot

pytestmark = pytest.mark.turn(3)

# The answer `model`, and words of the refusal.
MODELS = [
    ("order item:str", "model 'order' is not PascalCase: letters A-Z, a-z and digits"),
    ("order_line item:str", "try 'OrderLine'"),
    ("Order_line item:str", "try 'OrderLine'"),
    ("HTMLPage item:str", "try 'HtmlPage'"),
    ("order-line item:str", "try 'OrderLine'"),
    ("2ndOrder item:str", "is not PascalCase"),
    ("class item:str", "try 'Class'"),
    ("None item:str", "would shadow a class that the feature or Django uses; try 'NoneItem'"),
    ("Model item:str", "would shadow a class"),
    ("Message item:str", "would shadow a class"),
    ("Consumer item:str", "would shadow a class"),
    ("A" + "a" * 20 + " item:str", "use at most 20"),
    ("Order " + "a" * 25 + ":fk:boards.Board item:str", "has 25 characters; use at most 24 for a foreign key"),
    ("item:str", "the model has no name; write it first, as in 'Order item:str'"),
    ("Order", "has no fields; write them as in 'Order item:str:200 quantity:int'"),
    ("Order item:str, Line item:str", "model has a comma; a feature has one model"),
    ("Order item:str event=placed", "field 'event=placed': has an =; a model has fields alone"),
    ("Order item:'str'", "model has ''': only letters, digits"),
    ("Order item:str\nquantity:int", "model has a line break"),
    ("Order id:int", "field 'id:int': is the key that each model has already; leave it out"),
    ("Order pk:int", "is the key that each model has already"),
    ("Order objects:str", "would shadow an attribute of Django's models; try 'objects_item'"),
    ("Order save:bool", "would shadow an attribute of Django's models"),
    ("Order delete:bool", "would shadow an attribute of Django's models"),
    ("Order clean:bool", "would shadow an attribute of Django's models"),
    ("Order meta:json", "would shadow an attribute of Django's models"),
    ("Order after:int", "is a name that the messages of a live model have; try 'after_item'"),
    ("Order opened:bool", "is a name that the messages of a live model have"),
    ("Order models:int", "would shadow a name that models.py uses"),
    ("Order get_status_display:str", "is a name that Django gives a method"),
    ("Order item:str item:int", "field 'item:int': is there twice"),
    ("Order item:string", "has the unknown type 'string'; did you mean str?"),
    ("Order board:fk", "needs its model, as in 'fk:boards.Board' or 'fk:user'"),
    ("Order board:fk:Board", "is not an app label and a class; write it as in 'fk:boards.Board'"),
    ("Order board:fk:boards.board", "write it as in 'fk:boards.Board'"),
    ("Order board:fk:apps.boards.models.Board", "write it as in 'fk:boards.Board'"),
    ("Order board:fk:boards.Board:cascade", "has 'cascade' behind its model; only 'optional' may follow"),
    ("Order by:fk:User", "write 'fk:user', which is right for every user model"),
    ("Order by:references:user", "did you mean fk?"),
    ("Order board:fk:boards.Board board_id:int", "is the column of the foreign key board"),
    ("Order parent:fk:orders.Order", "points to its own model, so that there is no first row; add :optional"),
    ("Order members:m2m:auth.User", "make a model of the link, such as 'Membership board:fk:boards.Board"),
    ("Order paper:file", "add it to models.py and upload it by HTTP"),
    ("Order photo:image", "it travels as its address"),
    ("Order data:binary", "bytes do not travel"),
    ("Order number:auto", "each model has a key, id"),
    ("Order " + " ".join(f"f{number}:int" for number in range(31)), "has 31 fields; use at most 30, or json"),
    ("Order item:str:readonly:optional", "has 'readonly' before the end; it is the last word"),
    ("Order item:readonly", "has no type; try 'item:str:readonly'"),
    ("Order at:time:readonly", "is required, and no form asks for it; write 'at:time:optional:readonly'"),
    ("Order board:fk:boards.Board:readonly", "write 'board:fk:boards.Board:optional:readonly'"),
    ("Order share:decimal:4:4:readonly", "has no digit for its default, 0"),
    ("Order timezone:str", "would shadow a name that models.py uses"),
    ("shop.order", "is not an app label and a class; write it as in 'shop.Order'"),
    ("apps.shop.models.Order", "write it as in 'shop.Order'"),
    ("shop.Order item:str", "is there already, and its fields are read from Django; remove 'item:str'"),
    ("shop.Order", "only Django knows its fields. Let it read them: manage.py startfeature orders --model shop.Order"),
]
ORDER = "Order item:str:200 quantity:int price:decimal:10:2 status:enum:new:paid customer:fk:user:optional"
TYPES = [
    *("str:80", "text", "slug", "email", "url", "int", "int:1:99", "int:0:9999999999", "float", "float:0:1.5"),
    *("decimal:10:2", "decimal:4:4", "bool", "date", "datetime", "time", "uuid", "json", "list:str", "list:int"),
    *("enum:new", "enum:new:paid", "fk:boards.Board", "fk:user"),
]
READ_ONLY = [
    f"{type_}{':optional' * (type_ in ('time', 'fk:boards.Board', 'decimal:4:4'))}:readonly"
    for type_ in TYPES
    if type_ != "enum:new"
]
FEATURES: dict[str, dict[str, str]] = {
    "orders": {"model": ORDER},
    "boards": {"model": "Board name:str:80", "access": "public"},
    "cards": {"model": "Card board:fk:boards.Board title:str due:date:optional", "per": "id", "access": "staff"},
    "notes": {"model": "Note text:text is_done:bool", "per": "user"},
    "all_types": {"model": "Thing " + " ".join(f"f{number}:{type_}" for number, type_ in enumerate(TYPES))},
    "optional": {"model": "Thing " + " ".join(f"f{number}:{type_}:optional" for number, type_ in enumerate(TYPES))},
    "numbers": {"model": "Number value:int parent:fk:numbers.Number:optional"},
    "kitchen": {
        "model": "Order dish:str:100 status:enum:new:cooking:done:readonly waiter:fk:user:readonly",
        "actions": "add_order, delete_order, advance_order id:int event=advanced",
    },
    "threads": {"model": "Thread title:str is_closed:bool:readonly", "actions": "add_thread, close_thread id:int"},
    "replies": {
        "model": "Reply thread:fk:threads.Thread text:text author:fk:user:readonly sent_at:datetime:readonly",
        "per": "id",
        "actions": "add_reply",
    },
    "table": {"model": "Entry title:str", "actions": "none"},
    "edits": {"model": "Draft title:str by:fk:user note:str:optional:readonly", "actions": "change_draft"},
    "clicks": {"model": "Click at:datetime:readonly"},
    "read_only": {"model": "Thing " + " ".join(f"f{number}:{type_}" for number, type_ in enumerate(READ_ONLY))},
    "more": {"model": "Line text:str", "actions": "knock text:str event=pinged, close_shop", "events": "noted"},
    "drawn": {
        "model": "Thing " + " ".join(f"f{number}:{type_}:optional" for number, type_ in enumerate(TYPES)),
        "actions": "add_thing, delete_thing, count id:int",
        "render": "html",
    },
    "drawn_replies": {"model": "Reply thread:fk:threads.Thread n:int is_new:bool", "per": "id", "render": "html"},
    "drawn_table": {"model": "Entry title:str", "actions": "none", "access": "public", "render": "html"},
    "b" * 40: {"model": "B" + "b" * 19 + " " + "c" * 40 + ":str " + "d" * 24 + ":fk:boards.Board"},
    "c" * 40: {"model": "B" + "b" * 19 + " " + "c" * 40 + ":str " + "d" * 24 + ":fk:boards.Board", "per": "id"},
}


@cache
def grammar() -> Any:
    """The macros of lib/model.jinja."""
    loader = jinja2.FileSystemLoader(ROOT)
    environment = jinja2.Environment(loader=loader, extensions=[AnsibleCoreFiltersExtension], autoescape=False)  # noqa: S701
    return environment.get_template("lib/model.jinja").module


def refusal_of(model: str, feature: str = "orders") -> str:
    return str(grammar().validate_model(feature, model, None)).strip()


def test_each_error_is_refused_with_its_fix() -> None:
    assert len(MODELS) >= 30
    refused = [(model, words, refusal_of(model)) for model, words in MODELS]
    assert [case for case in refused if case[1] not in case[2]] == []


def test_what_is_right_is_taken() -> None:
    assert {name: found for name, each in FEATURES.items() if (found := refusal_of(each["model"], name))} == {}


def test_all_errors_are_named_at_once() -> None:
    lines = refusal_of("order id:int item:string board:fk").splitlines()
    assert [line.partition(":")[0] for line in lines[:1]] == ["model 'order' is not PascalCase"]
    assert lines[1:] == [
        "model order, field 'id:int': is the key that each model has already; leave it out",
        "model order, field 'item:string': has the unknown type 'string'; did you mean str?",
        "model order, field 'board:fk': needs its model, as in 'fk:boards.Board' or 'fk:user'",
    ]


@pytest.mark.parametrize(
    ("model", "per", "words"),
    [
        ("Card title:str", "id", "per=id needs a parent: a required foreign key of Card"),
        ("Card title:str board:fk:boards.Board:optional", "id", "per=id needs a parent"),
        ("Card title:str by:fk:user", "id", "per=id needs a parent"),
        ("Card board:fk:boards.Board", "id", "has no field beside its parent board"),
        ("Card title:str owner:str", "user", "per=user adds the field owner"),
        ("Card title:str board:fk:boards.Board", "id", ""),
        ("Card title:str", "user", ""),
    ],
)
def test_a_model_fits_to_whom_its_messages_go(model: str, per: str, words: str) -> None:
    refused = str(grammar().validate_model_per("cards", model, None, per)).strip()
    assert words in refused
    assert bool(words) == bool(refused)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("", "render=html draws the rows of a model, and this feature has none."),
        ("Card html:text", "model Card has one of that name. Rename it, or use render=data."),
        ("Card title:str", ""),
    ],
)
def test_a_template_draws_the_rows_of_a_model(model: str, words: str) -> None:
    assert words in str(grammar().validate_render("cards", model, None, "html"))
    assert not str(grammar().validate_render("cards", model, None, "data")).strip()


@pytest.mark.parametrize("name", ["add_order", "change_order", "delete_order", "order_row", "order_parent"])
def test_further_messages_have_other_names(name: str) -> None:
    rules = validators()
    assert "is there twice" in str(rules.validate_actions("orders", f"{name} item:str", ORDER))
    assert "is there twice" in str(rules.validate_events("orders", "", name, ORDER))
    assert not str(rules.validate_actions("orders", name, "")).strip()


@pytest.mark.parametrize(("model", "words"), MODELS[::10])
def test_nothing_is_written(template: Template, plain: Path, tmp_path: Path, model: str, words: str) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    before = snapshot(project)
    with pytest.raises(ValueError, match=re.escape(words)):
        template.feature("orders", project, model=model)
    assert snapshot(project) == before


def test_an_app_with_models_keeps_them(template: Template, plain: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    (project / "apps/orders").mkdir()
    (project / "apps/orders/models.py").write_text("# mine\n")
    with pytest.raises(ValueError, match=r"would overwrite: models\.py"):
        template.feature("orders", project, model=ORDER)


@pytest.fixture(scope="module")
def project(template: Template, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project with all the features, and their migrations."""
    project = template.project(tmp_path_factory.mktemp("models") / "project")
    for feature, answers in FEATURES.items():
        template.feature(feature, project, **answers)
    tools.run(project, "python", "manage.py", "makemigrations", "--verbosity", "0")
    return project


@pytest.mark.parametrize("linter", LINTERS)
def test_every_feature_satisfies(linter: str, project: Path, tools: Tools) -> None:
    tools.run(project, *LINTERS[linter])


def test_every_feature_passes_its_tests_of_the_server(project: Path, tools: Tools) -> None:
    consumer_tests = [f"apps/{feature}/tests/test_consumer.py" for feature in FEATURES]
    printed = tools.run(project, "python", "-m", "pytest", "-q", *consumer_tests)
    assert counted("passed", printed) >= 4 * len(FEATURES)
    assert "skipped" not in printed


def test_the_pages_work_in_a_browser(project: Path, tools: Tools) -> None:
    tools.run(project, "python", "-m", "apps.common.testing.chromium")
    browser_tests = [f"apps/{feature}/tests/test_browser.py" for feature in FEATURES]
    printed = tools.run(project, "python", "-m", "pytest", "-q", *browser_tests)
    written = sum((project / path).read_text().count("async def test_") for path in browser_tests)
    assert counted("passed", printed) == written >= len(FEATURES)
    assert "skipped" not in printed


def test_every_feature_passes_its_tests_of_the_service(project: Path, tools: Tools) -> None:
    printed = tools.run(project, "vitest", "run", *(f"apps/{feature}/tests" for feature in FEATURES))
    assert f"Test Files  {len(FEATURES)} passed ({len(FEATURES)})" in printed


def test_errors_of_django_and_of_the_grammar_are_named_at_once(plain: Path, tmp_path: Path, tools: Tools) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    python = str(tools.home / ".venv/bin/python")
    before = snapshot(project)
    command = [python, "-B", "manage.py", "startfeature", "cards", "--model"]
    printed = run(project, *command, "Card board:fk:boards.Board title:strr", succeed=False)
    assert "model 'boards.Board': no installed app has the label 'boards'" in printed
    assert "field 'title:strr': has the unknown type 'strr'; did you mean str?" in printed
    printed = run(project, *command, "Card title:str", "--per", "id", succeed=False)
    assert printed.count("per=id needs a parent") == 1
    printed = run(project, *command, "users.Usr", succeed=False)
    assert "the app users has no model Usr; did you mean User?" in printed
    assert snapshot(project) == before


ROLES = """
import pytest
from apps.common.testing import connect
from django.contrib.auth.models import Group

from ..models import Order

pytestmark = pytest.mark.django_db(transaction=True)


async def test_an_order_goes_from_one_state_to_the_next_and_leaves(user, other_user):
    await (await Group.objects.acreate(name="cooks")).user_set.aadd(other_user)
    path = "/ws/orders/"
    async with connect(path, user) as waiter, connect(path, other_user) as cook:
        await waiter.request("add_order", dish="Ramen", table=1)
        saved = await cook.assert_broadcast("order_saved", dish="Ramen", status="new")
        assert saved["data"]["waiter"]["label"] == "ann"
        key = saved["data"]["id"]
        assert (await waiter.request("start_order", id=key))["data"]["code"] == "forbidden"
        assert (await cook.request("delete_order", id=key))["data"]["code"] == "forbidden"
        assert (await cook.request("start_order", id=key))["type"] == "start_order_result"
        await waiter.assert_broadcast("order_saved", status="cooking")
        for client, action in ((cook, "start_order"), (waiter, "delete_order")):
            answer = await client.request(action, id=key)
            assert answer["data"] == {"code": "too_late", "message": "This order is Cooking."}
        await cook.request("finish_order", id=key)
        await waiter.assert_broadcast("order_deleted", id=key)
        assert (await Order.objects.aget()).status == "done"
"""


def test_the_board_of_the_guide_works(template: Template, plain: Path, tools: Tools, tmp_path: Path) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    section = (project / "docs/websockets.md").read_text().partition("### Live models")[2]
    [command] = re.findall(r"manage.py (startfeature orders .+)", section)
    words = shlex.split(command)
    actions = [words[number + 1] for number, word in enumerate(words) if word == "--action"]
    template.feature("orders", project, model=words[words.index("--model") + 1], actions=", ".join(actions))
    for path, heads in {
        "live.py": ["queryset", "may"],
        "consumers.py": ["handle_start_order", "handle_finish_order"],
    }.items():
        file = project / "apps/orders" / path
        [guide] = re.findall(rf"In `{path}`:\n\n((?:(?:    .*)?\n)+)", section)
        generated = file.read_text()
        for head in heads:
            method = rf"(?:    @classmethod\n)?    (?:async )?def {head}\(.*\n(?:(?:        .*)?\n)+"
            [own] = re.findall(method, guide)
            [old] = re.findall(method, generated)
            generated = generated.replace(old, own)
            imported = "from apps.common.live.declaration"
            if "MessageError" in own:
                line = "from apps.common.websockets.messages import MessageError\n"
                generated = generated.replace(imported, line + imported, 1)
        file.write_text(generated)
    (project / "apps/orders/tests/test_roles.py").write_text(ROLES)
    tools.run(project, "python", "manage.py", "makemigrations", "--verbosity", "0")
    tools.run(project, "mypy", "apps/orders")
    assert counted("passed", tools.run(project, "python", "-m", "pytest", "-q", "apps/orders/tests/test_roles.py")) == 1
