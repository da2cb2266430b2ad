"""Forms of a page in a browser: what they send, and the answers of a test."""

import asyncio
from typing import Any

from playwright.async_api import Page

# Within the page's module: the function with which its forms send.
SEND = """
        window.sent = []; // of each message: the data, and the functions that answer it
        const send = (data) => new Promise((resolve, reject) => {
            sent.push({ data, resolve, reject });
            dispatchEvent(new Event('sent'));
        });
"""


async def sent(page: Page, number: int = 1) -> Any:
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
