"""Every name that would break later is refused now: the message names the fix, and nothing is written."""

import keyword
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

from tests.template import ROOT, Template, paths, snapshot

pytestmark = pytest.mark.turn(3)  # short ones, of which a worker may have the next beside a long one

COMMON = ROOT / "template/project/apps/common"
WEBSOCKETS = "template/project/apps/common/websockets"

# The name, the words of the refusal, and what the refusal proposes, or a name as near as possible.
FEATURES = [
    ("class", "is a keyword of Python. Try 'class_item'", "class_item"),
    ("type", "is a keyword of Python", "type_item"),  # a soft one
    ("none", "is a keyword of Python", "none_item"),
    ("Orders", "is not snake_case: small letters a-z and digits, words joined by _", "orders"),
    ("order-items", "Try 'order_items'", "order_items"),
    ("OrderItems", "Try 'order_items'", "order_items"),
    ("sms_2fa", "each beginning with a letter. Try 'sms2fa'", "sms2fa"),
    ("2fa", "Try 'fa'", "fa"),
    ("orders ", "Try 'orders'", "orders"),
    ("orders;drop", "Try 'orders_drop'", "orders_drop"),
    ("_orders", "Try 'orders'", "orders"),
    ("orders__new", "Try 'orders_new'", "orders_new"),
    ("../orders", "Try 'orders'", "orders"),
    ("\u043erders", "'\u043e' (\\u043e) is none of these", "orders"),  # a Cyrillic o
    ("\uff4frders", "is not snake_case", "orders"),  # a full-width o
    ("pro\ufb01les", "is not snake_case", "profiles"),  # a ligature
    ("orders\u0661", "is not snake_case", "orders1"),  # an Arabic digit
    ("naïve", "Try 'naive'", "naive"),
    ("nai\u0308ve", "Try 'naive'", "naive"),  # its accent is a character by itself
    ("ÓrdersGröße", "Try 'orders_grosse'", "orders_grosse"),
    ("日本", "'日' (\\u65e5) is none of these", "nihon"),
    ("a" * 60, "has 60 characters; use at most 40", "a" * 40),
    ("a" * 41, "has 41 characters; use at most 40", "a" * 40),
    ("common", "is the label of an installed app. Try 'common_feed'", "common_feed"),
    ("messages", "is the label of an installed app. Try 'messages_feed'", "messages_feed"),
    ("js", "is a folder of static files or templates in use", "js_feed"),
    ("accounts", "is a route in use", "accounts_feed"),
    ("config", "is a name the project itself uses", "config_feed"),
    ("state", "is a name the project itself uses", "state_feed"),
    ("base", "would shadow", "base_feed"),  # BaseWebSocketService extends BaseWebSocketService
]

# Actions, events, the words of the refusal, and actions and events that are as near as possible.
CONTRACTS = [
    ("class", "x", "action 'class' is a keyword of Python", "class_item", "x"),
    ("Place", "x", "action 'Place' is not snake_case", "place", "x"),
    ("place-order", "x", "Try 'place_order'", "place_order", "x"),
    ("place,,cancel", "x", "an action is empty", "place,cancel", "x"),
    (" ", "", "there is neither an action nor an event. Give at least one", "place", ""),
    ("a" * 41, "x", "use at most 40", "a" * 40, "x"),
    ("message", "x", "is a message type of the protocol. Try 'message_item'", "message_item", "x"),
    ("ping", "x", "is a message type of the protocol", "ping_item", "x"),
    ("send", "x", "would shadow a member of the JavaScript service. Try 'send_item'", "send_item", "x"),
    ("constructor", "x", "would shadow a member of the JavaScript service", "constructor_item", "x"),
    ("orders_id", "x", "would shadow a member of the JavaScript service", "orders_ids", "x"),
    ("exception", "x", "would shadow a name", "exception_item", "x"),
    ("text", "x", "would shadow a name", "text_item", "x"),
    ("place,place", "x", "action 'place' is there twice", "place,replace", "x"),
    ("place_it,placeit", "x", "names that differ by _ alone count as one", "place_it,place", "x"),
    ("place,place_result", "x", "is there twice", "place,place_results", "x"),
    ("place", "place", "event 'place' is there twice", "place", "placed"),
    ("place", "place_result", "event 'place_result' is there twice", "place", "place_results"),
    ("place", "plac_e", "event 'plac_e' is there twice", "place", "plac"),
    ("place", "placed,placed", "event 'placed' is there twice", "place", "placed,sent"),
    ("place", "Placed", "event 'Placed' is not snake_case", "place", "placed"),
    ("place", "placed,", "an event is empty: there is a comma too many", "place", "placed"),
    ("place", "error", "is a message type of the protocol", "place", "error_item"),
    ("place", "latency", "is one that the JavaScript service emits itself", "place", "latency_item"),
    ("place", "connection_status", "is one that the JavaScript service emits itself", "place", "connection_statuses"),
    ("place", "return", "is a keyword of Python", "place", "returned"),
    ("place", "options", "would shadow", "place", "option"),  # a type that the service's module imports
    ("place", "promise", "would shadow", "place", "promised"),
]


@pytest.fixture
def project(plain: Path, tmp_path: Path) -> Path:
    """A project without features, of which each test has its own copy."""
    return Path(shutil.copytree(plain, tmp_path / "project"))


def assert_refuses(words: str, below: Path, make: Callable[[], object]) -> None:
    before = snapshot(below)
    with pytest.raises(ValueError, match=re.escape(words)) as refusal:
        make()
    assert "\n" not in str(refusal.value).strip()
    assert snapshot(below) == before


@pytest.mark.parametrize(("name", "words", "fix"), FEATURES)
def test_refuses_a_feature_that_would_break(
    template: Template, project: Path, tmp_path: Path, name: str, words: str, fix: str
) -> None:
    assert_refuses(words, tmp_path, lambda: template.feature(name, project))
    assert accepted_features({fix}) == {fix}


@pytest.mark.parametrize("name", ["\u043erders", "orders日", "pro\ufb01les"])
def test_suggests_nothing_for_letters_that_it_does_not_know(name: str) -> None:
    assert "Try 'orders'" in str(validators().validate_feature("Orders"))
    assert str(validators().validate_feature(name)).endswith("is none of these.")


@pytest.mark.parametrize(("actions", "events", "words", "good_actions", "good_events"), CONTRACTS)
def test_refuses_a_contract_that_would_break(
    template: Template,
    project: Path,
    tmp_path: Path,
    actions: str,
    events: str,
    words: str,
    good_actions: str,
    good_events: str,
) -> None:
    assert_refuses(words, tmp_path, lambda: template.feature("orders", project, actions=actions, events=events))
    assert accepts_contract(good_actions, good_events)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"project_name": " "}, "project_name is empty; give it a name, such as My Project"),
        ({"project_name": "a\nb"}, "project_name has a line break or a control character; use one line"),
        ({"description": "a\u2028b"}, "description has a line break"),
        ({"author": "a\x00b"}, "author has a line break or a control character"),
        ({"author": "x" * 201}, "author has 201 characters; use at most 200"),
        ({"feature": "orders"}, "there is no generated project in this folder. Run it in the project's root"),
    ],
)
def test_refuses_a_project_that_would_break(
    template: Template, tmp_path: Path, answers: dict[str, str], words: str
) -> None:
    assert_refuses(words, tmp_path, lambda: template.project(tmp_path / "project", **answers))
    assert not (tmp_path / "project").exists()
    assert (template.project(tmp_path / "project") / "manage.py").is_file()


# ----------------------------------------------------------------------------------------------------------------------
# The wrong place
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistyped", [{"feture": "x"}, {"feature": ""}, {}])
def test_a_mistyped_question_does_not_render_the_project_over_itself(
    template: Template, project: Path, tmp_path: Path, mistyped: dict[str, str]
) -> None:
    (project / "manage.py").write_text("# mine\n")
    words = "this folder is a generated project already. To add a feature: copier copy -d feature=NAME TEMPLATE ."
    assert_refuses(words, tmp_path, lambda: template.copy(project, mistyped))
    template.copy(project, {"feature": "x"})
    assert (project / "apps/x/consumers.py").is_file()


@pytest.mark.parametrize("folder", ["apps", "apps/common", "new"])
def test_refuses_a_feature_in_a_sub_folder_of_a_project(
    template: Template, project: Path, tmp_path: Path, folder: str
) -> None:
    (project / folder).mkdir(exist_ok=True)
    assert_refuses("Run it in the project's root", tmp_path, lambda: template.feature("orders", project / folder))
    assert (template.feature("orders", project) / "consumers.py").is_file()


def test_refuses_a_feature_in_the_folder_of_another(template: Template, project: Path, tmp_path: Path) -> None:
    folder = template.feature("orders", project)
    assert_refuses("Run it in the project's root", tmp_path, lambda: template.feature("items", folder))
    assert (template.feature("items", project) / "consumers.py").is_file()


def test_refuses_a_feature_in_a_project_of_another_template(template: Template, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ".copier-answers.yml").write_text("_commit: v1\n_src_path: gh:else/where\nproject_name: Other\n")
    assert_refuses("Run it in the project's root", tmp_path, lambda: template.feature("orders", other))
    assert (template.feature("orders", project) / "consumers.py").is_file()


def test_refuses_a_project_in_a_project_of_another_template(template: Template, tmp_path: Path) -> None:
    (tmp_path / ".copier-answers.yml").write_text("_commit: v1\n_src_path: gh:else/where\nproject_name: Other\n")
    assert_refuses("another template", tmp_path, lambda: template.project(tmp_path))
    (tmp_path / ".copier-answers.yml").unlink()
    assert (template.project(tmp_path) / "manage.py").is_file()


def test_refuses_a_project_in_a_project_of_djangos(template: Template, tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text("# mine\n")
    words = "To bring the common part into it: copier copy -d existing=true TEMPLATE ."
    assert_refuses(words, tmp_path, lambda: template.project(tmp_path))
    template.copy(tmp_path, {"existing": True})
    assert (template.feature("orders", tmp_path) / "consumers.py").is_file()
    assert (tmp_path / "manage.py").read_text() == "# mine\n"


def test_refuses_a_feature_that_is_there(template: Template, project: Path, tmp_path: Path) -> None:
    template.feature("orders", project)
    (project / "apps/orders/consumers.py").write_text("# mine\n")
    assert_refuses("is there already", tmp_path, lambda: template.feature("orders", project, events="changed"))
    assert (template.feature("order", project) / "consumers.py").is_file()


def test_keeps_the_files_that_a_target_folder_already_has(template: Template, tmp_path: Path) -> None:
    mine = {"README.md": "mine\n", "apps/common/static/js/services/websocket.js": "mine\n", "notes.txt": "mine\n"}
    for path, text in mine.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    template.project(tmp_path)
    assert {path: (tmp_path / path).read_text() for path in mine} == mine
    assert {"manage.py", ".copier-answers.yml", "apps/common/static/js/services/websocket/page_events.js"} <= set(
        paths(tmp_path)
    )


# ----------------------------------------------------------------------------------------------------------------------
# The lists of refusals are complete
# ----------------------------------------------------------------------------------------------------------------------


@cache
def validators() -> Any:
    """The macros of lib/validators.jinja. They need no copy to be made, so that whole lists can be asked for."""
    loader = jinja2.FileSystemLoader(ROOT)
    environment = jinja2.Environment(loader=loader, extensions=[AnsibleCoreFiltersExtension], autoescape=False)  # noqa: S701
    return environment.get_template("lib/validators.jinja").module


def accepted_features(names: set[str]) -> set[str]:
    return {name for name in names if not str(validators().validate_feature(name)).strip()}


def accepted_actions(names: set[str]) -> set[str]:
    return {name for name in names if not str(validators().validate_actions("orders", name)).strip()}


def accepted_events(names: set[str]) -> set[str]:
    return {name for name in names if not str(validators().validate_events("orders", "x", name)).strip()}


def accepts_contract(actions: str, events: str) -> bool:
    refused = str(validators().validate_actions("orders", actions)) + str(
        validators().validate_events("orders", actions, events)
    )
    return not refused.strip()


def snake(name: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def test_accepts_ordinary_names() -> None:
    names = {"orders", "live_chat", "order", "order_items", "invoices", "http", "calendar", "queue"}
    assert accepted_features(names) == names
    assert accepted_actions(names) == names
    assert accepted_events(names) == names


def test_refuses_every_keyword_of_python() -> None:
    keywords = {name.lower() for name in [*keyword.kwlist, *keyword.softkwlist]}
    assert accepted_features(keywords) == set()
    assert accepted_actions(keywords) == set()
    assert accepted_events(keywords) == set()


def test_refuses_every_label_of_an_installed_app() -> None:
    labels = set(re.findall(r'"(?:django\.contrib|apps)\.(\w+)"', read("template/project/config/settings.py.jinja")))
    assert {"admin", "common", "messages"} <= labels
    assert accepted_features(labels) == set()


def test_refuses_every_folder_of_static_files_and_templates() -> None:
    roots = [COMMON / "static", COMMON / "templates", ROOT / "template/project/templates"]
    folders = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    assert {"common", "js", "registration"} <= folders
    assert accepted_features(folders) == set()


def test_refuses_every_route() -> None:
    routes = set(re.findall(r'path\("(\w+)', read("template/project/config/urls.py")))
    assert {"admin", "accounts"} <= routes
    assert accepted_features(routes) == set()


def test_refuses_every_folder_and_module_of_a_project() -> None:
    top = [path for path in (ROOT / "template/project").iterdir() if path.is_dir() or path.suffix == ".py"]
    names = {path.stem for path in top} - {".github"}
    assert {"apps", "config", "manage"} <= names
    assert accepted_features(names) == set()


def test_refuses_every_reserved_type_of_the_protocol() -> None:
    source = read(f"{WEBSOCKETS}/messages.py")
    declared = re.findall(r"^(?:PROTOCOL|RESERVED)_TYPES = (.+?)\n(?=RESERVED|\n)", source, re.M | re.S)
    assert len(declared) == 2
    types = set(re.findall(r'"(\w+)"', " ".join(declared)))
    assert {"welcome", "ping", "error", "message", "state"} <= types
    assert accepted_actions(types) == set()
    assert accepted_events(types) == set()


def test_refuses_the_names_that_are_kept_for_later() -> None:
    kept = {"state", "presence", "outdated", "contract", "snapshot"}
    assert accepted_features(kept) == accepted_actions(kept) == accepted_events(kept) == set()


def test_refuses_every_member_of_the_service() -> None:
    scripts = [(COMMON / "static/js/services" / name).read_text() for name in ("websocket.js", "websocket/events.js")]
    members = {name for script in scripts for name in re.findall(r"^    (?:(?:async|get|set) )*(\w+)\(", script, re.M)}
    assert {"connect", "emit", "request", "isConnected"} <= members
    assert accepted_actions({snake(name) for name in members}) == set()


def test_refuses_every_event_of_the_service() -> None:
    script = (COMMON / "static/js/services/websocket.js").read_text()
    events = set(re.findall(r"this\.emit\('(\w+)'", script))
    assert "connectionStatus" in events
    assert accepted_events({snake(name) for name in events}) == set()


def test_refuses_every_handler_of_the_base_consumer() -> None:
    handlers = set(re.findall(r"def handle_(\w+)\(", read(f"{WEBSOCKETS}/base_consumer.py")))
    assert "message" in handlers
    assert accepted_actions(handlers) == set()


def test_refuses_every_name_that_a_features_modules_import() -> None:
    """A class of that name would shadow what messages.py needs, a constant what the tests need."""
    imports = re.findall(r"'([a-z. ]+ [A-Z]\w+)'", read("lib/types.jinja") + read("lib/contract.jinja"))
    tables = re.findall(
        r"'([A-Z]\w+)'", "".join(re.findall(r"set (?:metadata|aliases) = {.+?}", read("lib/types.jinja")))
    )
    imported = {line.split()[1] for line in imports} | set(tables) | {"Digits"}
    assert {"Message", "Text", "DateTime", "Decimal", "Annotated", "Literal", "Field"} <= imported
    tests = [*(ROOT / "template/feature/apps/{{ feature }}/tests").glob("*.py*.jinja")]
    constants = {name for path in tests for name in re.findall(r"^([A-Z_]+) = ", path.read_text(), re.M)}
    assert {"PATH", "OTHER_PATH", "PAGE"} <= constants
    names = {snake(name) for name in imported - {"AnonymousUser", "AbstractBaseUser"}} | {
        name.lower() for name in constants
    }
    assert accepted_actions(names) == set()
    assert accepted_events(names) == set()


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
