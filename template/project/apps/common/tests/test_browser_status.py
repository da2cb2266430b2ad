"""<connection-status>, and what a page under the project's policy has to complain of."""

import re

import pytest
from playwright.async_api import expect

from apps.common.tests.browser_client import Client

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILS = "/ws/close/1011/"
FAST = {"minDelay": 2, "maxDelay": 4}
STATUSES = ["connected", "connecting", "disconnected", "error"]

# The contrast of two colours, by WCAG 2.2; both are opaque. `status`'s word and dot, on the page.
CONTRASTS = """(status) => {
    const element = document.querySelector('connection-status');
    element.setAttribute('status', status);
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const luminance = (color) => {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const linear = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const page = luminance(getComputedStyle(document.body).backgroundColor);
    const contrast = (color) => {
        const [dark, light] = [page, luminance(color)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
    };
    const [dot, word] = element.shadowRoot.children;
    return [contrast(getComputedStyle(word).color), contrast(getComputedStyle(dot).backgroundColor)];
}"""


def parts(visitor):
    """Its word, which is announced, and the button."""
    element = visitor.page.locator("connection-status")
    return element.get_by_role("status"), element.get_by_role("button", name="Retry")


async def test_says_that_it_is_connected_and_how_quickly_the_server_answers(visitor):
    await visitor.connect()
    word, button = parts(visitor)
    await expect(word).to_have_text("Connected")
    await expect(visitor.page.locator("connection-status")).to_have_text(re.compile(r"\d+ ms"))
    await expect(button).to_be_hidden()


async def test_counts_the_seconds_to_the_next_attempt(visitor):
    await visitor.start(FAILS, minDelay=60_000, maxDelay=60_000)
    word, button = parts(visitor)
    await expect(word).to_have_text("Disconnected")
    await expect(visitor.page.locator("connection-status")).to_have_text(re.compile(r"next attempt in [2-6]\d s"))
    await expect(button).to_be_visible()


async def test_announces_the_word_alone(visitor):
    await visitor.start(FAILS, minDelay=60_000, maxDelay=60_000)
    await visitor.status("disconnected")
    word, _ = parts(visitor)
    assert await word.inner_text() == "Disconnected"
    tree = await visitor.page.locator("connection-status").aria_snapshot()
    assert re.search(r"- status: Disconnected\n", tree), tree
    assert tree.count("status") == 1


@pytest.mark.parametrize("press", ["mouse", "Enter", "Space"])
async def test_after_five_failures_its_button_starts_afresh(visitor, press):
    await visitor.start(FAILS, **FAST)
    await visitor.status("error")
    word, button = parts(visitor)
    await expect(word).to_have_text("Connection failed")
    await expect(visitor.page.locator("connection-status")).to_contain_text("As you wish.")

    await visitor.page.evaluate("(path) => { endpoint = path; }", visitor.path)
    if press == "mouse":
        await button.click()
    else:
        await focus_with_the_keyboard(visitor.page)
        await visitor.page.keyboard.press(press)

    assert await visitor.status("connected") == {"attempt": 0}
    await expect(word).to_have_text("Connected")
    await expect(button).to_be_hidden()


async def focus_with_the_keyboard(page):
    """As who has no mouse: the button is reached, and the focus is seen."""
    inside = "document.querySelector('connection-status').shadowRoot.activeElement"
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate(f"{inside} !== null"):
            break
    style = await page.evaluate(f"getComputedStyle({inside}).outlineStyle")
    assert style not in (None, "none")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_can_be_read_in_light_and_dark(visitor, scheme):
    await visitor.page.emulate_media(color_scheme=scheme)
    background = await visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background)[:3])) > 600 or scheme == "dark", background
    for status in STATUSES:
        word, dot = await visitor.page.evaluate(CONTRASTS, status)
        assert (status, word >= 4.5, dot >= 3) == (status, True, True), (word, dot)


async def test_may_get_its_service_before_it_is_in_the_page_and_be_moved(visitor):
    await visitor.connect()
    await visitor.page.evaluate("""() => {
        const element = document.createElement('connection-status');
        element.service = service;
        document.querySelector('connection-status').replaceWith(element);
        document.querySelector('main').prepend(element);
    }""")
    word, _ = parts(visitor)
    await expect(word).to_have_text("Connected")
    await visitor.page.evaluate("service.close()")
    await expect(word).to_have_text("Disconnected")


async def test_fits_a_phone(visitor):
    await visitor.page.set_viewport_size({"width": 320, "height": 640})
    await visitor.start(FAILS, minDelay=60_000, maxDelay=60_000)
    await visitor.status("disconnected")
    assert await visitor.page.evaluate("document.documentElement.scrollWidth") <= 320
    _, button = parts(visitor)
    box = await button.bounding_box()
    assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, target size


async def test_a_page_under_the_policy_has_nothing_to_complain_of(visitor, server):
    response = await visitor.page.goto(f"{server.url}/page/")
    assert "script-src 'self' 'nonce-" in response.headers["content-security-policy"]
    await visitor.page.evaluate("""() => {
        window.violations = [];
        document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => {
            violations.push(violatedDirective);
        });
    }""")
    await visitor.connect()
    await visitor.say("hello")
    assert (visitor.console, await visitor.page.evaluate("violations")) == ([], [])


async def test_no_live_page_has_anything_to_complain_of(shared_browser, server):
    async with await shared_browser.new_context() as context:
        home = await Client.open(context, server.url)
        await home.page.goto(server.url)
        paths = [await link.get_attribute("href") for link in await home.page.locator("a.card").all()]
        for path in paths:
            await home.page.goto(server.url + path)
        assert home.console == []
