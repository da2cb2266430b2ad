"""The import map, without a browser. How static files are served: test_static_files.py."""

import json
import re

import pytest
from django.contrib.staticfiles.storage import StaticFilesStorage, staticfiles_storage
from django.core.management import call_command
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.utils.translation import override
from whitenoise.middleware import WhiteNoiseMiddleware

from apps.common import csp, import_map

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
    imports = import_map.imports()
    assert imports[f"/static/{BASE}"] == static_url + BASE
    assert imports[static_url + BASE] == static_url + BASE


def test_an_absolute_import_of_a_cdns_module_leads_to_the_cdn(settings):
    settings.STATIC_URL = "https://cdn.example.com/v2/static/"
    imports = import_map.imports()
    assert imports[f"https://cdn.example.com/static/{BASE}"] == settings.STATIC_URL + BASE


def test_what_is_no_module_is_found_by_its_prefix(settings):
    settings.STATIC_URL = "https://cdn.example.com/v2/static/"
    imports = import_map.imports()
    prefixes = {name: address for name, address in imports.items() if name.endswith("/")}
    assert prefixes == dict.fromkeys(
        ["/static/", "https://cdn.example.com/static/", settings.STATIC_URL], settings.STATIC_URL
    )


def test_a_name_in_need_of_quotes_is_quoted_at_both_ends(modules):
    modules("a b/é#.js")
    assert import_map.imports()["/static/a%20b/%C3%A9%23.js"] == "/static/a%20b/%C3%A9%23.js"


def test_lists_modules_alone(modules):
    modules("one.js", "two.mjs", "style.css", "admin/three.js", ".hidden.js")
    found = set(import_map._find_modules())
    assert {"one.js", "two.mjs"} <= found
    assert not {"style.css", "admin/three.js", "admin/js/core.js", ".hidden.js"} & found


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


@pytest.fixture(autouse=True)
def _fresh():
    import_map._render_once.cache_clear()
    import_map._modules.cache_clear()
    import_map._report.cache_clear()
    yield
    import_map._render_once.cache_clear()
    import_map._modules.cache_clear()


@pytest.mark.parametrize(("debug", "sees_the_new_one"), [(True, True), (False, False)])
def test_is_read_once_where_debug_is_off(modules, settings, debug, sees_the_new_one):
    settings.DEBUG = debug
    render()
    modules("new.js")
    assert ("/static/new.js" in render()) == sees_the_new_one


# ---------------------------------------------------------------------------------------------------------------------
# Storages
# ---------------------------------------------------------------------------------------------------------------------


class SignedStorage(StaticFilesStorage):
    """Another origin's, as django-storages has it: each address is signed, and expires."""

    signed = 0

    def url(self, name):
        type(self).signed += 1
        return f"https://bucket.example.com/files/{name}?signature={self.signed}"


class LackingStorage(StaticFilesStorage):
    """Lacks one file, and fails at another in a way of its own."""

    def url(self, name):
        if name == "js/services/websocket/backoff.js":
            raise ValueError("Missing staticfiles manifest entry")
        if name.endswith("heartbeat.js"):
            raise ZeroDivisionError
        return super().url(name)


def use(storage, settings):
    backend = {"BACKEND": f"{__name__}.{storage.__name__}"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": backend}
    settings.DEBUG = False


def test_signed_addresses_are_asked_for_at_each_page(settings):
    use(SignedStorage, settings)
    first, second = (json.loads(re.search(r">(.*)<", render())[1])["imports"] for _ in range(2))
    assert first[f"/static/{BASE}"].startswith(f"https://bucket.example.com/files/{BASE}?signature=")
    assert first[f"/static/{BASE}"] != second[f"/static/{BASE}"]
    # The base's own relative imports are resolved there, without a signature.
    assert first["https://bucket.example.com/files/js/services/websocket/backoff.js"].endswith(
        "?signature=" + first["/static/js/services/websocket/backoff.js"].rpartition("=")[2]
    )


def test_the_policy_allows_another_origins_files(settings):
    use(SignedStorage, settings)
    response = HttpResponse()
    csp.ContentSecurityPolicyMiddleware(lambda request: response)(RequestFactory().get("/"))
    directives = dict(each.split(" ", 1) for each in response.headers[csp.HEADER].split("; "))
    assert directives["default-src"] == "'self' https://bucket.example.com"
    assert directives["script-src"].endswith(" https://bucket.example.com")
    assert directives["connect-src"] == "'self'"


def test_a_file_that_the_storage_lacks_is_left_out_and_reported_once(settings, caplog):
    use(LackingStorage, settings)
    imports = [import_map.imports() for _ in range(2)][-1]
    assert f"/static/{BASE}" in imports
    assert not [name for name in imports if name.endswith(("backoff.js", "heartbeat.js"))]
    assert caplog.text.count("The import map lacks") == 2
    assert "does `manage.py collectstatic` collect it?" in caplog.text


def test_of_a_package_only_imported_modules_are_mapped(tmp_path, settings):
    package = tmp_path / "site-packages/big"
    for number in range(300):
        (package / f"big/part{number}.js").parent.mkdir(parents=True, exist_ok=True)
        (package / f"big/part{number}.js").write_text("export default 1;")
    (package / "big/index.js").write_text("import './part7.js'; export * from './part8.js';")
    (package / "big/all.min.js").write_text("import './part9.js'")
    own = tmp_path / "own"
    own.mkdir()
    (own / "app.js").write_text("import '/static/big/index.js'; import('/static/big/all.min.js'); import 'bare';")
    settings.STATICFILES_DIRS = [own, package]
    found = {path for path in import_map._find_modules() if path.startswith(("big/", "app"))}
    assert found == {"app.js", "big/index.js", "big/part7.js", "big/part8.js", "big/all.min.js"}


def test_the_connection_status_has_its_texts_in_the_language_of_the_page():
    template = Template("{% load websockets %}{% connection_status %}")
    with override("en"):
        assert ' data-connected="Connected"' in template.render(Context())
        assert ' data-wait="next attempt in {n} s"' in template.render(Context())


# ---------------------------------------------------------------------------------------------------------------------
# In production
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_without_collected_files_pages_are_served_and_the_log_names_them(client, settings, tmp_path, caplog):
    settings.DEBUG = False
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "apps.common.storage.StaticFilesStorage"}}
    for path in ("/", "/accounts/login/"):
        response = client.get(path)
        assert response.status_code == 200
        assert 'href="/static/common/css/site.css"' in response.text
    messages = [record.getMessage() for record in caplog.records if "'common/css/site.css'" in record.getMessage()]
    assert len(messages) == 1
    assert "was not collected; run `manage.py collectstatic`" in messages[0]


def test_whitenoise_finds_hashed_files_and_asks_for_no_other(settings, tmp_path, modules, caplog):
    settings.DEBUG = settings.WHITENOISE_USE_FINDERS = settings.WHITENOISE_AUTOREFRESH = False
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "apps.common.storage.StaticFilesStorage"}}
    modules("others.min.js", "types.d.ts")
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["admin", "collected"])
    served = WhiteNoiseMiddleware(lambda request: HttpResponse(status=404)).files
    kept = {url for url, file in served.items() if "immutable" in dict(file.alternatives[-1][2])["Cache-Control"]}
    address = staticfiles_storage.url("others.min.js")
    assert re.fullmatch(r"/static/others\.min\.[0-9a-f]{12}\.js", address)
    assert address in kept
    assert "/static/others.min.js" in served.keys() - kept
    assert "was not collected" not in caplog.text
