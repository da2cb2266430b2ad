"""The contract of a feature as other programs take it: AsyncAPI's parser, Ajv, tsc, Vite, git."""

import json
import resource
import shutil
from pathlib import Path

import pytest

from tests.conftest import Shared, Tools
from tests.template import Template, commit, git

PACKAGES = {"@asyncapi/parser": "^3.6.0", "ajv": "^8.17.0", "ajv-formats": "^3.0.0"}
FILES = {
    "__init__.py": "",
    "messages.py": """\
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from apps.common.websockets.messages import Message


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Address(BaseModel):
    city: str
    lines: list[Annotated[str, Field(max_length=40)]] = []


class Part(BaseModel):
    name: str
    parts: list["Part"] = []


class Reserve(Message):
    item: Annotated[str, Field(min_length=1, max_length=20)]
    quantity: Annotated[int, Field(ge=1, le=99)]
    size: Size = Size.SMALL
    address: Address | None = None
    amounts: dict[str, float] = {}
    part: Part | None = None


class Count(Message):
    pass


class CountResult(Message):
    number: int


class Reserved(Reserve):
    id: UUID
    on: date
    by: Literal["page", "shop"] | int = "page"
""",
    "consumers.py": """\
from apps.common.websockets.base_consumer import BaseWebSocketConsumer

from . import messages


class StockConsumer(BaseWebSocketConsumer):
    async def handle_reserve(self, data: messages.Reserve) -> None:
        pass

    async def handle_count(self, data: messages.Count) -> messages.CountResult:
        return messages.CountResult(number=1)
""",
    "routing.py": """\
from django.urls import path, re_path

from . import consumers

websocket_urlpatterns = [
    re_path(r"^ws/stock/(?P<stock_id>[a-z0-9-]{1,40})/$", consumers.StockConsumer.as_asgi()),
    path("ws/stock/", consumers.StockConsumer.as_asgi()),
]
""",
    "static/stock/js/services/stock_websocket.js": """\
import { BaseWebSocketService } from '/static/js/services/websocket.js';

/** @extends {BaseWebSocketService<import('./stock_contract.js').Events>} */
export class StockWebSocketService extends BaseWebSocketService {
    /** @param {import('./stock_contract.js').Reserve} data */
    reserve(data) {
        return this.request({ type: 'reserve', data });
    }

    count() {
        return this.request({ type: 'count' });
    }

    /** @param {any} message */
    handleMessage(message) {
        if (message.type === 'reserved') this.emit('reserved', message);
    }
}
""",
    "static/stock/js/stock_app.js": """\
import { StockWebSocketService } from './services/stock_websocket.js';

const service = new StockWebSocketService({ endpoint: '/ws/stock/' });
service.on('reserved', ({ data }) => console.info(data.item.toUpperCase(), data.quantity));
service.reserve({ item: 'tea', quantity: 1 });
""",
    "templates/stock/index.html": """\
<form data-action="reserve">
    <input name="item">
    <input name="quantity" type="number">
</form>
<template data-event="reserved"><b data-field="item"></b></template>
""",
}
CONTRACT = "apps/stock/static/stock/js/services/stock_contract.d.ts"
# Prints what the official parser finds in the document, and what Ajv thinks of each sample, [schema, message].
JUDGE = """
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');
const { document, diagnostics } = await new Parser().parse(read('asyncapi.json'));
const operations = document?.operations().all().map((each) => [
    `${each.action()} ${each.id()}`,
    each.channels().all().map((channel) => channel.address())[0],
    each.reply()?.messages().all().map((message) => message.id()) ?? [],
]);
const { $defs } = JSON.parse(read('schemas.json'));
const { components } = JSON.parse(read('asyncapi.json'));
const ajv = new Ajv2020({ strict: true, allErrors: true });
addFormats(ajv);
for (const schema of Object.values(components.schemas)) ajv.compile(schema);
const judge = ([name, message]) => ajv.validate($defs[name], message);
const problems = diagnostics.filter(({ severity }) => severity < 2);
console.log(JSON.stringify({ problems, operations, verdicts: JSON.parse(read('samples.json')).map(judge) }));
"""
EACH_TYPE = (
    "place_order item:str quantity:int:1:99 price:decimal:10:2 note:text:100:optional event=order_placed, "
    "save a:slug b:email:optional c:url:100 d:int e:float f:float:0.5:2.50 g:bool h:bool:optional i:date:optional "
    "j:datetime k:time m:uuid n:json o:json:optional p:enum:new:paid:optional q:list:str:20 r:list:bool:optional, "
    "close_shop event=shop_closed"
)
ACCEPTED = {"item": "tea", "quantity": 1}
SAMPLES = [
    (ACCEPTED, True),
    ({"item": "x" * 20, "quantity": 99, "size": "large", "amounts": {"a": 0.5}}, True),
    ({**ACCEPTED, "address": {"city": "Ulm", "lines": ["x" * 40]}}, True),
    ({**ACCEPTED, "address": None}, True),
    ({**ACCEPTED, "part": {"name": "a", "parts": [{"name": "b"}]}}, True),
    ({"item": "", "quantity": 1}, False),
    ({"item": "x" * 21, "quantity": 1}, False),
    ({"item": "tea", "quantity": 0}, False),
    ({"item": "tea", "quantity": 100}, False),
    ({"item": "tea"}, False),
    ({"item": None, "quantity": 1}, False),
    ({**ACCEPTED, "sugar": 1}, False),
    ({**ACCEPTED, "size": "medium"}, False),
    ({**ACCEPTED, "address": {}}, False),
    ({**ACCEPTED, "address": {"city": "Ulm", "lines": ["x" * 41]}}, False),
    ({**ACCEPTED, "amounts": {"a": "much"}}, False),
    (None, False),
]


@pytest.fixture(scope="module")
def programs(tools: Tools, shared: Shared) -> Path:
    """A folder with AsyncAPI's parser and Ajv."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps({"private": True, "type": "module", "dependencies": PACKAGES}))
        tools.node(folder, "npm", "install", "--silent", "--no-audit", "--no-fund")

    return shared.once("contract_programs", make)


@pytest.fixture
def project(plain: Path, tmp_path: Path) -> Path:
    """A project with the feature stock, its contract written, in a subdirectory of a repository; committed."""
    project = Path(shutil.copytree(plain, tmp_path / "repository" / "site"))
    shutil.rmtree(project / ".git", ignore_errors=True)
    for name, text in FILES.items():
        file = project / "apps/stock" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return project


def contract(tools: Tools, project: Path, *options: str, exit_code: int = 0) -> str:
    """The output of `manage.py contract`, which exits with this code."""
    script = 'python manage.py contract "$@"; code=$?; [ $code = "$EXIT_CODE" ] || { echo "exited $code"; exit 1; }'
    return tools.run(project, "env", f"EXIT_CODE={exit_code}", "sh", "-c", script, "sh", *options)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_asyncapi_and_json_schema_are_taken_by_their_own_tools(
    project: Path, tools: Tools, programs: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(programs, tmp_path / "programs", symlinks=True))
    (folder / "asyncapi.json").write_text(document := contract(tools, project, "--format", "asyncapi"))
    (folder / "schemas.json").write_text(contract(tools, project, "stock", "--format", "json-schema"))
    messages = [["StockReserve", {"type": "reserve", "ref": 1, "data": data}] for data, _ in SAMPLES]
    more = [["StockReserve", {"type": "reserve"}], ["StockReserve", {"type": "count", "data": ACCEPTED}]]
    count = ["StockCount", {"type": "count"}]
    (folder / "samples.json").write_text(json.dumps([*messages, *more, count]))
    (folder / "judge.mjs").write_text(JUDGE)

    found = json.loads(tools.node(folder, "node", "judge.mjs"))
    assert found["problems"] == []
    addresses = {"Stock": "/ws/stock/{stock_id}/", "Stock2": "/ws/stock/"}
    assert found["operations"] == [
        operation
        for channel, address in addresses.items()
        for operation in (
            [f"receive {channel}Reserve", address, ["StockReserveResult", "Error"]],
            [f"receive {channel}Count", address, ["StockCountResult", "Error"]],
            [f"send {channel}Reserved", address, []],
        )
    ]
    assert found["verdicts"] == [*(is_accepted for _, is_accepted in SAMPLES), False, False, True]

    channel = json.loads(document)["channels"]["Stock"]
    assert channel["x-close-codes"]["4401"] == "NOT_SIGNED_IN"
    assert list(channel["parameters"]) == ["stock_id"]
    assert json.loads(document)["components"]["securitySchemes"]["session"]["name"] == "sessionid"
    for title in ("StockReserve", "StockReserveAddress", "StockReservePart", "StockReservedAddress"):
        assert f'"title": "{title}"' in document

    # The server thinks the same of each.
    script = "import django, json, sys; django.setup(); from apps.stock.messages import Reserve\n"
    script += "for data in json.loads(sys.argv[1]):\n"
    script += "    try: print(bool(Reserve.model_validate(data)))\n    except ValueError: print(False)"
    samples = json.dumps([data for data, _ in SAMPLES])
    settings = "DJANGO_SETTINGS_MODULE=config.settings"
    printed = tools.run(project, "env", settings, "python", "-c", script, samples)
    assert printed.split() == [str(is_accepted) for _, is_accepted in SAMPLES]


def test_a_new_feature_has_the_file_that_the_command_writes(
    plain: Path, template: Template, tools: Tools, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    template.feature(
        "orders", project, actions=EACH_TYPE, events="order_placed id:int at:datetime:optional, shop_closed"
    )
    template.feature("news", project, events="line_sent text:text")
    assert contract(tools, project, "--check") == ""
    assert [line.rpartition(": ")[2] for line in contract(tools, project).splitlines()] == ["unchanged"] * 2


def seconds_of_programs() -> float:
    """Of the processor, which this process's programs have used: on a busy machine they take longer."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_renamed_field_is_found_at_its_lines_within_five_seconds(project: Path, tools: Tools) -> None:
    contract(tools, project)
    tools.run(project, "sh", "-c", "python manage.py contract --check && tsc")
    replace(project / "apps/stock/messages.py", "    item:", "    product:")

    started = seconds_of_programs()
    printed = contract(tools, project, "--check", exit_code=1)
    contract(tools, project)
    types = tools.run(project, "sh", "-c", "! tsc")
    assert seconds_of_programs() - started < 3 * 5  # twice the command, and a slow machine
    for line in (
        f"{CONTRACT}:1: differs from messages.py; run `manage.py contract stock`",
        "apps/stock/static/stock/js/stock_app.js:4: 'item' is no longer in reserve and reserved",
        "apps/stock/static/stock/js/stock_app.js:5: 'item' is no longer in reserve and reserved",
        "apps/stock/templates/stock/index.html:2: reserve has no field 'item'",
        "apps/stock/templates/stock/index.html:5: reserved has no field 'item'",
    ):
        assert f"{line}\n" in printed
    assert "stock_app.js(4,56): error" in types
    assert "stock_app.js(5,19): error" in types
    assert "templates/stock/index.html:2" in contract(tools, project, "--check", exit_code=1)


def test_make_check_begins_with_the_contracts(project: Path) -> None:
    recipe = (project / "Makefile").read_text().partition("\ncheck:")[2].splitlines()
    assert recipe[1:3] == ["\t@$(RUN) manage.py contract --check", "\t@$(RUN) npx tsc"]


def test_breaking_changes_since_a_revision_are_named(project: Path, tools: Tools, tmp_path: Path) -> None:
    repository = project.parent
    git(repository, "init", "--quiet")
    (repository / ".gitignore").write_text("node_modules\n.mypy_cache\n")
    commit(repository)
    git(repository, "tag", "without")
    contract(tools, project)
    commit(repository)
    git(repository, "tag", "first")
    assert contract(tools, project, "--against", "without") == ""  # a feature that is absent there is new
    assert contract(tools, project, "--against", "HEAD") == ""

    messages = project / "apps/stock/messages.py"
    replace(messages, "    part: Part | None = None\n", "    part: Part | None = None\n    note: str | None = None\n")
    contract(tools, project)
    assert contract(tools, project, "--against", "first") == ""
    replace(messages, "le=99", "le=98")
    replace(messages, "    number: int\n", "    pass\n")
    messages.write_text(messages.read_text() + "\nraise RuntimeError('the files alone are compared')\n")
    assert contract(tools, project, "--against", "first") == ""
    replace(messages, "\nraise RuntimeError('the files alone are compared')\n", "")
    contract(tools, project)
    commit(repository)
    printed = contract(tools, project, "--against", "first", exit_code=1)
    assert printed.splitlines() == [
        "stock: reserve.quantity: int min=1 max=99 became int min=1 max=98",
        "stock: count_result.number: removed",
        "CommandError: 2 of these break open pages.",
    ]
    assert contract(tools, project, "users", "--against", "first") == ""
    (project / CONTRACT).unlink()
    assert "stock: removed" in contract(tools, project, "--against", "first", exit_code=1)

    printed = contract(tools, project, "--against", "nowhere", exit_code=2)
    assert "git knows no revision 'nowhere' here. A shallow clone" in printed
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-tags", f"file://{repository}", str(clone))
    assert "git fetch --unshallow" in contract(tools, clone / "site", "--against", "HEAD~1", exit_code=2)


def test_vite_and_plain_tsc_take_the_types(project: Path, tools: Tools, tmp_path: Path) -> None:
    contract(tools, project)
    owner = tmp_path / "owner"
    owner.mkdir()
    (owner / "main.ts").write_text(
        f"import type {{ Count, Events, Reserve }} from '{project / CONTRACT.removesuffix('.d.ts')}';\n"
        "export const reserve: Reserve = { item: 'tea', quantity: 1, size: 'small' };\n"
        "export const count: Count = {};\n"
        "export const city = (...[{ data }]: Events['reserved']): string | undefined => data.address?.city;\n"
    )
    check = ("tsc", "--strict", "--noEmit", "--module", "esnext", "--moduleResolution", "bundler", "--types", "")
    tools.run(owner, *check, "main.ts")
    (owner / "vite.config.js").write_text("export default { build: { lib: { entry: 'main.ts', formats: ['es'] } } };\n")
    (owner / "package.json").write_text('{"name": "owner", "type": "module"}')
    tools.run(owner, "vite", "build", "--logLevel", "warn")
    [built] = (owner / "dist").glob("*.js")
    assert '"tea"' in built.read_text().replace("`", '"')
    replace(owner / "main.ts", "quantity: 1", "quantity: '1'")
    assert "main.ts(2,48)" in tools.run(owner, "sh", "-c", '! "$@"', "sh", *check, "main.ts")
