"""A site below a prefix: its links, its static files and its WebSockets, with proxies that leave the prefix in the path
and with others."""

import re

import pytest
from django.template import Context, Template
from django.urls import set_script_prefix

from apps.common.testing import connect
from apps.common.tests.process import ServerProcess

from .serving import PATH, PublicConsumer, serve

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("sent", ["/shop/ws/1/", "/ws/1/"])
async def test_a_socket_is_routed_with_or_without_the_prefix(sent, settings):
    settings.FORCE_SCRIPT_NAME = "/shop"
    async with connect(sent, application=serve(PublicConsumer)) as client:
        await client.assert_silent()


async def test_a_socket_is_routed_below_the_servers_root_path():
    application = serve(PublicConsumer)

    async def below(scope, receive, send):
        await application({**scope, "root_path": "/shop"}, receive, send)

    for sent in ("/shop/ws/1/", PATH):
        async with connect(sent, application=below) as client:
            await client.assert_silent()
    async with connect("/shopping/ws/1/", application=below) as client:
        await client.assert_closed(4404)


def test_the_import_map_names_the_prefix():
    template = Template("{% load websockets %}{% import_map %}")
    assert "data-prefix" not in template.render(Context())
    set_script_prefix("/shop/")
    try:
        assert ' data-prefix="/shop">' in template.render(Context())
    finally:
        set_script_prefix("/")


async def test_the_site_works_below_a_prefix(browser, tmp_path):
    server = ServerProcess("config.asgi:application", tmp_path)
    server.start(FORCE_SCRIPT_NAME="/shop", STATIC_URL="/shop/static/", DEBUG="true")
    try:
        page = await browser.new_page()
        wrong = []
        page.on("response", lambda response: response.status < 400 or wrong.append(f"{response.status} {response.url}"))
        await page.goto(f"{server.url}/shop/accounts/login/")
        assert await page.locator("header a").first.get_attribute("href") == "/shop/"
        await page.goto(f"{server.url}/shop/")
        for link in await page.locator("main a").all():
            assert re.match("/shop/", await link.get_attribute("href"))
        code = await page.evaluate(
            """async () => {
                const { BaseWebSocketService } = await import('/static/js/services/websocket.js');
                const service = new BaseWebSocketService({ endpoint: '/ws/nowhere/' });
                await service.connect().catch(() => {});
                return new Promise((resolve) => service.on('error', (error) => resolve(error.code)));
            }"""
        )
        assert code == 4404
        assert wrong == []
    finally:
        server.kill()
