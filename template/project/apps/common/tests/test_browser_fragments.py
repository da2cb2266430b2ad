"""Fragments in a browser: where they go, and what a person was doing there."""

import pytest
import pytest_asyncio

from .browser_client import Client

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def client(shared_browser, server):
    async with await shared_browser.new_context() as context:
        client = await Client.open(context, server.url)
        await client.connect()
        yield client


async def show(client, action, target, html=""):
    """Have the server send a fragment, and wait until the page has it."""
    message = {"type": "show", "data": {"action": action, "target": target, "html": html}}
    await client.page.evaluate("(message) => service.request(message)", message)
    await client.event("fragment")


async def shown(client):
    """The list, and what stands beside it."""
    return await client.page.evaluate("document.querySelector('connection-status + *').parentElement.innerHTML")


@pytest.mark.parametrize(
    ("action", "target", "expected"),
    [
        ("append", "list", '<ul id="list"><li id="a">A</li><li id="b">B</li></ul>'),
        ("prepend", "list", '<ul id="list"><li id="b">B</li><li id="a">A</li></ul>'),
        ("update", "list", '<ul id="list"><li id="b">B</li></ul>'),
        ("replace", "a", '<ul id="list"><li id="b">B</li></ul>'),
        ("before", "a", '<ul id="list"><li id="b">B</li><li id="a">A</li></ul>'),
        ("after", "a", '<ul id="list"><li id="a">A</li><li id="b">B</li></ul>'),
        ("remove", "a", '<ul id="list"></ul>'),
        ("append", "absent", '<ul id="list"><li id="a">A</li></ul>'),
    ],
)
async def test_html_goes_where_its_action_says(client, action, target, expected):
    await show(client, "append", "list", '<li id="a">A</li>')
    await show(client, action, target, "" if action == "remove" else '<li id="b">B</li>')
    assert await client.page.evaluate("list.outerHTML") == expected


async def test_an_element_that_is_there_already_is_not_doubled(client):
    for text in ("A", "B", "A again"):
        await show(client, "append", "list", f'<li id="{text[0]}">{text}</li>')
    assert await client.page.locator("#list li").all_inner_texts() == ["B", "A again"]


async def test_a_script_does_not_run(client):
    html = "<li><script>window.wasRun = true</script><img src=x onerror='wasRun = 1'></li>"
    await show(client, "append", "list", html)
    assert await client.page.evaluate("[list.querySelectorAll('script').length, window.wasRun]") == [1, None]


@pytest.mark.parametrize("action", ["replace", "update"])
async def test_what_a_person_types_stays_with_its_focus_and_selection(client, action):
    inputs = '<input id="text" value="tea"><input name="other" value="x"><input type="checkbox" name="c">'
    row = f'<li id="a"><b>1</b>{inputs}</li>'
    await show(client, "append", "list", row)
    await client.page.locator("[name=c]").check()
    await client.page.locator("#text").fill("green tea")
    await client.page.evaluate("document.getElementById('text').setSelectionRange(0, 5)")
    changed = row.replace("<b>1</b>", "<b>2</b>").replace('"x"', '"y"')
    await show(client, action, "a", changed if action == "replace" else changed[11:-5])
    state = await client.page.evaluate("""[
        document.querySelector('#a b').textContent, document.activeElement.id,
        ...['selectionStart', 'selectionEnd', 'value'].map((name) => document.activeElement[name]),
        document.querySelector('[name=other]').value, document.querySelector('[name=c]').checked,
    ]""")
    assert state == ["2", "text", 0, 5, "green tea", "y", True]
