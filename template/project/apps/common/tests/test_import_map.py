"""The import map, without a browser. How static files are served: test_static_files.py."""

import json
import re

import pytest
from django.template import Context, Template
from django.test import RequestFactory
from django.utils.translation import override

from apps.common.templatetags import websockets

BASE = "js/services/websocket.js"


@pytest.fixture
def modules(tmp_path, settings):
    """Makes files, which staticfiles finds."""
    settings.STATICFILES_DIRS = [tmp_path]

    def modules(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    return modules


def render(**context):
    return Template("{% load websockets %}{% import_map %}").render(Context(context))


@pytest.mark.parametrize("static_url", ["/static/", "/assets/", "/static/v2/", "https://cdn.example.com/v2/static/"])
def test_every_name_of_a_module_leads_to_its_address(settings, static_url):
    settings.STATIC_URL = static_url
    imports = websockets.imports(static_url)
    assert imports[f"/static/{BASE}"] == static_url + BASE
    assert imports[static_url + BASE] == static_url + BASE


def test_an_absolute_import_of_a_cdns_module_leads_to_the_cdn(settings):
    settings.STATIC_URL = "https://cdn.example.com/v2/static/"
    imports = websockets.imports(settings.STATIC_URL)
    assert imports[f"https://cdn.example.com/static/{BASE}"] == settings.STATIC_URL + BASE


def test_what_is_no_module_is_found_by_its_prefix(settings):
    settings.STATIC_URL = "https://cdn.example.com/v2/static/"
    imports = websockets.imports(settings.STATIC_URL)
    prefixes = {name: address for name, address in imports.items() if name.endswith("/")}
    assert prefixes == dict.fromkeys(
        ["/static/", "https://cdn.example.com/static/", settings.STATIC_URL], settings.STATIC_URL
    )


def test_a_name_in_need_of_quotes_is_quoted_at_both_ends(modules):
    modules("a b/é#.js")
    assert websockets.imports("/static/")["/static/a%20b/%C3%A9%23.js"] == "/static/a%20b/%C3%A9%23.js"


def test_lists_modules_alone(modules):
    modules("one.js", "two.mjs", "style.css", "admin/three.js")
    assert {"one.js", "two.mjs"} <= set(websockets.modules())
    assert not {"style.css", "admin/three.js", "admin/js/core.js"} & set(websockets.modules())


def test_no_address_ends_the_script(settings):
    settings.STATIC_URL = "/<!--<script>&/"
    [body] = re.fullmatch(r'<script type="importmap">(.*)</script>', render()).groups()
    assert not set("<>&") & set(body)
    assert json.loads(body)["imports"][f"/static/{BASE}"] == f"/<!--<script>&/{BASE}"


def test_has_the_nonce_of_the_policy():
    assert '<script type="importmap" nonce="abc">' in render(csp_nonce="abc")


def test_has_the_nonce_of_a_request():
    request = RequestFactory().get("/")
    request.csp_nonce = "abc"
    assert '<script type="importmap" nonce="abc">' in render(request=request)


def test_has_no_nonce_where_there_is_no_policy():
    assert '<script type="importmap">' in render()


def test_asks_for_a_nonce_that_is_false_until_it_is_used():
    class LazyNonce:
        def __bool__(self):
            return False

        def __str__(self):
            return "abc"

    assert ' nonce="abc"' in render(csp_nonce=LazyNonce())


@pytest.mark.parametrize(("debug", "sees_the_new_one"), [(True, True), (False, False)])
def test_is_read_once_where_debug_is_off(modules, settings, debug, sees_the_new_one):
    settings.DEBUG = debug
    websockets.render_once.cache_clear()
    render()
    modules("new.js")
    assert ("/static/new.js" in render()) == sees_the_new_one
    websockets.render_once.cache_clear()


def test_the_connection_status_has_its_texts_in_the_language_of_the_page():
    template = Template("{% load websockets %}{% connection_status %}")
    with override("en"):
        assert ' data-connected="Connected"' in template.render(Context())
        assert ' data-wait="next attempt in {n} s"' in template.render(Context())
