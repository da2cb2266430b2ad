"""Rows that a template on the server draws, in a browser."""

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def page(shared_browser, server):
    errors = []
    async with await shared_browser.new_context() as context:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"{server.url}/rows/")
        await page.wait_for_function("window.drawnList")
        yield page
    assert not errors


LIST = """window.made = drawnList(`
    <li data-key="1"><i>one</i> <button name="edit">Edit</button></li>
    <li data-key="2" class="late"><i>two</i></li>
    <li data-key="9"><i>deleted since then</i></li>`)"""
ONE = {"id": 1, "item": "one", "html": '<li data-key="1"><i>one</i> <button name="edit">Edit</button></li>'}
TWO = {"id": 2, "item": "two", "html": '<li data-key="2" class="late"><i>two</i></li>'}


async def shown(page):
    return await page.evaluate("[...made.element.querySelectorAll('li')].map((row) => row.outerHTML)")


async def test_a_page_that_was_rendered_with_its_rows_keeps_their_elements(page):
    await page.evaluate(LIST)
    await page.evaluate("window.before = made.element.querySelector('i'), made.element.querySelector('button').focus()")
    await page.evaluate("([rows]) => made.replace(rows)", [[TWO, ONE]])
    assert await shown(page) == [TWO["html"], ONE["html"]]
    assert await page.evaluate("[before.isConnected, document.activeElement.name]") == [True, "edit"]
    assert await page.evaluate("made.of(before).item") == "one"


async def test_a_change_redraws_its_row_and_keeps_the_focus(page):
    await page.evaluate(LIST)
    await page.evaluate("([rows]) => made.replace(rows)", [[ONE, TWO]])
    await page.evaluate("made.element.querySelector('button').focus()")
    html = '<li data-key="1"><u>first</u> <button name="edit">Edit</button></li>'
    await page.evaluate("(row) => made.save(row)", {**ONE, "html": html, "after": None})
    html_two = '<li data-key="2"><i>two</i></li>'
    await page.evaluate("(row) => made.save(row)", {**TWO, "html": html_two, "after": 1})
    assert await shown(page) == [html, html_two]  # without the class that the new one lacks
    assert await page.evaluate("document.activeElement.name") == "edit"


async def test_a_button_without_a_name_keeps_the_focus_if_it_is_the_same(page):
    await page.evaluate("window.made = drawnList('')")
    row = "<li data-key='1'>{}<button>Edit</button><button>Delete</button></li>"
    await page.evaluate("(row) => made.save(row)", {"id": 1, "html": row.format("new"), "after": None})
    await page.evaluate("made.element.querySelectorAll('button')[1].focus()")
    await page.evaluate("(row) => made.save(row)", {"id": 1, "html": row.format("paid"), "after": None})
    assert await page.evaluate("document.activeElement.textContent") == "Delete"
    assert "paid" in (await shown(page))[0]


async def test_a_button_that_names_its_row_keeps_the_focus(page):
    await page.evaluate("window.made = drawnList('')")
    row = "<li data-key='1'><button data-edit>Edit {0}</button><button name='a' value='up'>Up</button></li>"
    await page.evaluate("(row) => made.save(row)", {"id": 1, "html": row.format("tea"), "after": None})
    for text, button in (("coffee", 0), ("cake", 1)):
        await page.evaluate("(at) => made.element.querySelectorAll('button')[at].focus()", button)
        await page.evaluate("(row) => made.save(row)", {"id": 1, "html": row.format(text), "after": None})
        focused = "[...made.element.querySelectorAll('button')].indexOf(document.activeElement)"
        assert await page.evaluate(focused) == button


async def test_what_is_typed_stays_in_its_form(page):
    await page.evaluate("window.made = drawnList('')")
    row = "<li data-key='1'>{}<form><input name='text'></form><form><input name='text'></form></li>"
    await page.evaluate("(row) => made.save(row)", {"id": 1, "html": row.format("new"), "after": None})
    await page.locator("li input").last.fill("typed")
    await page.evaluate("(row) => made.save(row)", {"id": 1, "html": row.format("paid"), "after": None})
    values = "[...made.element.querySelectorAll('input')].map((input) => input.value)"
    assert await page.evaluate(values) == ["", "typed"]


async def test_a_key_within_a_row_is_the_rows_own_affair(page):
    html = "<li data-key='1'><b data-key='7'>tag</b></li>"
    await page.evaluate("(html) => { window.made = drawnList(html); }", html)
    await page.evaluate("(row) => made.replace([row])", {"id": 1, "html": html})
    assert await page.evaluate("made.element.querySelector('b').textContent") == "tag"


async def test_a_script_in_a_row_does_not_run(page):
    await page.evaluate("window.made = drawnList('')")
    html = "<li data-key='1'><script>window.wasRun = true</script><img src=x onerror='wasRun = 1'></li>"
    await page.evaluate("(row) => made.save(row)", {"id": 1, "html": html, "after": None})
    assert await page.evaluate("[made.element.querySelectorAll('script').length, window.wasRun]") == [1, None]


async def test_a_row_that_is_being_added_shows_its_values_until_it_is_drawn(page):
    await page.evaluate("window.made = drawnList('')")
    await page.evaluate("void made.pending(new Promise((resolve) => { window.answer = resolve }), { item: 'one' })")
    assert '<b data-field="item">one</b>' in (await shown(page))[0]
    await page.evaluate("(row) => made.save(row)", {**ONE, "after": None})
    await page.evaluate("answer({ data: {} })")
    await page.wait_for_function("!made.element.querySelector('[aria-busy]')")
    assert await shown(page) == [ONE["html"]]
