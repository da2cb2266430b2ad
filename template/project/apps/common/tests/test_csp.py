"""The Content-Security-Policy: what the header says, and that no page of this project violates it."""

import re

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from apps.common import csp, import_map

HEADER = "Content-Security-Policy"


def respond(response):
    """The response, as the middleware passes it on."""
    middleware = csp.ContentSecurityPolicyMiddleware(lambda request: response)
    return middleware(RequestFactory().get("/"))


@pytest.fixture
def policy(settings):
    settings.SECURE_CSP = {"script-src": ["'self'", csp.NONCE], "object-src": ["'none'"]}


def test_each_response_has_a_nonce_of_its_own(policy):
    headers = [respond(HttpResponse(content_type="text/plain")).headers[HEADER] for _ in range(2)]
    nonces = [re.fullmatch(r"script-src 'self' 'nonce-([\w-]{22})'; object-src 'none'", text)[1] for text in headers]
    assert nonces[0] != nonces[1]


def test_templates_have_the_nonce_of_the_header(db):
    response = Client().get("/")
    nonce = response.context["csp_nonce"]
    assert f"'nonce-{nonce}'" in response.headers[HEADER]
    assert f'nonce="{nonce}"' in response.text


def test_a_view_may_have_a_policy_of_its_own(policy):
    response = HttpResponse(headers={HEADER: "default-src 'none'"})
    assert respond(response).headers[HEADER] == "default-src 'none'"


def test_csp_override_of_django_6_is_applied(policy):
    response = HttpResponse()
    response._csp_config = {}
    assert HEADER not in respond(response).headers


@pytest.mark.parametrize(("debug", "has_policy"), [(True, False), (False, True)])
def test_djangos_error_pages_for_developers_have_none(policy, settings, debug, has_policy):
    settings.DEBUG = debug
    assert (HEADER in respond(HttpResponse(status=500)).headers) == has_policy


@pytest.mark.parametrize(
    ("static_url", "sources"),
    [
        ("/static/", ["'self'"]),
        ("https://cdn.example.com/static/", ["'self'", "https://cdn.example.com"]),
        ("//cdn.example.com:8443/static/", ["'self'", "cdn.example.com:8443"]),
    ],
)
def test_static_files_may_come_from_their_host(static_url, sources):
    assert csp.own_sources(static_url) == sources


def test_a_page_from_a_cache_may_have_its_import_map(policy, settings):
    settings.DEBUG = False
    response = respond(HttpResponse())
    assert f" {import_map.content_hash()};" in response.headers[HEADER]


VIOLATIONS = """
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) =>
        violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile} ${event.sample}`));
"""


async def violations(page, path):
    await page.goto(path)
    return await page.evaluate("window.violations")


@pytest.mark.django_db(transaction=True)
async def test_no_page_violates_it(open_page, admin_user):
    page = await open_page("/", admin_user)
    await page.context.add_init_script(VIOLATIONS)
    live_pages = [await link.get_attribute("href") for link in await page.locator("a.card").all()]
    admin_pages = ["", "auth/user/", "auth/user/add/", f"auth/user/{admin_user.pk}/change/", "auth/group/add/"]
    for path in ["/", "/accounts/login/", *live_pages, *(f"/admin/{path}" for path in admin_pages)]:
        assert (path, await violations(page, path)) == (path, [])


@pytest.mark.django_db(transaction=True)
async def test_a_script_without_the_nonce_does_not_run(open_page, user):
    page = await open_page("/", user)
    await page.context.add_init_script(VIOLATIONS)
    await page.goto("/")
    await page.evaluate("""new Promise((resolve) => {
        document.addEventListener('securitypolicyviolation', resolve);
        document.head.append(Object.assign(document.createElement('script'), { text: 'ran = 1' }));
    })""")
    assert await page.evaluate("typeof ran") == "undefined"
    assert "script-src-elem inline" in (await page.evaluate("window.violations"))[0]


@pytest.mark.django_db(transaction=True)
async def test_a_page_from_a_cache_works(open_page, user, settings):
    """Its nonce is another than the response's."""
    settings.DEBUG = False
    page = await open_page("/", user)
    await page.context.add_init_script(VIOLATIONS)
    await page.route("**/", _with_another_nonce)
    assert await violations(page, "/") == []
    assert await page.evaluate("import('/static/js/services/websocket.js').then(() => 'loaded')") == "loaded"


async def _with_another_nonce(route):
    response = await route.fetch()
    text = await response.text()
    assert 'type="importmap" nonce="' in text
    await route.fulfill(response=response, body=re.sub('nonce="[^"]*"', 'nonce="of-an-earlier-response"', text))
