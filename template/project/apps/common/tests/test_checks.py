"""manage.py check finds what would fail in a browser, or in production."""

import asyncio
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator
from django.conf.urls.i18n import i18n_patterns
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import login_required
from django.contrib.staticfiles.finders import get_finders
from django.core.asgi import get_asgi_application
from django.core.checks import run_checks
from django.core.handlers.asgi import ASGIHandler
from django.core.management import call_command
from django.http import HttpResponse
from django.test.utils import override_script_prefix
from django.urls import path, re_path, reverse_lazy

from apps.common import features
from apps.common.checks import application as served
from apps.common.checks import base_templates, deploy, endpoints, imports, installation, static_files
from apps.common.checks.transport import transport
from apps.common.contract import service_checks
from apps.common.server import UVICORN_OPTIONS
from apps.common.uvicorn_protocol import BoundedProtocol
from apps.common.websockets.access.origin import OriginCheck
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.asgi import UnknownPath
from apps.common.websockets.messages import Message

BASE = "/static/js/services/websocket.js"


@pytest.fixture
def shop(tmp_path, settings):
    """An app, apps.shop. Calling it writes one of its scripts."""
    folder = tmp_path / "static"
    settings.STATICFILES_DIRS = [folder]

    def write(source, name="shop/js/shop_app.js"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)

    write("", "shop/js/services/shop_websocket.js")
    write.app = SimpleNamespace(name="apps.shop", path=tmp_path)
    return write


@pytest.fixture
def asgi(settings, monkeypatch):
    """Sets the WebSocket side of the ASGI application, or all of it."""

    def asgi(websocket=None, application=None):
        settings.ASGI_APPLICATION = f"{__name__}.application"
        application = application or ProtocolTypeRouter({"websocket": websocket})
        monkeypatch.setitem(globals(), "application", application)

    return asgi


def ids(messages):
    return [message.id for message in messages]


def test_this_project_passes():
    assert [error for error in run_checks() if error.id.startswith("common.")] == []


# common.E001 and common.E002


@pytest.mark.parametrize(
    "specifier",
    [
        BASE,
        "./services/shop_websocket.js",
        "/static/shop/js/services/shop_websocket.js",
        "../../js/services/websocket.js",
        "./services/shop_websocket.js?v=1#top",
        "https://cdn.example.com/chart.js",
        "//cdn.example.com/chart.js",
        "/admin/jsi18n/",  # a view's
    ],
)
def test_an_import_of_what_is_there_is_right(shop, specifier):
    shop(f"import '{specifier}';")
    assert imports.check_imports([shop.app]) == []


def test_an_import_by_the_address_of_static_files_is_right(shop, settings):
    settings.STATIC_URL = "/assets/"
    shop("import '/assets/js/services/websocket.js';")
    assert imports.check_imports([shop.app]) == []


@pytest.mark.parametrize(
    ("specifier", "right"),
    [
        ("/static/js/services/websockets.js", BASE),
        ("/static/js/websocket.js", BASE),
        ("/js/services/websocket.js", BASE),
        ("/static/js/Services/WebSocket.js", BASE),
        ("./services/shops_websocket.js", "./services/shop_websocket.js"),
        ("services/websocket.js", BASE),
        ("./shop_websocket.js", "./services/shop_websocket.js"),
        ("../js/services/websocket.js", "../../js/services/websocket.js"),
    ],
)
def test_an_import_of_what_is_not_there_names_the_nearest(shop, specifier, right):
    shop(f"import '{specifier}';")
    [error] = imports.check_imports([shop.app])
    assert (error.id, error.hint) == ("common.E001", f"Did you mean {right!r}?")


@pytest.mark.parametrize("specifier", ["lodash", "/static/", "/static/js/services", "./services/", "/nowhere/"])
def test_an_import_of_no_file_is_wrong(shop, specifier):
    shop(f"import '{specifier}';")
    assert ids(imports.check_imports([shop.app])) == ["common.E001"]


@pytest.mark.parametrize(
    "specifier",
    [
        "/static/apps/common/js/services/websocket.js",
        "/static/common/js/services/websocket.js",
        "/static/apps/common/static/js/services/websocket.js",
    ],
)
def test_an_import_by_the_folder_of_an_app_names_the_collected_path(shop, specifier):
    shop(f"import {{ BaseWebSocketService }} from '{specifier}';")
    [error] = imports.check_imports([shop.app])
    assert (error.id, error.hint) == ("common.E002", f"Did you mean {BASE!r}?")


def test_a_wrong_import_is_named_with_its_file_and_line(shop, monkeypatch):
    monkeypatch.chdir(shop.app.path)
    shop("// the second line\nimport './nowhere.js';")
    [error] = imports.check_imports([shop.app])
    assert error.obj == "static/shop/js/shop_app.js:2"
    assert "'./nowhere.js'" in error.msg


@pytest.mark.parametrize("name", ["shop/js/vendor/chart.js", "shop/js/chart.min.js"])
def test_other_peoples_scripts_are_not_read(shop, name):
    shop("import 'fs';", name)
    assert imports.check_imports([shop.app]) == []
    shop("import 'fs';", "shop/js/chart.mjs")
    assert ids(imports.check_imports([shop.app])) == ["common.E001"]


def test_apps_of_other_people_are_not_read(shop):
    shop("import 'fs';")
    shop.app.name = "debug_toolbar"
    assert imports.check_imports([shop.app]) == []


# common.E003

ROUTES = [
    re_path(r"^ws/shop/(?P<shop_id>[0-9a-f-]{36})/$", UnknownPath.as_asgi()),
    re_path(r"ws/guide/(?P<id>\w+)/$", UnknownPath.as_asgi()),
    re_path(r"^ws/(?:chat|talk)/(?P<room>\w+)/$", UnknownPath.as_asgi()),
    path("ws/room/<uuid:room>/seat/<int:seat>/", UnknownPath.as_asgi()),
    path("ws/nested/", URLRouter([path("<int:id>/", UnknownPath.as_asgi())])),
    UnknownPath.route(),
]


@pytest.mark.parametrize(
    "endpoint",
    [
        "`/ws/shop/${id}/`",
        "`/ws/shop/${id}/?token=${token}`",
        "() => `/ws/shop/${this.id()}/`",
        "'/ws/guide/lobby/'",
        "`/ws/${kind}/${id}/`",
        "`/ws/talk/${room}/`",
        "`/ws/room/${room}/seat/${seat}/`",
        "`/ws/nested/${id}/`",
        "`wss://example.com/${id}`",
        "endpoint",
    ],
)
def test_an_endpoint_with_a_route_is_right(shop, asgi, endpoint):
    asgi(OriginCheck(URLRouter(ROUTES)))
    shop(f"super({{ endpoint: {endpoint} }})")
    assert endpoints.check_endpoints([shop.app]) == []


@pytest.mark.parametrize(
    ("endpoint", "right"),
    [
        ("`/ws/shops/${id}/`", "/ws/shop/…/"),
        ("`/ws/shop/${id}`", "/ws/shop/…/"),
        ("`/shop/${id}/`", "/ws/shop/…/"),
        ("'/ws/guide/'", "/ws/guide/…/"),
        ("`/ws/nested/`", "/ws/nested/…/"),
    ],
)
def test_an_endpoint_without_a_route_names_the_nearest(shop, asgi, endpoint, right):
    asgi(OriginCheck(URLRouter(ROUTES)))
    shop(f"super({{ endpoint: {endpoint} }})")
    [error] = endpoints.check_endpoints([shop.app])
    assert (error.id, error.hint) == ("common.E003", f"Did you mean {right!r}?")


def test_an_endpoint_is_not_judged_where_the_routes_are_hidden(shop, asgi):
    shop("super({ endpoint: '/ws/nowhere/' })")
    asgi(lambda scope, receive, send: None)
    assert endpoints.check_endpoints([shop.app]) == []
    asgi(URLRouter(ROUTES))
    assert ids(endpoints.check_endpoints([shop.app])) == ["common.E003"]


# common.E017


@pytest.fixture
def features_of(tmp_path, monkeypatch, settings):
    """Installs apps with these routing.py, and an asgi.py that imports them all."""

    def features_of(**routing):
        folder = tmp_path / "apps"
        for name, source in routing.items():
            (folder / name).mkdir(parents=True)
            (folder / name / "__init__.py").touch()
            (folder / name / "routing.py").write_text(source)
            monkeypatch.delitem(sys.modules, f"apps.{name}", raising=False)
            monkeypatch.delitem(sys.modules, f"apps.{name}.routing", raising=False)
        configs = [SimpleNamespace(name=f"apps.{name}") for name in routing]
        (tmp_path / "broken_asgi.py").write_text(
            "import logging\n"
            "from django.core.asgi import get_asgi_application\n"
            "application = get_asgi_application()\n"
            "from apps.common.features import websocket_urlpatterns\n"
            "websocket_urlpatterns()\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "broken_asgi", raising=False)
        monkeypatch.setattr(sys.modules["apps"], "__path__", [str(folder), *sys.modules["apps"].__path__])
        monkeypatch.setattr(served, "APPS_DIR", folder)
        for module in (served, features):
            monkeypatch.setattr(module, "apps", SimpleNamespace(get_app_configs=lambda: configs))
        settings.ASGI_APPLICATION = "broken_asgi.application"

    yield features_of
    for name in [name for name in sys.modules if name.startswith(("apps.one", "apps.two", "broken_asgi"))]:
        del sys.modules[name]


RIGHT = "websocket_urlpatterns = []"


@pytest.mark.parametrize(
    ("source", "place", "cause"),
    [
        ("\ndef (", "one/routing.py:2", "SyntaxError: invalid syntax"),
        ("import no_such_module", "one/routing.py:1", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import json\njson.loads('')", "one/routing.py:2", "JSONDecodeError: Expecting value"),
        ("urlpatterns = []", "", "AttributeError: module 'apps.one.routing' has no attribute 'websocket_urlpatterns'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_once(features_of, source, place, cause):
    features_of(one=source, two=RIGHT)
    [error] = served.check_modules()
    assert error.id == "common.E017"
    assert place in error.obj
    assert cause in error.msg
    assert list(served.modules("routing")) == ["apps.two"]
    assert served.root_application() is None
    assert deploy.check_origin() == []


def test_each_module_that_cannot_be_imported_is_named(features_of):
    features_of(one="1 / 0", two="1 / 0")
    assert [error.obj.rpartition("apps/")[2] for error in served.check_modules()] == [
        "one/routing.py:1",
        "two/routing.py:1",
    ]


@pytest.mark.parametrize("name", ["no_such_module.application", "broken_asgi.no_such_name", "nodots"])
def test_an_application_that_is_not_there_is_named(features_of, settings, name):
    features_of(one=RIGHT)
    settings.ASGI_APPLICATION = name
    assert [(error.id, error.obj) for error in served.check_modules()] == [("common.E017", name)]


def test_a_check_does_not_set_django_up_again(features_of, monkeypatch):
    calls = []
    monkeypatch.setattr("django.setup", lambda set_prefix=True: calls.append(set_prefix))
    features_of(one=RIGHT)
    assert isinstance(served.root_application(), ASGIHandler)
    assert calls == []
    get_asgi_application()
    assert calls == [False]


# common.E004 to common.E010, common.W004 to common.W007


class ShopConsumer(UnknownPath):
    pass


def shop_page(request, shop_id):
    return HttpResponse()


@pytest.fixture
def shop_modules(monkeypatch):
    """The modules of an installed app, apps.shop."""
    routing = SimpleNamespace(websocket_urlpatterns=[path("ws/shop/", ShopConsumer.as_asgi())])
    urlpatterns = [path("shop/<slug:shop_id>/", shop_page)]
    urls = SimpleNamespace(__package__="apps.shop", TITLE="Shop", URL="/shop/demo/", urlpatterns=urlpatterns)
    modules = {"routing": {"apps.shop": routing}, "urls": {"apps.shop": urls}}
    monkeypatch.setattr(installation, "modules", modules.get)
    monkeypatch.setattr(features, "modules", modules.get)
    return SimpleNamespace(routing=routing, urls=urls)


@pytest.mark.parametrize(
    ("app", "found"),
    [
        ("django.core", ["common.E004"]),
        ("django.contrib.staticfiles", ["common.E004"]),
        ("apps.common", []),
        ("daphne", []),  # it speaks WebSocket, too
    ],
)
def test_a_runserver_that_speaks_no_websocket_is_named(monkeypatch, app, found):
    monkeypatch.setattr(installation, "get_commands", lambda: {"runserver": app})
    assert ids(installation.check_settings()) == found


def test_without_an_application_that_is_said_and_nothing_else(settings, shop, shop_modules):
    settings.ASGI_APPLICATION = None
    shop("super({ endpoint: '/ws/nowhere/' })")
    assert ids(installation.check_settings()) == ["common.E005"]
    assert installation.check_application() == []
    assert endpoints.check_endpoints([shop.app]) == []


def test_a_setting_that_is_missing_is_named(settings):
    settings.CHANNEL_LAYERS = {"other": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    del settings.REDIS_URL
    assert ids(installation.check_settings()) == ["common.E007", "common.E008"]


@pytest.mark.parametrize("layer", [{}, {"BACKEND": "no.such.Layer"}, {"BACKEND": "nodots"}])
def test_a_channel_layer_that_cannot_be_imported_is_said_once(settings, layer):
    settings.CHANNEL_LAYERS = {"default": layer}
    settings.REDIS_URL = "redis://h/0"
    assert ids(installation.check_settings()) == ["common.E007"]
    assert deploy.check_channel_layer() == []
    assert installation.check_prefix() == []


@pytest.mark.parametrize(
    ("engine", "found"),
    [
        ("django.contrib.sessions.backends.signed_cookies", ["common.E016"]),
        ("django.contrib.sessions.backends.cached_db", []),
        ("no.such.engine", []),
    ],
)
def test_sessions_in_cookies_cannot_be_revoked(engine, found, settings):
    settings.SESSION_ENGINE = engine
    assert ids(installation.check_settings()) == found


@pytest.mark.parametrize(
    ("url", "prefix", "layer", "found"),
    [
        ("", None, {}, []),
        ("redis://h/0", "shop", {"prefix": "{shop:0}"}, []),
        ("redis://h/0", None, {"prefix": "{shop:0}"}, ["common.W007"]),
        ("redis://h/0", "shop", {}, ["common.W007"]),
        ("redis://h/0", "shop", {"prefix": "asgi"}, ["common.W007"]),
    ],
)
def test_a_prefix_that_other_sites_have_is_named(settings, url, prefix, layer, found):
    settings.REDIS_URL, settings.WEBSOCKET_PREFIX = url, prefix
    if prefix is None:
        del settings.WEBSOCKET_PREFIX
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": layer}}
    assert ids(installation.check_prefix()) == found


@pytest.mark.parametrize("application", [get_asgi_application(), ProtocolTypeRouter({"http": get_asgi_application()})])
def test_an_application_for_http_alone_serves_no_websocket(asgi, application):
    asgi(application=application)
    assert ids(installation.check_application()) == ["common.E006"]


def test_an_application_that_hides_its_routes_is_named(asgi, shop_modules):
    asgi(application=lambda scope, receive, send: None)
    assert ids(installation.check_application()) == ["common.W005"]
    asgi(application=SimpleNamespace(app=URLRouter(shop_modules.routing.websocket_urlpatterns)))
    assert installation.check_application() == []


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ([UnknownPath.route()], ["common.E010"]),
        ([path("shop/", ShopConsumer.as_asgi()), UnknownPath.route()], []),
        ([path("v2/", URLRouter([path("shop/", ShopConsumer.as_asgi())]))], []),
    ],
)
def test_the_routes_of_a_feature_are_in_the_application(asgi, shop_modules, routes, found):
    asgi(OriginCheck(URLRouter(routes)))
    assert ids(installation.check_application()) == found


@pytest.mark.parametrize(
    ("before", "is_there", "found"),
    [
        ([], True, []),
        ([], False, ["common.W004"]),
        ([path("<path:any>", shop_page, {"shop_id": ""}), path("x/", shop_page)], True, []),
        ([path("<path:any>", lambda request, any: HttpResponse())], True, ["common.W004"]),
    ],
)
def test_the_live_page_of_a_feature_is_at_its_address(settings, monkeypatch, shop_modules, before, is_there, found):
    urlpatterns = [*before, *(shop_modules.urls.urlpatterns if is_there else [])]
    monkeypatch.setitem(globals(), "urlpatterns", urlpatterns)
    settings.ROOT_URLCONF = __name__
    assert ids(installation.check_live_pages()) == found


@pytest.mark.parametrize(
    ("module", "listed", "found"),
    [
        ("routing.py", "apps.orders", ["common.E009"]),
        ("routing.py", "apps.shop", []),
        ("routing.py", "apps.shop.apps.ShopConfig", []),
        ("routing.py", "shop", []),  # where apps/ is on sys.path
        ("models.py", "apps.orders", []),
    ],
)
def test_a_feature_that_is_not_installed_is_named(tmp_path, monkeypatch, module, listed, found):
    monkeypatch.setattr(installation, "settings", SimpleNamespace(INSTALLED_APPS=[listed]))
    for name in ("__init__.py", module):
        (tmp_path / "shop").mkdir(exist_ok=True)
        (tmp_path / "shop" / name).write_text("1 / 0")  # what is not installed is not imported
    monkeypatch.setattr(features, "APPS_DIR", tmp_path)
    monkeypatch.setattr(sys.modules["apps"], "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "apps.shop", raising=False)
    assert ids(installation.check_features()) == found
    monkeypatch.delitem(sys.modules, "apps.shop", raising=False)


def sign_in(request):
    return HttpResponse()


SIGN_IN = path("sign-in/", sign_in, name="sign_in")


@pytest.mark.parametrize(
    ("login_url", "urlpatterns", "found"),
    [
        ("/accounts/login/", [SIGN_IN], ["common.W006"]),
        ("login", [SIGN_IN], ["common.W006"]),
        (reverse_lazy("login"), [SIGN_IN], ["common.W006"]),
        ("/sign-in/", [SIGN_IN], []),
        ("/sign-in", [SIGN_IN], []),  # gets its slash
        ("sign_in", [SIGN_IN], []),
        (reverse_lazy("sign_in"), [SIGN_IN], []),
        ("/sign-in/", i18n_patterns(SIGN_IN), []),  # gets its language
        ("sign_in", i18n_patterns(SIGN_IN), []),
        ("https://login.example.com/", [], []),
    ],
)
def test_there_is_a_login_page(settings, monkeypatch, shop_modules, login_url, urlpatterns, found):
    shop_modules.urls.urlpatterns = [path("shop/<slug:shop_id>/", login_required(shop_page))]
    monkeypatch.setitem(globals(), "urlpatterns", urlpatterns)
    settings.ROOT_URLCONF, settings.LOGIN_URL = __name__, login_url
    assert ids(installation.check_login_page()) == found


@pytest.mark.parametrize(
    ("login_url", "found"),
    [("sign_in", []), ("/site/sign-in/", []), ("/site/login/", ["common.W006"]), ("/login-of-another-site/", [])],
)
def test_there_is_a_login_page_below_a_prefix(settings, monkeypatch, shop_modules, login_url, found):
    shop_modules.urls.urlpatterns = [path("shop/<slug:shop_id>/", login_required(shop_page))]
    monkeypatch.setitem(globals(), "urlpatterns", [SIGN_IN])
    settings.ROOT_URLCONF, settings.LOGIN_URL = __name__, login_url
    with override_script_prefix("/site/"):
        assert ids(installation.check_login_page()) == found


@pytest.mark.parametrize("guard", [lambda view: view, login_required(login_url="/elsewhere/"), staff_member_required])
def test_a_page_that_asks_for_no_sign_in_needs_no_login_page(settings, shop_modules, guard):
    shop_modules.urls.urlpatterns = [path("shop/<slug:shop_id>/", guard(shop_page))]
    settings.LOGIN_URL = "/nowhere/"
    assert installation.check_login_page() == []


# common.E011 and common.E012


def test_a_file_that_shadows_one_of_the_common_part_is_named(shop, monkeypatch):
    monkeypatch.chdir(shop.app.path)
    shop("", "shop/css/site.css")
    shop("", "js/services/other.js")
    assert static_files.check_static_files() == []
    shop("", "js/services/websocket.js")
    [error] = static_files.check_static_files()
    assert error.id == "common.E011"
    assert error.msg.startswith(f"{static_files.STATIC / 'js/services/websocket.js'} is never served: static/js/")
    assert error.hint.startswith("Move static/js/services/websocket.js to a path of its own, such as static/myapp/")


def test_a_file_that_the_common_part_shadows_is_named(shop, monkeypatch):
    monkeypatch.chdir(shop.app.path)
    shop("", "js/services/websocket.js")
    monkeypatch.setattr(static_files.finders, "get_finders", lambda: reversed([*get_finders()]))
    [error] = static_files.check_static_files()
    assert error.msg.startswith("static/js/services/websocket.js is never served: ")
    assert error.hint.startswith("Move static/js/services/websocket.js to a path of its own")


def test_a_folder_that_is_listed_twice_shadows_nothing(settings):
    settings.STATICFILES_DIRS = [static_files.STATIC]
    assert static_files.check_static_files() == []


def test_without_a_finder_for_apps_that_is_said_once(settings):
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    assert ids(static_files.check_static_files()) == ["common.E012"]


# common.E013 and common.E014


class PlaceOrder(Message):
    pass


class OrderPlaced(Message):
    pass


class Priced(Message, abstract=True):
    pass


@pytest.fixture
def shop_contract(shop, shop_modules, monkeypatch):
    """The messages and the route of apps.shop; its service is to be written."""
    messages = SimpleNamespace(__name__=__name__, Message=Message, placed=OrderPlaced, place=PlaceOrder, priced=Priced)
    modules = {"routing": {"apps.shop": shop_modules.routing}, "messages": {"apps.shop": messages}}
    monkeypatch.setattr(service_checks, "modules", modules.get)

    def write(source):
        shop(source, "shop/js/services/shop_websocket.js")
        return shop.app

    return write


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("/** @typedef {{ type: 'order_placed' }} OrderPlaced */ send('place_order')", []),
        ('send("place_order"); on(`order_placed`)', []),
        ("send('place_order')", ["order_placed"]),
        ("send('place_orders')", ["order_placed", "place_order"]),
    ],
)
def test_a_service_names_each_message_of_its_feature(shop_contract, source, missing):
    errors = service_checks.check_service_messages([shop_contract(source)])
    assert ids(errors) == ["common.E014"] * len(missing)
    assert [error.hint.split("'")[1] for error in errors] == missing


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        ("/ws/shop/", []),
        ("/ws/shop/?token=1", []),
        ("/ws/guide/lobby/", ["common.E013"]),  # another feature's
        ("/ws/nowhere/", []),  # served by no route: common.E003
    ],
)
def test_a_service_connects_to_a_route_of_its_feature(shop_contract, shop_modules, asgi, endpoint, found):
    asgi(OriginCheck(URLRouter([*shop_modules.routing.websocket_urlpatterns, *ROUTES])))
    app = shop_contract(f"super({{ endpoint: '{endpoint}' }})")
    assert ids(service_checks.check_service_paths([app])) == found


# common.E015

TEMPLATES = {
    "base.html": "<head>{% load websockets %}{% import_map %}{% block head %}{% endblock %}</head>",
    "without.html": "<head>{% block head %}{% endblock %}</head>",
    "after.html": "<head>{% block head %}{% endblock %}{% load websockets %}{% import_map %}</head>",
    "in_block.html": "<head>{% block head %}{% load websockets %}{% import_map %}{% endblock %}</head>",
    "head.html": "{% load websockets %}{% import_map %}",
    "includes.html": "<head>{% if user %}{% include 'head.html' %}{% endif %}{% block head %}{% endblock %}</head>",
    "between.html": "{% extends 'without.html' %}",
}
SCRIPT = '{% block head %}<script type="module" src="x.js"></script>{% endblock %}'


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("{% extends 'base.html' %}" + SCRIPT, []),
        ("{% extends 'includes.html' %}" + SCRIPT, []),
        ("{% extends 'without.html' %}" + SCRIPT, ["common.E015"]),
        ("{% extends 'between.html' %}" + SCRIPT, ["common.E015"]),
        ("{% extends 'after.html' %}" + SCRIPT, ["common.E015"]),
        ("{% extends 'in_block.html' %}" + SCRIPT, ["common.E015"]),
        ("{% extends 'in_block.html' %}" + SCRIPT.replace("<", "{{ block.super }}<", 1), []),
        ("{% extends 'without.html' %}{% block head %}no script{% endblock %}", []),
        ("{% extends name %}" + SCRIPT, []),  # known only when it is rendered
        ("{% extends 'nowhere.html' %}" + SCRIPT, []),  # Django says so by itself
        (SCRIPT, []),  # a partial
    ],
)
def test_the_base_template_of_a_page_has_an_import_map(settings, page, found):
    loader = ("django.template.loaders.locmem.Loader", {**TEMPLATES, "page.html": page})
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False, "DIRS": [], "OPTIONS": {"loaders": [loader]}}]
    errors = base_templates.check_page("page.html")
    assert ids(errors) == found
    assert all("{% load websockets %}{% import_map %}" in error.hint for error in errors)


# common.W001 to common.W003


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        ({"BACKEND": "channels.layers.InMemoryChannelLayer"}, ["common.W001"]),
        ({"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1"]}}, []),
    ],
)
def test_a_channel_layer_in_memory_is_for_one_process(settings, layer, found):
    settings.CHANNEL_LAYERS = {"default": layer}
    assert ids(deploy.check_channel_layer()) == found


@pytest.mark.parametrize(("hosts", "found"), [(["*"], ["common.W002"]), ([".example.com"], [])])
def test_any_host_means_any_page(settings, hosts, found):
    settings.ALLOWED_HOSTS = hosts
    assert ids(deploy.check_hosts()) == found


@pytest.mark.parametrize(
    ("guard", "found"),
    [
        (lambda router: router, ["common.W003"]),
        (lambda router: OriginValidator(router, ["*"]), ["common.W003"]),
        (OriginCheck, []),
        (AllowedHostsOriginValidator, []),
    ],
)
def test_the_origin_is_checked(asgi, guard, found):
    asgi(guard(URLRouter(ROUTES)))
    assert ids(deploy.check_origin()) == found


def test_deploy_finds_a_developers_machine(settings):
    settings.DEBUG, settings.ALLOWED_HOSTS = True, []
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert {"common.W001", "security.W018", "security.W020"} <= set(ids(run_checks(include_deployment_checks=True)))


def test_deploy_finds_nothing_where_all_is_set(settings):
    settings.DEBUG, settings.ALLOWED_HOSTS = False, ["example.com"]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}
    found = ids(run_checks(include_deployment_checks=True))
    assert [id for id in found if id.startswith("common.") or id in ("security.W018", "security.W020")] == []


# The line about the transport


class Middleware:
    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        await self.inner(scope, receive, send)


class Wrapping(Middleware):
    async def __call__(self, scope, receive, send):
        async def counted(event):
            await send(event)

        await self.inner(scope, receive, counted)


class Listening(Middleware):
    async def __call__(self, scope, receive, send):
        async def counted():
            return await receive()

        await self.inner(scope, counted, send)


class Waiting(Middleware):
    async def __call__(self, scope, receive, send):
        await asyncio.sleep(0)
        await self.inner(scope, receive, send)


class Refusing(Middleware):
    async def __call__(self, scope, receive, send):
        raise ValueError(scope["path"])


DIRECT = f"Connections of apps.common.server bypass ASGI (uvicorn {version('uvicorn')}, "


def by_asgi(reasons: str) -> bool:
    """Whether the line names these reasons alone."""
    return transport().startswith(f"Connections use ASGI, which takes up to twice the CPU: {reasons}. See ")


@pytest.mark.parametrize(
    "around",
    [
        lambda router: OriginCheck(SessionAuth(router)),
        AllowedHostsOriginValidator,
        Middleware,
        lambda router: Middleware(SimpleNamespace(app=router)),  # the second one cannot be called
    ],
)
def test_connections_are_direct_where_all_is_passed_on(asgi, around):
    asgi(around(URLRouter(ROUTES)))
    text = transport()
    assert text.startswith(DIRECT)
    assert ("Unknown" in text) == ("SimpleNamespace" in text)


@pytest.mark.parametrize(
    ("around", "name"),
    [
        (lambda router: OriginCheck(Wrapping(router)), f"{__name__}.Wrapping"),
        (AuthMiddlewareStack, "channels.sessions.SessionMiddleware"),
        (lambda router: URLRouter([path("shop/", Wrapping(ShopConsumer.as_asgi()))]), f"{__name__}.Wrapping"),
    ],
)
def test_a_middleware_that_wraps_send_is_named(asgi, around, name):
    asgi(around(URLRouter(ROUTES)))
    assert by_asgi(f"{name} wraps `send`")


def test_each_that_wraps_something_is_named(asgi):
    asgi(Wrapping(Listening(URLRouter(ROUTES))))
    reasons = f"{__name__}.Wrapping wraps `send`; {__name__}.Listening wraps `receive`"
    assert by_asgi(reasons)


@pytest.mark.parametrize("middleware", [Waiting, Refusing])
def test_a_middleware_that_needs_more_than_a_handshake_is_unknown(asgi, middleware):
    router = URLRouter(ROUTES)
    layer = middleware(router)
    asgi(layer)
    text = transport()
    assert text.startswith(DIRECT)
    assert f"Unknown is whether `send` or `receive` is wrapped by {__name__}.{middleware.__name__}." in text
    assert layer.inner is router


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("ws_per_message_deflate", True, "apps.common.server compresses (ws_per_message_deflate)"),
        (
            "ws",
            "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol",
            "the protocol of apps.common.server is "
            "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol",
        ),
        ("ws", "auto", "the protocol of apps.common.server is auto"),
    ],
)
def test_an_option_of_the_server_that_prevents_it_is_named(monkeypatch, option, value, reason):
    monkeypatch.setitem(UVICORN_OPTIONS, option, value)
    assert by_asgi(reason)


def test_a_uvicorn_that_would_not_call_the_protocol_is_named(monkeypatch):
    monkeypatch.delattr(BoundedProtocol.__base__, "start_keepalive")
    reason = f"the protocol of uvicorn {version('uvicorn')} has no start_keepalive"
    assert by_asgi(reason)


def test_a_uvicorn_without_the_protocol_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apps.common.uvicorn_protocol", None)
    assert "use ASGI, which takes up to twice the CPU: apps.common.server cannot import its protocol" in transport()


@pytest.mark.parametrize(
    ("arguments", "is_printed"), [([], True), (["--deploy"], True), (["users"], False), (["--tag", "urls"], False)]
)
def test_a_whole_check_prints_the_line(capsys, arguments, is_printed):
    call_command("check", *arguments)
    assert (transport() in capsys.readouterr().out) == is_printed


def test_without_an_application_nothing_is_said_of_the_transport(settings):
    settings.ASGI_APPLICATION = None
    assert transport() == ""
