"""LiveForm and EventList in a browser: a form with a control of each type, and a list of events."""

import asyncio
import re

import pytest
import pytest_asyncio
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from playwright.async_api import expect

from apps.common.testing.fixtures import launch
from apps.common.tests.catalogue import write_catalogue
from config.urls import urlpatterns as project_urls

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = """{% extends "base.html" %}
{% load i18n websockets %}
{% block head %}
    <script type="module" nonce="{{ csp_nonce }}">
        import { EventList } from '/static/js/components/event_list.js';
        import { LiveForm } from '/static/js/components/live_form.js';

        window.sent = []; // of each message: the data, and the functions that answer it
        const send = (data) => new Promise((resolve, reject) => {
            sent.push({ data, resolve, reject });
            dispatchEvent(new Event('sent'));
        });
        for (const form of document.forms) if (form.matches('.live-form')) new LiveForm(form, send);
        window.refuse = (message, fields) => sent.at(-1).reject(Object.assign(new Error(message), { data: { fields } }));
        window.events = new EventList(document.querySelector('[data-events]'));
    </script>
{% endblock %}
{% block content %}
    <div class="live">
        <form class="live-form" data-action="place-order" {% form_texts %}>
            <div class="live-field">
                <label for="place-order-item">Item</label>
                <input id="place-order-item" name="item" maxlength="200" aria-describedby="help" required>
                <small id="help">What you want.</small>
            </div>
            <div class="live-field">
                <label for="place-order-quantity">Quantity</label>
                <input
                    id="place-order-quantity" name="quantity" type="number" min="1" max="99" step="1"
                    data-type="number" required
                >
            </div>
            <div class="live-field">
                <label for="place-order-price">Price</label>
                <input id="place-order-price" name="price" type="number" step="0.01" data-type="decimal">
            </div>
            <div class="live-field">
                <label for="place-order-weight">Weight</label>
                <input id="place-order-weight" name="weight" type="number" step="any" data-type="number">
            </div>
            <div class="live-field">
                <label for="place-order-gift">Gift</label>
                <input id="place-order-gift" name="gift" type="checkbox" data-type="boolean">
            </div>
            <div class="live-field">
                <label for="place-order-member">Member</label>
                <select id="place-order-member" name="member" data-type="boolean">
                    <option value=""></option><option value="true">Yes</option><option value="false">No</option>
                </select>
            </div>
            <div class="live-field">
                <label for="place-order-status">Status</label>
                <select id="place-order-status" name="status">
                    <option value=""></option><option value="new">New</option><option value="paid">Paid</option>
                </select>
            </div>
            <div class="live-field">
                <label for="place-order-day">Day</label>
                <input id="place-order-day" name="day" type="date">
            </div>
            <div class="live-field">
                <label for="place-order-due">Due</label>
                <input id="place-order-due" name="due" type="datetime-local" data-type="datetime">
            </div>
            <div class="live-field">
                <label for="place-order-at">At</label>
                <input id="place-order-at" name="at" type="time">
            </div>
            <div class="live-field">
                <label for="place-order-email">Email</label>
                <input id="place-order-email" name="email" type="email" maxlength="254">
            </div>
            <div class="live-field">
                <label for="place-order-note">Note</label>
                <textarea id="place-order-note" name="note" maxlength="2000" rows="3"></textarea>
            </div>
            <div class="live-field">
                <label for="place-order-tags">Tags</label>
                <textarea id="place-order-tags" name="tags" data-type="list" rows="3"></textarea>
            </div>
            <div class="live-field">
                <label for="place-order-sizes">Sizes</label>
                <textarea id="place-order-sizes" name="sizes" data-type="list" data-items="number" rows="3"></textarea>
            </div>
            <div class="live-field">
                <label for="place-order-extra">Extra</label>
                <textarea id="place-order-extra" name="extra" data-type="json" rows="3"></textarea>
            </div>
            <button>Place order</button>
        </form>
        <form class="live-form" data-action="close-shop" {% form_texts %}><button>Close shop</button></form>
        <section class="live-panel">
            <p data-empty>Nothing yet.</p>
            <ol class="live-log" role="log" aria-live="polite" data-events>
                <template data-event="orderPlaced"><li>
                    <strong>Order placed</strong>
                    <dl>
                        <dt>Item</dt><dd data-field="item"></dd>
                        <dt>Quantity</dt><dd data-field="quantity"></dd>
                        <dt>Price</dt><dd data-field="price" data-type="decimal"></dd>
                        <dt>Gift</dt><dd data-field="gift" data-text-true="yes" data-text-false="no"></dd>
                        <dt>Day</dt><dd data-field="day" data-type="date"></dd>
                        <dt>Due</dt><dd data-field="due" data-type="datetime"></dd>
                        <dt>Sizes</dt><dd data-field="sizes"></dd>
                        <dt>Note</dt><dd data-field="note"></dd>
                    </dl>
                </li></template>
            </ol>
        </section>
    </div>
{% endblock %}
"""
EVENT = {
    "item": "<b>tea</b>",
    "quantity": 1234.5,
    "price": "12345678901234567.10",
    "gift": True,
    "day": "2026-03-01",
    "due": "2026-03-01T23:30:00Z",
    "sizes": [1, 2.5],
    "note": None,
}


def form_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


urlpatterns = [path("form/", form_page), *project_urls]


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = __name__


@pytest_asyncio.fixture
async def page(open_page):
    return await open_page("/form/", timezone_id="Europe/Berlin", locale="en-GB")


async def type_into(page, **values):
    """With the keyboard alone, into the controls with these names, in the order of the page."""
    for name, value in values.items():
        for _ in range(60):
            if await page.evaluate("document.activeElement.name") == name:
                break
            await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.name") == name
        for part in re.split("(Space|Tab)", value):
            await (page.keyboard.press(part) if part in ("Space", "Tab") else page.keyboard.type(part))


async def sent(page, number=1):
    """The data of the message with this number, as soon as it is sent."""
    waiting = page.evaluate(
        """async (number) => {
            while (sent.length < number) await new Promise((go) => addEventListener('sent', go, { once: true }));
            return sent[number - 1].data;
        }""",
        number,
    )
    try:
        return await asyncio.wait_for(waiting, timeout=10)
    except TimeoutError:
        raise AssertionError(await page.locator("form").first.aria_snapshot()) from None


async def test_a_person_without_a_mouse_sends_values_of_each_type(page):
    values = {
        "item": " tea ",
        "quantity": "42",
        "price": "1234567890123456.10",
        "weight": ".5",
        "gift": "Space",
        "member": "No",
        "status": "Paid",
        "day": "03292026",
        "due": "03292026Tab0230PM",
        "at": "0915AM",
        "email": "ann@example.com",
        "note": "one\ntwo",
        "tags": "a b\n\n  c  \n",
        "sizes": "1\n-2.5\n1e3",
        "extra": '{"a": [1, null], "b": "Infinity"}',
    }
    await type_into(page, **values)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await sent(page) == {
        "item": " tea ",
        "quantity": 42,
        "price": "1234567890123456.10",
        "weight": 0.5,
        "gift": "Space",
        "member": False,
        "status": "paid",
        "day": "2026-03-29",
        "due": "2026-03-29T12:30:00.000Z",
        "at": "09:15",
        "email": "ann@example.com",
        "note": "one\ntwo",
        "tags": ["a b", "c"],
        "sizes": [1, -2.5, 1000],
        "extra": {"a": [1, None], "b": "Infinity"},
    }
