"""Pages that are out of date or somebody else's by now, as the visitor sees them."""

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.template import engines
from django.urls import path
from playwright.async_api import expect

from apps.common.contract import pages
from apps.common.contract.contract_file import ContractFile, refresh
from apps.common.tests.serving import PublicConsumer
from apps.common.websockets.access.origin import OriginCheck
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.page_data import page_data
from config.asgi import http
from config.urls import urlpatterns as project_urls

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = """{% extends "base.html" %}
{% load websockets %}
{% block head %}
    <script type="module" nonce="{{ csp_nonce }}">
        import '/static/js/components/connection_status.js';
        import { BaseWebSocketService } from '/static/js/services/websocket.js';

        const status = document.querySelector('connection-status');
        const { websocket: pageData } = document.querySelector('[data-websocket]').dataset;
        window.service = new BaseWebSocketService({ endpoint: '/ws/room/', pageData });
        status.service = service;
        service.on('resync', () => status.reload());
        service.on('outdated', (contract) => status.reload(contract));
        service.on('error', () => {});
        service.connect();
    </script>
{% endblock %}
{% block content %}<div data-websocket="{{ page_data }}">{% connection_status %} <input name="text"></div>{% endblock %}
"""
AT_ONCE = "Math.random = () => 0"  # reloads are spread over five seconds


def page(request: HttpRequest) -> HttpResponse:
    # A view renders "{}" while the stream store is unavailable.
    data = "{}" if "unavailable" in request.GET else page_data(request, "room")
    return HttpResponse(engines["django"].from_string(PAGE).render({"page_data": data}, request))


urlpatterns = [path("page/", page), *project_urls]
websocket = OriginCheck(SessionAuth(URLRouter([path("ws/room/", PublicConsumer.as_asgi())])))
application = ProtocolTypeRouter({"http": http, "websocket": websocket})


@pytest.fixture(autouse=True)
def _served(settings):
    settings.ROOT_URLCONF = __name__
    settings.ASGI_APPLICATION = f"{__name__}.application"


def status(page):
    return page.locator("connection-status")


async def count_loads(page):
    """A list that grows with each load from now on; pages reload at once."""
    loads = []
    await page.add_init_script(AT_ONCE)
    await page.evaluate(AT_ONCE)
    page.on("load", lambda page: loads.append(page.url))
    return loads


async def test_a_page_without_a_position_reloads_three_times_and_then_offers_it(open_page):
    page = await open_page("/page/")
    loads = await count_loads(page)
    await page.goto("/page/?unavailable")
    await expect(status(page).get_by_role("alert")).to_have_text("This page is out of date.")
    await expect(status(page)).to_contain_text("Connected")
    assert len(loads) == 4

    await status(page).get_by_role("button", name="Reload").click()
    await expect(status(page).get_by_role("alert")).to_have_text("This page is out of date.")
    assert len(loads) == 5


async def test_a_page_with_a_position_does_not_reload(open_page):
    page = await open_page("/page/")
    loads = await count_loads(page)
    await page.goto("/page/")
    await expect(status(page)).to_contain_text(" ms")
    await expect(status(page).get_by_role("button")).to_have_count(0)
    assert len(loads) == 1


async def test_a_text_that_was_typed_survives(open_page):
    page = await open_page("/page/")
    loads = await count_loads(page)
    await page.locator("input[name=text]").fill("half a sentence")
    await page.evaluate("service.emit('resync', {})")
    await expect(status(page).get_by_role("alert")).to_have_text("This page is out of date.")
    await expect(status(page).get_by_role("button", name="Reload")).to_be_visible()
    assert await page.locator("input[name=text]").input_value() == "half a sentence"
    assert loads == []

    await page.locator("input[name=text]").fill("")
    async with page.expect_event("load"):
        await page.evaluate("service.emit('resync', {})")


@pytest.fixture
def deploy(tmp_path, monkeypatch):
    """Deploys another contract, in which the action takes a field of this name; returns what pages get of it."""
    file = tmp_path / "common_contract.d.ts"
    monkeypatch.setattr(pages, "path_of", lambda config: file)

    def deploy(field):
        messages = {"say": {"is": "action", "fields": {field: {"kind": "str"}}}}
        file.write_text(refresh("common", file.read_text() if file.exists() else "", messages))
        number, *_ = current = ContractFile(file.read_text()).current
        return f"common:{number}:{current.hash}"

    return deploy


async def test_a_page_from_before_a_deploy_reloads_itself_once_for_each_contract(open_page, deploy):
    old = deploy("first")
    page = await open_page("/page/")
    loads = await count_loads(page)
    deploy("second")
    async with page.expect_event("load"):
        await page.evaluate("service.close(), service.connect().catch(() => {})")
    await expect(status(page)).to_contain_text(" ms")
    await expect(status(page).get_by_role("button")).to_have_count(0)

    await page.evaluate("contract => service.emit('outdated', contract)", old)  # a cache had the old page
    await expect(status(page).get_by_role("alert")).to_have_text("This page is out of date.")
    await expect(status(page)).to_contain_text("Connected")
    assert len(loads) == 1


async def test_a_page_with_a_text_from_before_a_deploy_offers_to_reload(open_page, deploy):
    deploy("first")
    page = await open_page("/page/")
    loads = await count_loads(page)
    await page.locator("input[name=text]").fill("half a sentence")
    deploy("second")
    await page.evaluate("service.close(), service.connect()")
    await expect(status(page).get_by_role("alert")).to_have_text("This page is out of date.")
    await expect(status(page).get_by_role("button", name="Reload")).to_be_visible()
    await expect(status(page)).to_contain_text("Connected")
    assert await page.locator("input[name=text]").input_value() == "half a sentence"
    assert loads == []


@pytest.mark.parametrize(
    ("html", "enter"),
    [
        ("<textarea id=field></textarea>", lambda field: field.fill("a")),
        ("<p id=field contenteditable></p>", lambda field: field.fill("a")),
        ("<select id=field><option>a<option>b</select>", lambda field: field.select_option("b")),
        ("<input id=field type=checkbox>", lambda field: field.check()),
    ],
    ids=["textarea", "editor", "select", "box"],
)
@pytest.mark.parametrize("of_a_component", [False, True])
async def test_what_was_entered_survives(open_page, html, enter, of_a_component):
    page = await open_page("/page/")
    loads = await count_loads(page)
    build = """([html, isComponent]) => {
        const host = document.querySelector('main').appendChild(document.createElement('div'));
        (isComponent ? host.attachShadow({ mode: 'open' }) : host).innerHTML = html;
    }"""
    await page.evaluate(build, [html, of_a_component])
    await enter(page.locator("#field"))
    await page.evaluate("service.emit('resync', {})")
    await expect(status(page).get_by_role("alert")).to_have_text("This page is out of date.")
    assert loads == []


async def test_two_events_within_the_spread_are_one_reload(open_page):
    page = await open_page("/page/")
    loads = await count_loads(page)
    for _ in range(3):
        async with page.expect_event("load"):
            await page.evaluate("[1, 2, 3].forEach(() => service.emit('resync', {}))")
    await page.evaluate("service.emit('resync', {})")
    await expect(status(page).get_by_role("alert")).to_have_text("This page is out of date.")
    assert len(loads) == 3


async def test_after_another_user_has_signed_in_the_page_says_so(open_page, user, other_user):
    page = await open_page("/page/", user)
    await expect(status(page)).to_contain_text("Connected")
    tab = await page.context.new_page()
    await tab.goto(resolve_url(django_settings.LOGIN_URL))
    await tab.locator("[name=username]").fill(other_user.get_username())
    await tab.locator("[name=password]").fill(f"{other_user.get_username()}-password")
    await tab.keyboard.press("Enter")

    await expect(status(page)).to_contain_text("This page was opened by another user.")
    await expect(status(page).get_by_role("button", name="Retry")).to_be_hidden()
    await expect(page.locator("header")).to_contain_text(user.get_username())
    await status(page).get_by_role("button", name="Reload").click()
    await expect(page.locator("header")).to_contain_text(other_user.get_username())
    await expect(status(page)).to_contain_text("Connected")


async def test_an_anonymous_page_stays_connected_after_somebody_has_signed_in(open_page, user):
    page = await open_page("/page/")
    await expect(status(page)).to_contain_text("Connected")
    tab = await page.context.new_page()
    await tab.goto(resolve_url(django_settings.LOGIN_URL))
    await tab.locator("[name=username]").fill(user.get_username())
    await tab.locator("[name=password]").fill(f"{user.get_username()}-password")
    await tab.keyboard.press("Enter")
    await expect(tab.locator("header")).to_contain_text(user.get_username())
    async with page.expect_websocket():
        await page.evaluate("dispatchEvent(new Event('pagehide'))")
        await page.evaluate("service.retry()")
    await expect(status(page)).to_contain_text(" ms")
