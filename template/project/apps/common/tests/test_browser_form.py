"""LiveForm and EventList in a browser: a form with a control of each type, and a list of events."""

import re

import pytest
import pytest_asyncio
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from playwright.async_api import expect

from apps.common.tests.catalogue import write_catalogue
from config.urls import urlpatterns as project_urls

from .sent_forms import SEND, sent

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (
    """{% extends "base.html" %}
{% load i18n websockets %}
{% block head %}
    <script type="module" nonce="{{ csp_nonce }}">
        import { EventList } from '/static/js/components/event_list.js';
        import { LiveForm } from '/static/js/components/live_form.js';
"""
    + SEND
    + """        for (const form of document.forms) if (form.matches('.live-form')) new LiveForm(form, send);
        window.refuse = (message, fields) => {
            sent.at(-1).reject(Object.assign(new Error(message), { data: { fields } }));
        };
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
                <input id="place-order-price" name="price" pattern="-?[0-9]{1,30}(\\.[0-9]{1,2})?" data-type="decimal">
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
                <input id="place-order-due" name="due" type="datetime-local" step="1" data-type="datetime">
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
)
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


async def test_a_person_without_a_mouse_sends_values_of_each_type(page):
    values = {
        "item": " tea ",
        "quantity": "42",
        "price": "-12345678901234567890.10",
        "weight": ".5",
        "gift": "Space",
        "member": "No",
        "status": "Paid",
        "day": "03292026",
        "due": "03292026Tab023015PM",
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
        "price": "-12345678901234567890.10",
        "weight": 0.5,
        "gift": True,
        "member": False,
        "status": "paid",
        "day": "2026-03-29",
        "due": "2026-03-29T12:30:15.000Z",
        "at": "09:15",
        "email": "ann@example.com",
        "note": "one\ntwo",
        "tags": ["a b", "c"],
        "sizes": [1, -2.5, 1000],
        "extra": {"a": [1, None], "b": "Infinity"},
    }


async def fill_required(page):
    await page.get_by_label("Item").fill("tea")
    await page.get_by_label("Quantity").fill("1")


async def submit(page):
    """With the keyboard, from the button, which keeps the focus."""
    await page.get_by_role("button", name="Place order").focus()
    await page.keyboard.press("Enter")


async def assert_refused(page, label, text):
    control = page.get_by_label(label)
    await expect(control).to_have_attribute("aria-invalid", "true")
    await expect(control).to_have_accessible_description(re.compile(text))


async def test_empty_controls_are_left_out_and_a_checkbox_is_false(page):
    await fill_required(page)
    await page.get_by_label("Tags").fill(" \n ")
    await submit(page)
    assert await sent(page) == {"item": "tea", "quantity": 1, "gift": False, "tags": []}


@pytest.mark.parametrize(
    ("label", "value", "text"),
    [
        ("Item", "", "What you want"),  # beside the help that was there
        ("Quantity", "100", "99"),
        ("Quantity", "1.5", "valid value"),
        ("Price", "0.001", "format"),
        ("Price", "1,5", "format"),
        ("Price", "1e2", "format"),
        ("Email", "ann", "@"),
        ("Sizes", "1\n\ntwo", "two: Enter a number"),
        ("Sizes", "1e400", "1e400: Enter a number"),
        ("Extra", "{", "Enter valid JSON"),
        ("Extra", '{"a": [1e400]}', "Enter valid JSON"),
        ("Due", "2026-03-29T02:30", "Europe/Berlin Enter a time that exists"),
    ],
)
async def test_a_value_is_refused_at_its_field_which_gets_the_focus(page, label, value, text):
    await fill_required(page)
    await page.get_by_label(label).fill(value)
    await submit(page)
    await assert_refused(page, label, text)
    await expect(page.get_by_label(label)).to_be_focused()
    await expect(page.get_by_label(label)).to_have_value(value)
    assert await page.locator("[aria-invalid]").count() == 1
    assert await page.evaluate("sent") == []


async def test_what_the_browser_cannot_read_is_refused_and_never_absent(page):
    await fill_required(page)
    await type_into(page, weight="-", day="0329", due="03292026Tab02")
    for label in ("Weight", "Day", "Due"):
        await expect(page.get_by_label(label)).to_have_value("")
    await submit(page)
    for label in ("Weight", "Day", "Due"):
        await assert_refused(page, label, "Please enter")
    await expect(page.get_by_label("Weight")).to_be_focused()
    assert await page.evaluate("sent") == []


@pytest.mark.parametrize(
    ("zone", "value", "instant"),
    [
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30:00.000Z"),  # twice: the first
        ("Europe/Berlin", "2026-03-29T03:00", "2026-03-29T01:00:00.000Z"),
        ("Asia/Beirut", "2026-03-29T00:00", None),
        ("Australia/Lord_Howe", "2026-10-04T02:15", None),  # by half an hour
        ("Asia/Kathmandu", "2026-01-01T00:15", "2025-12-31T18:30:00.000Z"),
        ("UTC", "2026-03-29T02:30", "2026-03-29T02:30:00.000Z"),
    ],
)
async def test_a_local_time_is_the_browsers(open_page, zone, value, instant):
    page = await open_page("/form/", timezone_id=zone)
    # A browser may have an earlier name of the same zone.
    own_name = await page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    await expect(page.get_by_label("Due")).to_have_accessible_description(own_name)
    await fill_required(page)
    await page.get_by_label("Due").fill(value)
    await submit(page)
    if instant:
        assert (await sent(page))["due"] == instant
    else:
        await assert_refused(page, "Due", "Enter a time that exists")


async def test_what_the_server_refuses_is_shown_at_the_fields(page):
    await fill_required(page)
    await page.get_by_label("Tags").fill("\na\n\nb\n")
    await page.get_by_label("Tags").press("Tab")
    await submit(page)
    await sent(page)
    fields = {"tags.1": "Is taken.", "quantity": "Too <b>many</b>.", "secret": "Unknown."}
    await page.evaluate("(fields) => refuse('Refused.', fields)", fields)
    await assert_refused(page, "Quantity", "^Too <b>many</b>.$")
    await assert_refused(page, "Tags", "^b: Is taken.$")
    await expect(page.get_by_label("Quantity")).to_be_focused()
    await expect(page.get_by_role("alert").first).to_have_text("secret: Unknown.")
    await expect(page.get_by_label("Tags")).to_have_value("\na\n\nb\n")

    await page.get_by_label("Quantity").fill("2")
    await submit(page)
    assert (await sent(page, 2))["quantity"] == 2
    assert await page.locator("[aria-invalid]").count() == 0
    await expect(page.get_by_role("alert").first).to_be_empty()


async def test_an_error_without_a_field_is_announced_below_the_form(page):
    await fill_required(page)
    await submit(page)
    await sent(page)
    await page.evaluate("refuse('The kitchen is closed.')")
    await expect(page.get_by_role("alert").first).to_have_text("The kitchen is closed.")
    await expect(page.get_by_role("button", name="Place order")).to_be_focused()
    await expect(page.get_by_label("Item")).to_have_value("tea")


async def test_a_form_that_is_being_sent_is_not_sent_again(page):
    button = page.get_by_role("button", name="Place order")
    await fill_required(page)
    await submit(page)
    await sent(page)
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await button.dispatch_event("click")
    await page.get_by_label("Item").press("Enter")
    assert await page.evaluate("sent.length") == 1

    await page.evaluate("sent[0].resolve()")
    await expect(button).not_to_have_attribute("aria-disabled", "true")
    await expect(page.get_by_role("status").filter(has_text="Done")).to_be_visible()
    await expect(page.get_by_label("Item")).to_have_value("")
    await fill_required(page)
    await submit(page)
    await sent(page, 2)
    await expect(page.get_by_role("status").filter(has_text="Done")).to_have_count(0)


async def test_what_is_typed_meanwhile_stays_and_keeps_the_focus(page):
    await fill_required(page)
    await submit(page)
    await sent(page)
    await page.get_by_label("Note").press_sequentially("half a sen")
    await page.evaluate("(event) => events.add('orderPlaced', event)", EVENT)
    await page.evaluate("sent[0].resolve()")
    await expect(page.get_by_role("status").filter(has_text="Done")).to_be_visible()
    await page.keyboard.type("tence")
    await expect(page.get_by_label("Note")).to_have_value("half a sentence")
    await expect(page.get_by_label("Item")).to_have_value("tea")


async def test_a_late_refusal_takes_the_focus_from_no_other_form(page):
    await fill_required(page)
    await submit(page)
    await sent(page)
    await page.get_by_role("button", name="Close shop").focus()
    await page.evaluate("refuse('Refused.', { item: 'Is sold out.' })")
    await assert_refused(page, "Item", "Is sold out")
    await expect(page.get_by_role("button", name="Close shop")).to_be_focused()


async def test_a_form_without_fields_is_a_button(page):
    await page.get_by_role("button", name="Close shop").press("Enter")
    assert await sent(page) == {}
    await page.evaluate("sent[0].resolve()")
    await expect(page.get_by_role("status").filter(has_text="Done")).to_be_visible()


async def test_events_are_listed_as_their_template_has_it(page):
    await expect(page.get_by_text("Nothing yet.")).to_be_visible()
    await page.evaluate("(event) => events.add('orderPlaced', event)", EVENT)
    await expect(page.get_by_text("Nothing yet.")).to_be_hidden()
    entry = page.locator("[data-events] > li")
    # The page is in English; the zone is Berlin's, in which it is the next day.
    assert await entry.locator("dd").all_inner_texts() == [
        "<b>tea</b>",
        "1,234.5",
        "12,345,678,901,234,567.10",
        "yes",
        "Mar 1, 2026",
        "Mar 2, 2026, 12:30:00 AM",
        "1, 2.5",
        "–",
    ]
    await expect(entry.locator("time")).to_have_attribute("datetime", EVENT["due"])
    await page.evaluate("(event) => events.add('orderPlaced', { ...event, item: 'coffee', gift: false })", EVENT)
    assert await entry.locator("dd:nth-of-type(1)").all_inner_texts() == ["coffee", "<b>tea</b>"]
    assert await entry.first.locator("dd:nth-of-type(4)").inner_text() == "no"


async def test_only_the_newest_events_are_kept(page):
    await page.evaluate("for (let n = 1; n <= 210; n++) events.add('orderPlaced', { item: `${n}` })")
    names = page.locator("[data-events] > li dd:nth-of-type(1)")
    await expect(names).to_have_count(200)
    assert (await names.first.inner_text(), await names.last.inner_text()) == ("210", "11")


async def test_in_german_with_thousands_separators(open_page, settings, tmp_path):
    texts = {"Done": "Fertig", "Enter valid JSON.": "Kein gültiges JSON."}
    write_catalogue(tmp_path, "de", texts)
    settings.LOCALE_PATHS, settings.LANGUAGE_CODE, settings.USE_THOUSAND_SEPARATOR = [tmp_path], "de", True
    page = await open_page("/form/", timezone_id="Europe/Berlin", locale="de-DE")
    await page.get_by_label("Item").fill("tea")
    await page.get_by_label("Quantity").fill("42")
    await page.get_by_label("Extra").fill("{")
    await submit(page)
    await assert_refused(page, "Extra", "Kein gültiges JSON")
    await page.get_by_label("Extra").fill("{}")
    await submit(page)
    assert (await sent(page))["quantity"] == 42
    await page.evaluate("sent[0].resolve()")
    await expect(page.get_by_role("status").filter(has_text="Fertig")).to_be_visible()
    await page.evaluate("(event) => events.add('orderPlaced', event)", EVENT)
    values = await page.locator("[data-events] > li dd").all_inner_texts()
    assert values[1:6] == ["1.234,5", "12.345.678.901.234.567,10", "yes", "01.03.2026", "02.03.2026, 00:30:00"]


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
async def test_nothing_overflows_or_overlaps(page, width, direction):
    await page.set_viewport_size({"width": width, "height": 900})
    await page.evaluate("(direction) => { document.documentElement.dir = direction; }", direction)
    await page.evaluate("(event) => events.add('orderPlaced', { ...event, item: 'x'.repeat(200) })", EVENT)
    await page.get_by_label("Sizes").fill("x" * 200)
    await submit(page)
    await assert_refused(page, "Sizes", "Enter a number")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    outside = """(fields) => fields.flatMap((field) => [...field.children].filter((child) => {
        const [inner, outer] = [child, field].map((element) => element.getBoundingClientRect());
        return inner.left < outer.left - 1 || inner.right > outer.right + 1;
    }).map((child) => child.id))"""
    assert await page.locator(".live-field").evaluate_all(outside) == []
