"""Pages in German, as an owner who translates the texts of a project sees them."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from playwright.async_api import expect

from apps.common.tests.catalogue import write_catalogue
from config.urls import urlpatterns as project_urls

pytestmark = pytest.mark.django_db(transaction=True)

GERMAN = {
    "There is no feature yet. Add the first one in the project's folder:": "Noch keine Funktion. Die erste anlegen:",
    "Open a page in two windows: what one sends, both receive.": "In zwei Fenstern öffnen: beide erhalten alles.",
    "Log in": "Einloggen",
    "Log out": "Ausloggen",
    "Send": "Absenden",
    "Connected": "Verbunden",
    "Connecting": "Verbindet",
    "Disconnected": "Getrennt",
    "Connection failed": "Keine Verbindung möglich",
    "Retry": "Nochmals",
    "next attempt in {n} s": "neuer Versuch in {n} s",
    "{n} ms": "{n} Millisekunden",
}

LIVE_PAGE = """{% extends "base.html" %}
{% load i18n websockets %}
{% block head %}
    <script type="module" nonce="{{ csp_nonce }}">
        import '/static/js/components/connection_status.js';

        class Service extends EventTarget {
            status = 'disconnected';
            on(event, callback) {
                this.addEventListener(event, ({ detail }) => callback(...detail));
                return () => {};
            }
        }
        window.service = new Service();
        document.querySelector('connection-status').service = window.service;
        window.emit = (event, ...detail) => window.service.dispatchEvent(new CustomEvent(event, { detail }));
    </script>
{% endblock %}
{% block content %}{% connection_status %} <button id="send">{% translate "Send" %}</button>{% endblock %}
"""


def live_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(LIVE_PAGE).render({}, request))


urlpatterns = [path("live-page/", live_page), *project_urls]


@pytest.fixture(autouse=True)
def _german(settings, tmp_path):
    write_catalogue(tmp_path, "de", GERMAN)
    settings.ROOT_URLCONF = __name__
    settings.LOCALE_PATHS = [tmp_path]
    settings.LANGUAGE_CODE = "de"


async def test_home_is_in_german(open_page):
    page = await open_page("/")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(page.locator("header a").last).to_have_text("Einloggen")
    text = await page.locator("main p").inner_text()
    assert text in GERMAN.values()


async def test_login_is_in_german(open_page):
    page = await open_page("/accounts/login/")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(page.locator("h1")).to_have_text("Einloggen")
    await expect(page.locator("label[for=id_password]")).to_contain_text("Passwort")  # Django's own catalogue
    await expect(page.locator("main button")).to_have_text("Einloggen")


async def test_a_live_page_is_in_german(open_page, user):
    page = await open_page("/live-page/", user)
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(page.locator("#send")).to_have_text("Absenden")
    await expect(page.locator("header button")).to_have_text("Ausloggen")
    await expect(page.locator("connection-status [role=status]")).to_have_text("Getrennt")
