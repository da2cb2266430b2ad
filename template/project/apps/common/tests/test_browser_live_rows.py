"""LiveRows and EditForm in a browser: a list of rows that change, the forms that change them, and pending changes."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from .sent_forms import sent

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def page(shared_browser, server):
    errors = []
    async with await shared_browser.new_context(timezone_id="Europe/Berlin", locale="en-GB") as context:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"{server.url}/rows/")
        yield page
    assert not errors


async def items(page):
    return await page.evaluate("texts()")


async def stop_clock(page):
    """From now on time passes by run_for() alone."""
    await page.clock.install(time=0)
    await page.clock.pause_at(1)


# Rows as they are shown


async def test_rows_are_as_the_state_has_them_and_one_change_after_another_moves_them(page):
    await expect(page.get_by_role("list", name="Orders")).to_have_attribute("aria-busy", "true")
    await page.evaluate("load(3, 2, 1)")
    assert await items(page) == ["item 3", "item 2", "item 1"]
    await expect(page.get_by_role("list", name="Orders")).not_to_have_attribute("aria-busy", "true")
    await page.evaluate("rows.save(order(4, { after: null }))")
    assert await items(page) == ["item 4", "item 3", "item 2", "item 1"]
    await page.evaluate("rows.save(order(4, { item: 'tea', after: 1 }))")
    assert await items(page) == ["item 3", "item 2", "item 1", "tea"]
    await page.evaluate("rows.save(order(1, { after: null }))")
    assert await items(page) == ["item 1", "item 3", "item 2", "tea"]
    await page.evaluate("rows.remove(3), rows.remove(99)")
    assert await items(page) == ["item 1", "item 2", "tea"]


async def test_a_row_after_an_unknown_one_stays_or_is_the_last(page):
    await page.evaluate("load(1, 2)")
    await page.evaluate("rows.save(order(1, { item: 'tea', after: 99 }))")
    assert await items(page) == ["tea", "item 2"]
    await page.evaluate("rows.save(order(3, { after: 99 }))")
    assert await items(page) == ["tea", "item 2", "item 3"]


async def test_a_row_that_is_being_added_is_the_first_or_the_last(page):
    await page.evaluate("load(1, 2)")
    await page.evaluate("void rows.pending(new Promise(() => {}), { item: 'above' })")
    await page.evaluate("rows.element.dataset.newest = 'last'")
    await page.evaluate("void rows.pending(new Promise(() => {}), { item: 'below' })")
    assert await items(page) == ["above", "item 1", "item 2", "below"]


async def test_applying_a_change_twice_changes_nothing(page):
    await page.evaluate("load(1, 2)")
    for _ in range(2):
        await page.evaluate("rows.save(order(2, { item: 'tea', after: null })), rows.remove(1)")
        assert await items(page) == ["tea"]


async def test_no_rows_are_said_once_it_is_known(page):
    await expect(page.get_by_text("Nothing yet.")).to_be_hidden()
    await page.evaluate("load()")
    await expect(page.get_by_text("Nothing yet.")).to_be_visible()
    await page.evaluate("rows.save(order(1, { after: null }))")
    await expect(page.get_by_text("Nothing yet.")).to_be_hidden()
    await page.evaluate("rows.remove(1)")
    await expect(page.get_by_text("Nothing yet.")).to_be_visible()


async def test_values_are_text_and_a_related_object_is_its_label(page):
    await page.evaluate("""rows.replace([
        order(1, { item: '<b>tea</b>', due: '2026-03-01T23:30:00Z', customer: { key: 1, label: 'ann' } }),
        order(2, { customer: { key: 7, label: '' } }),
    ])""")
    shown = page.locator("[data-rows] > li").nth(0).locator("dd")
    assert await shown.all_inner_texts() == ["<b>tea</b>", "1", "Mar 2, 2026, 12:30:00 AM", "ann"]
    assert await page.locator("[data-rows] > li").nth(1).locator("dd").last.inner_text() == "7"
    await page.evaluate("rows.save(order(1, { due: '2026-03-02T23:30:00Z', after: null }))")
    assert await shown.nth(2).inner_text() == "Mar 3, 2026, 12:30:00 AM"
    await page.evaluate("rows.save(order(1, { after: null }))")
    assert await shown.nth(2).inner_text() == "–"


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 3, 2, 1], [2, 3, 4, 1], [4, 1, 2, 3], [9, 3, 8, 1], [2]])
async def test_a_new_state_keeps_elements_and_has_its_order(page, order):
    await page.evaluate("load(1, 2, 3, 4), window.before = [1, 2, 3, 4].map(row)")
    await page.evaluate("(ids) => load(...ids)", order)
    assert await items(page) == [f"item {id}" for id in order]
    kept = await page.evaluate("[1, 2, 3, 4].filter((id) => row(id)).every((id) => row(id) === before[id - 1])")
    assert kept


async def test_one_row_that_goes_to_the_end_is_the_only_one_that_moves(page):
    await page.evaluate("""
        load(1, 2, 3, 4);
        window.moved = new MutationObserver(() => {});
        moved.observe(rows.element, { childList: true });
    """)
    await page.evaluate("load(2, 3, 4, 1), window.records = moved.takeRecords()")
    moved = await page.evaluate("records.flatMap(({ addedNodes }) => [...addedNodes].map(rows.of, rows))")
    assert [row["id"] for row in moved] == [1]


# Focus, selection and typed text

MOVES = ["load(9, 3, 1, 2)", "rows.save(order(1, { after: 3, quantity: 1 }))", "rows.save(order(1, { after: null }))"]


@pytest.mark.parametrize("has_move_before", [True, False])
@pytest.mark.parametrize("move", MOVES)
async def test_a_row_keeps_focus_details_scroll_and_selection(page, move, has_move_before):
    if not has_move_before:  # as in other browsers
        await page.evaluate("Element.prototype.moveBefore = undefined")
    await page.evaluate("load(1, 2, 3)")
    await page.evaluate("""
        const details = row(1).querySelector('details');
        details.open = true;
        details.querySelector('pre').setAttribute('style', 'height: 2em; overflow: auto');
        details.querySelector('pre').style.height = '2em';
        details.querySelector('pre').style.overflow = 'auto';
        details.querySelector('pre').scrollTop = 30;
        row(1).querySelector('[data-edit]').focus();
    """)
    await page.evaluate(move)
    assert await page.evaluate("row(1).querySelector('details').open")
    await expect(page.get_by_role("button", name="Edit item 1")).to_be_focused()
    if has_move_before:
        assert await page.evaluate("row(1).querySelector('pre').scrollTop") == 30


async def test_a_selected_text_stays_selected_where_nothing_changed(page):
    await page.evaluate("load(1, 2, 3)")
    await page.evaluate("getSelection().selectAllChildren(row(2).querySelector('dd'))")
    await page.evaluate("load(1, 2), rows.save(order(2, { quantity: 7, after: 1 }))")
    assert await page.evaluate("getSelection().toString()") == "item 2"
    assert await page.evaluate("row(2).querySelector('[data-field=quantity]').textContent") == "7"


async def test_the_focus_of_a_deleted_row_goes_to_its_neighbour_and_last_to_the_list(page):
    await page.evaluate("load(1, 2, 3)")
    await page.get_by_role("button", name="Delete item 2").focus()
    await page.evaluate("rows.remove(2)")
    assert await page.evaluate("document.activeElement === row(3)")
    await page.evaluate("rows.remove(3)")
    assert await page.evaluate("document.activeElement === row(1)")
    await page.keyboard.press("Tab")
    await page.evaluate("rows.remove(1)")
    await expect(page.get_by_role("list", name="Orders")).to_be_focused()


async def test_what_a_person_typed_in_a_row_stays_and_the_row_says_so(page):
    await page.evaluate("load(1, 2)")
    first, second = (page.locator("[data-rows] > li").nth(i) for i in (0, 1))
    await first.get_by_label("Inline").fill("5")
    await second.get_by_label("Inline").focus()
    changes = "for (const id of [1, 2]) rows.save(order(id, { item: 'tea', quantity: 9, after: id - 1 || null }))"
    await page.evaluate(changes)
    await expect(first.get_by_label("Inline")).to_have_value("5")
    await expect(second.get_by_label("Inline")).to_have_value("2")  # somebody is about to type
    for row in (first, second):
        await expect(row).to_have_attribute("data-changed-meanwhile", "")
        await expect(row.locator("dd").first).to_have_text("tea")
    await first.get_by_label("Inline").focus()
    await expect(second.get_by_label("Inline")).to_have_value("9")
    await page.evaluate("row(1).querySelector('form').reset()")
    await page.get_by_role("button", name="Add order").focus()
    await expect(first.get_by_label("Inline")).to_have_value("9")
    for row in (first, second):
        await expect(row).not_to_have_attribute("data-changed-meanwhile", "")


# Adding


async def add(page, item="tea", quantity="7"):
    form = page.locator("[data-action=add-order]")
    await form.get_by_label("Item").fill(item)
    await form.get_by_label("Quantity").fill(quantity)
    await form.get_by_label("Customer").select_option("bob")
    await form.get_by_role("button").press("Enter")


TEA = "order(5, { item: 'tea', quantity: 7, customer: { key: 2, label: 'bob' }, after: 1 })"


async def test_an_added_row_is_there_at_once_and_cannot_be_used_yet(page):
    await page.evaluate("load(1)")
    await add(page)
    assert await sent(page) == {"item": "tea", "quantity": 7, "paid": False, "customer": 2}
    assert await items(page) == ["tea", "item 1"]
    pending = page.locator("[data-rows] > li").first
    await expect(pending).to_have_attribute("aria-busy", "true")
    await expect(pending.locator("dd").last).to_have_text("bob")
    await expect(page.get_by_role("button", name="Edit tea")).to_have_count(0)
    await expect(page.get_by_role("button", name="Edit item 1")).to_have_count(1)


@pytest.mark.parametrize(
    "steps",
    [
        [f"rows.save({TEA})", "sent[0].resolve({ data: { id: 5 } })"],
        [f"rows.save({TEA})", "sent[0].resolve({})"],
        ["sent[0].resolve({ data: { id: 5 } })", f"rows.save({TEA})"],
        ["sent[0].resolve({ data: { id: 5 } })", f"rows.replace([order(1), {TEA}])"],
        [f"rows.replace([order(1), {TEA}])", "sent[0].resolve({ data: { id: 5 } })"],
    ],
)
async def test_an_added_row_is_there_once_whichever_of_answer_and_event_is_first(page, steps):
    await page.evaluate("load(1)")
    await add(page)
    await sent(page)
    for step in steps:
        await page.evaluate(step)
        assert sorted(await items(page)) == ["item 1", "tea"]
    assert await items(page) == ["item 1", "tea"]
    await expect(page.locator("[aria-busy=true]")).to_have_count(0)
    await expect(page.get_by_role("button", name="Edit tea")).to_have_count(1)


async def test_values_that_the_server_changed_are_there_once_after_answer_and_event(page):
    await page.evaluate("load(1)")
    await add(page)
    await sent(page)
    await page.evaluate("rows.save(order(5, { item: 'TEA', after: 1 })), sent[0].resolve({ data: { id: 5 } })")
    await expect(page.locator("[data-rows] > li")).to_have_count(2)
    assert await items(page) == ["item 1", "TEA"]


async def test_the_same_row_of_somebody_else_is_not_lost(page):
    await page.evaluate("load(1)")
    await add(page)
    await sent(page)
    await page.evaluate(f"rows.save({{ ...{TEA}, id: 4 }})")
    await page.evaluate(f"rows.save({TEA}), sent[0].resolve({{ data: {{ id: 5 }} }})")
    await expect(page.locator("[aria-busy=true]")).to_have_count(0)
    assert await items(page) == ["item 1", "tea", "tea"]


async def test_an_added_row_that_this_list_does_not_have_is_removed(page):
    """It is beyond the list's limit, for example."""
    await stop_clock(page)
    await page.evaluate("load(1)")
    await add(page)
    await sent(page)
    await page.evaluate("sent[0].resolve({ data: { id: 5 } })")
    await expect(page.get_by_role("status").filter(has_text="Done")).to_be_visible()
    assert await items(page) == ["tea", "item 1"]
    await page.clock.run_for(2_000)
    assert await items(page) == ["item 1"]


async def test_a_refused_row_is_removed_with_the_errors_at_the_fields(page):
    await page.evaluate("load()")
    await add(page)
    await sent(page)
    await expect(page.get_by_text("Nothing yet.")).to_be_hidden()
    await page.evaluate("refuse('invalid', { fields: { item: 'Is sold out.' } })")
    await expect(page.get_by_label("Item").first).to_have_accessible_description("Is sold out.")
    await expect(page.get_by_label("Item").first).to_have_value("tea")
    assert await items(page) == []
    await expect(page.get_by_text("Nothing yet.")).to_be_visible()


async def test_without_an_answer_the_form_keeps_its_text_and_the_state_decides(page):
    await page.evaluate("load(1)")
    await add(page)
    await sent(page)
    await page.evaluate("refuse('connection_lost')")
    await expect(page.get_by_role("alert").filter(has_text="Unconfirmed.")).to_be_visible()
    await expect(page.get_by_label("Item").first).to_have_value("tea")
    assert await items(page) == ["item 1"]
    await page.evaluate(f"rows.replace([order(1), {TEA}])")
    assert await items(page) == ["item 1", "tea"]


async def test_two_pages_end_with_the_same_rows(page):
    await page.evaluate("""
        const other = rows.element.cloneNode(true);
        other.setAttribute('aria-label', 'Other');
        rows.element.after(other);
        window.other = new rows.constructor(other);
        window.both = (change) => [rows, window.other].forEach(change);
        null;
    """)
    await page.evaluate("both((list) => list.replace([order(1), order(2)]))")
    await add(page)
    await sent(page)
    await page.evaluate(f"both((list) => {{ list.remove(1); list.save({{ ...{TEA}, after: 2 }}); }})")
    await page.evaluate("sent[0].resolve({ data: { id: 5 } })")
    for name in ("Orders", "Other"):
        shown = page.get_by_role("list", name=name).locator("dd[data-field=item]")
        await expect(shown).to_have_text(["item 2", "tea"])


# Changing and deleting


async def open_edit(page, name="item 1"):
    await page.get_by_role("button", name=f"Edit {name}").press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    return dialog


WHOLE = """{
    quantity: 3, paid: true, due: '2026-10-25T01:30:00.123456Z', at: '12:30:15.123456', tags: ['a b', 'c'],
    extra: { a: [1, null] }, customer: { key: 7, label: 'zoe' },
}"""


async def test_a_form_shows_the_row_and_sends_what_was_not_touched_as_it_was(page):
    await page.evaluate(f"rows.replace([order(1, {WHOLE})])")
    dialog = await open_edit(page)
    await expect(page.get_by_role("dialog", name="Edit item 1")).to_be_visible()
    await expect(dialog.get_by_label("Item")).to_be_focused()
    await expect(dialog.get_by_label("Quantity")).to_have_value("3")
    await expect(dialog.get_by_label("Paid")).to_be_checked()
    await expect(dialog.get_by_label("Due")).to_have_value("2026-10-25T02:30")
    await expect(dialog.get_by_label("At")).to_have_value("12:30:15")
    await expect(dialog.get_by_label("Tags")).to_have_value("a b\nc")
    await expect(dialog.get_by_label("Extra")).to_have_value('{"a":[1,null]}')
    await expect(dialog.get_by_label("Customer").locator("option:checked")).to_have_text("zoe")
    assert not await page.evaluate("hasInput()")
    await dialog.get_by_label("Item").fill("tea")
    assert await page.evaluate("hasInput()")
    await page.keyboard.press("Enter")
    opened = await page.evaluate(f"(({{ id, ...fields }}) => fields)(order(1, {WHOLE}))")
    assert await sent(page) == {**opened, "id": 1, "item": "tea", "customer": 7, "opened": opened}


async def test_an_emptied_field_is_left_out(page):
    await page.evaluate(f"rows.replace([order(1, {WHOLE})])")
    dialog = await open_edit(page)
    await dialog.get_by_label("Due").fill("")
    await dialog.get_by_label("Customer").select_option("")
    await dialog.get_by_role("button", name="Save").press("Enter")
    message = await sent(page)
    assert "due" not in message
    assert "customer" not in message
    assert message["opened"]["customer"] == {"key": 7, "label": "zoe"}
    await expect(page.locator("[data-rows] dd").last).to_have_text("–")


async def change(page, item="tea"):
    dialog = await open_edit(page)
    await dialog.get_by_label("Item").fill(item)
    await dialog.get_by_role("button", name="Save").press("Enter")
    await sent(page)
    return dialog


CHANGED = "rows.save(order(1, { item: 'tea', after: null }))"


@pytest.mark.parametrize("steps", [[CHANGED, "sent[0].resolve({})"], ["sent[0].resolve({})", CHANGED]])
async def test_a_change_is_shown_at_once_and_stays(page, steps):
    await page.evaluate("load(1, 2)")
    dialog = await change(page)
    await expect(page.locator("[data-rows] > li").first).to_have_attribute("aria-busy", "true")
    for step in ["0", *steps]:
        await page.evaluate(step)
        assert await items(page) == ["tea", "item 2"]
        await expect(dialog.get_by_text("Changed meanwhile")).to_be_hidden()
    await expect(dialog).to_be_hidden()
    await expect(page.get_by_role("button", name="Edit tea")).to_be_focused()
    await expect(page.locator("[aria-busy=true]")).to_have_count(0)


async def test_the_database_has_the_last_word_when_no_event_comes(page):
    await stop_clock(page)
    await page.evaluate("load(1)")
    dialog = await change(page)
    await page.evaluate("sent[0].resolve({})")
    await expect(dialog).to_be_hidden()
    assert await items(page) == ["tea"]
    await page.clock.run_for(2_000)
    assert await items(page) == ["item 1"]


async def test_a_refused_change_is_taken_back_and_the_next_row_has_no_errors(page):
    await page.evaluate("load(1, 2)")
    dialog = await change(page)
    await page.evaluate("refuse('invalid', { fields: { item: 'Is sold out.' } })")
    await expect(dialog.get_by_label("Item")).to_have_accessible_description("Is sold out.")
    await expect(dialog.get_by_label("Item")).to_be_focused()
    await expect(dialog.get_by_label("Item")).to_have_value("tea")
    assert await items(page) == ["item 1", "item 2"]
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Edit item 1")).to_be_focused()
    dialog = await open_edit(page, "item 2")
    await expect(dialog.get_by_label("Item")).to_have_accessible_description("")
    await expect(dialog.get_by_label("Item")).to_have_value("item 2")


async def test_untouched_fields_follow_the_row_and_the_others_start_from_what_was_shown(page):
    await page.evaluate("load(1)")
    dialog = await open_edit(page)
    await dialog.get_by_label("Item").fill("tea")
    await expect(dialog.get_by_text("Changed meanwhile")).to_be_hidden()
    await page.evaluate("rows.save(order(1, { item: 'coffee', quantity: 9, after: null }))")
    await expect(dialog.get_by_text("Changed meanwhile")).to_be_visible()
    await expect(dialog.get_by_label("Item")).to_have_value("tea")
    await expect(dialog.get_by_label("Quantity")).to_have_value("9")
    await dialog.get_by_role("button", name="Save").press("Enter")
    message = await sent(page)
    assert (message["item"], message["quantity"]) == ("tea", 9)
    assert (message["opened"]["item"], message["opened"]["quantity"]) == ("item 1", 9)

    await page.evaluate("refuse('conflict', { fields: { item: 'Now: coffee' } })")
    await expect(dialog.get_by_label("Item")).to_have_accessible_description("Now: coffee")
    await dialog.get_by_role("button", name="Save").press("Enter")
    assert (await sent(page, 2))["opened"]["item"] == "coffee"


async def test_a_row_that_is_deleted_meanwhile_is_said_and_the_focus_stays_in_the_page(page):
    await page.evaluate("load(1)")
    dialog = await open_edit(page)
    await page.evaluate("rows.remove(1)")
    await expect(dialog.get_by_text("Deleted meanwhile")).to_be_visible()
    await dialog.get_by_role("button", name="Cancel").press("Enter")
    await expect(page.get_by_role("list", name="Orders")).to_be_focused()


async def test_a_deleted_row_is_busy_until_it_is_gone_and_stays_if_it_is_refused(page):
    await page.evaluate("load(1, 2)")
    await page.get_by_role("button", name="Delete item 1").press("Enter")
    assert await sent(page) == {"id": 1}
    first = page.locator("[data-rows] > li").first
    await expect(first).to_have_attribute("aria-busy", "true")
    await page.evaluate("refuse('forbidden')")
    await expect(first).not_to_have_attribute("aria-busy", "true")
    await page.get_by_role("button", name="Delete item 1").press("Enter")
    await page.evaluate("rows.remove(1), sent[1].resolve({})")
    assert await items(page) == ["item 2"]


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
async def test_nothing_overflows(page, width, direction):
    await page.set_viewport_size({"width": width, "height": 900})
    await page.evaluate("(direction) => { document.documentElement.dir = direction; }", direction)
    await page.evaluate("window.long = { item: 'x'.repeat(200), customer: { key: 1, label: 'y'.repeat(200) } }")
    await page.evaluate("rows.replace([order(1, long)])")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.evaluate("edit.open(order(1, long))")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    assert await dialog.evaluate("(element) => element.scrollWidth <= element.clientWidth")
