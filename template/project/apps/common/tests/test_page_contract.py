"""A page with a contract that the server no longer keeps is outdated; one that is newer tries another process."""

import json
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from django.urls import path, resolve
from django.views import View

from apps.common.contract import pages
from apps.common.contract.contract_file import ContractFile, Version, refresh
from apps.common.testing import connect
from apps.common.websockets.messages import Message
from apps.common.websockets.page_data import page_data
from apps.common.websockets.streams import get_streams

from .serving import PATH, PublicConsumer, serve

pytestmark = pytest.mark.django_db(transaction=True)

OPTIONAL = {"kind": "int", "null": True, "optional": True}
FIRST, SECOND, BROKEN = (
    {"say": {"is": "action", "fields": fields}}
    for fields in ({"a": {"kind": "int"}}, {"a": {"kind": "int"}, "b": OPTIONAL}, {"c": {"kind": "int"}})
)


class Say(Message):
    pass


class Said(Message):
    new: int


class SayingConsumer(PublicConsumer):
    async def handle_say(self, data: Say) -> None:
        pass


class PageView(View):
    pass


def page_view(request): ...


urlpatterns = [path("class/", PageView.as_view()), path("function/", page_view)]


@pytest.fixture
def contract_file(tmp_path, monkeypatch):
    """The contract file of apps.common, which has none; it accepts FIRST and SECOND, its own."""
    file = tmp_path / "common_contract.d.ts"
    file.write_text(refresh("common", refresh("common", "", FIRST), SECOND))
    monkeypatch.setattr(pages, "path_of", lambda config: file)
    return file


def page(messages, number, feature="common"):
    return json.dumps({"contract": f"{feature}:{number}:{Version(number, messages).hash}"})


def client(data, path=PATH, application=None):
    return connect(path, application=application or serve(SayingConsumer), page_data=data)


async def welcome_of(data, path=PATH):
    async with client(data, path) as one:
        answer = await one.request("say")
        assert answer["type"] == "say_result"  # nothing is dropped
        return next(message["data"] for message in one.received if message["type"] == "welcome")


def test_the_file_is_as_these_tests_need_it(contract_file):
    file = ContractFile(contract_file.read_text())
    assert (file.current, [each.number for each in file.accepted]) == (Version(2, SECOND), [1, 2])


@pytest.mark.parametrize("address", ["/class/", "/function/"])
def test_a_page_has_the_contract_of_its_view(address, contract_file, settings):
    settings.ROOT_URLCONF = __name__
    request = RequestFactory().get(address)
    request.user, request.resolver_match = AnonymousUser(), resolve(address)
    assert json.loads(page_data(request, "room"))["contract"] == json.loads(page(SECOND, 2))["contract"]


def test_a_page_of_another_app_names_it(contract_file):
    assert json.loads(page_data(None, "room", app="apps.common"))["contract"].startswith("common:2:")
    assert "contract" not in json.loads(page_data(None, "room"))
    assert "contract" not in json.loads(page_data(None, "room", app="apps.nowhere"))


def test_a_page_of_a_feature_without_a_contract_file_has_none():
    assert "contract" not in json.loads(page_data(None, "room", app="apps.common"))


@pytest.mark.parametrize(
    ("data", "outdated"),
    [
        (page(SECOND, 2), False),
        (page(FIRST, 1), False),  # compatible
        (page(BROKEN, 1), True),
        (page(BROKEN, 2), True),  # of another branch
        (page(BROKEN, 1, "orders"), False),  # of another feature
        ("{}", False),
        ('{"contract": "common"}', False),
        ('{"contract": "common:x:y"}', False),
        ('{"contract": "common:²:y"}', False),
    ],
)
async def test_an_outdated_page_is_named_in_the_welcome(data, outdated, contract_file):
    assert (await welcome_of(data)).get("outdated", False) is outdated


async def test_a_time_that_is_no_number_makes_nothing_outdated(contract_file):
    assert "outdated" not in await welcome_of(page(BROKEN, 3), f"{PATH}?waited=a")


async def test_without_a_contract_file_no_page_is_outdated():
    assert "outdated" not in await welcome_of(page(BROKEN, 1))


async def test_a_damaged_contract_file_is_logged_once_and_fails_no_page(contract_file, caplog):
    contract_file.write_text("<<<<<<< a\n=======\n>>>>>>> b\n")
    for _ in range(2):
        assert "outdated" not in await welcome_of(page(BROKEN, 9))
    assert "contract" not in json.loads(page_data(None, "room", app="apps.common"))
    assert [record.message for record in caplog.records] == [
        "The contract file of apps.common cannot be read: it has conflict markers"
    ]


async def test_a_contract_file_that_changes_is_read_again(contract_file):
    assert (await welcome_of(page(BROKEN, 1)))["outdated"]
    contract_file.write_text(refresh("common", contract_file.read_text(), BROKEN))
    assert "outdated" not in await welcome_of(page(BROKEN, 1))
    assert (await welcome_of(page(FIRST, 1)))["outdated"]


@pytest.mark.parametrize("waited", ["", "?waited=59999"])
async def test_a_page_that_is_newer_than_the_process_tries_another_one(waited, contract_file):
    async with client(page(BROKEN, 3), PATH + waited) as one:
        await one.assert_closed(1012)
        assert one.received == []


async def test_a_page_that_is_newer_than_all_processes_is_outdated_after_a_minute(contract_file):
    assert (await welcome_of(page(BROKEN, 3), f"{PATH}?waited=60000"))["outdated"]
    assert "outdated" not in await welcome_of(page(FIRST, 3), f"{PATH}?waited=60000")


async def test_a_newer_page_without_access_is_refused_for_that(contract_file):
    class ClosedConsumer(PublicConsumer):
        async def is_allowed(self):
            return False

    async with client(page(BROKEN, 3), application=serve(ClosedConsumer)) as one:
        await one.assert_closed(4401)


async def test_a_broadcast_that_no_longer_validates_is_replayed_as_it_was():
    kept = {"type": "said", "data": {"old": [1, "2", None]}}
    with pytest.raises(ValueError, match="old"):
        Said.model_validate(kept["data"])
    async with client("{}") as one:
        await one.drop()
        await get_streams().aappend("room", json.dumps(kept))
        await one.open()
        assert (await one.assert_broadcast("said"))["data"] == kept["data"]
        await one.assert_silent()


def test_only_an_app_has_a_contract(monkeypatch):
    monkeypatch.setattr(pages, "apps", SimpleNamespace(get_containing_app_config=lambda module: None))
    assert pages.FeatureContracts().of_page("os.path") is None
