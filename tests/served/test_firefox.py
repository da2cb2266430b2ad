"""The pages of a generated project in Firefox, as production serves them: hashed modules under a policy."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.conftest import Tools
from tests.served.faults import DEADLINE_SECONDS, Process, free_port, valkey
from tests.served.firefox import Firefox, Page, launch
from tests.template import Template, run

pytestmark = pytest.mark.turn(4)

OpenPage = Callable[[str], Page]

TAB, ENTER = "\ue004", "\ue006"
PRODUCTION = {
    "ALLOWED_HOSTS": "127.0.0.1",
    "DATABASE_URL": "sqlite:///db.sqlite3",
    "DEBUG": "false",
    "HTTPS": "false",
    "LOG_LEVEL": "CRITICAL",
    "SECRET_KEY": "of a test that only this machine can reach " * 2,
    "STATIC_URL": "/static/",
}
PREPARE = """
import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command

call_command("migrate", verbosity=0)
call_command("collectstatic", verbosity=0, interactive=False)
for name in ("ann", "bob"):
    get_user_model().objects.create_user(username=name, password=f"{name}-password")
"""
# A service of the page's own, with options, and its events; an Error passes with its code alone.
START = """(endpoint, options) => new Promise((resolve, reject) => {
    window.options = { ...options, endpoint };
    window.onStart = resolve;
    const script = Object.assign(document.createElement('script'), { type: 'module', onerror: reject });
    script.nonce = document.querySelector('script[nonce]').nonce;
    script.textContent = `
        import '/static/js/components/connection_status.js';
        import { LiveChatWebSocketService } from '/static/live_chat/js/services/live_chat_websocket.js';

        class Service extends LiveChatWebSocketService {
            emit(event, ...args) {
                super.emit(event, ...args);
                onEvent(event, ...args.map((arg) => arg instanceof Error ? { code: arg.code } : arg));
            }
        }

        window.service = new Service('', window.options);
        service.on('error', () => {});
        document.querySelector('main').append(document.createElement('connection-status'));
        document.querySelector('connection-status').service = service;
        service.connect();
        onStart();
    `;
    document.head.append(script);
})"""
# The events of a generated page's service, from now on.
OBSERVE = """() => {
    const { service } = document.querySelector('connection-status');
    const { emit } = service;
    service.emit = (event, ...args) => {
        onEvent(event, ...args.map((arg) => arg instanceof Error ? { code: arg.code } : arg));
        emit.call(service, event, ...args);
    };
}"""
SIGN_IN = """(name) => {
    const form = document.querySelector('main form');
    form.elements.username.value = name;
    form.elements.password.value = `${name}-password`;
    form.querySelector('button').click();
}"""
# The button that <connection-status> shows.
CLICK = "() => document.querySelector('connection-status').shadowRoot.querySelector('button:not([hidden])').click()"
# For a server that is unavailable until it has started again, however long a busy machine takes: quick attempts, and
# messages that wait for them.
PATIENT = {"minDelay": 20, "maxDelay": 100, "maxAttempts": 1_000, "queueTtl": 600_000}


@pytest.fixture(scope="module")
def python(tools: Tools) -> Path:
    return tools.home / ".venv/bin/python"


@pytest.fixture(scope="module")
def project(cafe: Path, template: Template, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a feature of each access, collected files, and two users."""
    project = Path(shutil.copytree(cafe, tmp_path_factory.mktemp("project") / "Café"))
    template.feature("audit", project, access="staff")
    run(project, "env", *(f"{name}={value}" for name, value in PRODUCTION.items()), python, "-c", PREPARE)
    return project


@pytest.fixture(scope="module")
def store(valkey_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Valkey server."""
    process = valkey(valkey_program, tmp_path_factory.mktemp("store"))
    process.start()
    yield f"redis://127.0.0.1:{process.port}/0"
    process.stop()


def serve(project: Path, python: Path, redis: str) -> Process:
    port = free_port()
    command = [str(python), "-m", "apps.common.server"]
    return Process(command, port, project, **PRODUCTION, PORT=str(port), REDIS_URL=redis)


@pytest.fixture(scope="module")
def site(project: Path, python: Path, store: str) -> Iterator[Process]:
    """A server over the store, which all tests use and none stops."""
    process = serve(project, python, store)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def other_site(project: Path, python: Path, store: str) -> Iterator[Process]:
    process = serve(project, python, store)
    yield process
    process.stop()


@pytest.fixture
def own_site(other_site: Process) -> Iterator[Process]:
    """Another one, which a test may stop: it runs when a test begins."""
    if not other_site.is_started:
        other_site.start()
    yield other_site
    if other_site.is_started:
        other_site.signal(signal.SIGCONT)  # after a test that failed


@pytest.fixture
def forgetful_site(project: Path, python: Path) -> Iterator[Process]:
    """One with all in memory."""
    process = serve(project, python, redis="")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def firefox(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """One for all tests. After the tools, for which apt may be needed, too."""
    with launch(tmp_path_factory.mktemp("firefox")) as firefox:
        yield firefox


@pytest.fixture
def open_page(firefox: Firefox) -> Iterator[OpenPage]:
    """Opens an address in a new tab. All tabs of a test are one visitor's."""
    visitor = firefox.visitor()

    def open_page(url: str) -> Page:
        page = Page(firefox, visitor)
        page.open(url)
        return page

    yield open_page
    firefox.forget(visitor)


def url(site: Process, path: str = "/") -> str:
    return f"http://127.0.0.1:{site.port}{path}"


def sign_in(page: Page, site: Process, name: str) -> None:
    page.open(url(site, "/accounts/login/"))
    page.run(SIGN_IN, name)
    page.event("load")


def publish(site: Process, room: str, *texts: str) -> None:
    """As a client that has no browser does; each is accepted when this returns."""
    with connect(f"ws://127.0.0.1:{site.port}/ws/live-chat/{room}/", proxy=None) as connection:
        for text in texts:
            connection.send(json.dumps({"type": "send_line", "ref": text, "data": {"text": text}}))
            while json.loads(connection.recv(timeout=DEADLINE_SECONDS)).get("ref") != text:
                pass


def start(page: Page, room: str, **options: Any) -> None:
    """Connect a service with these options, and read the greeting: each broadcast from now on is received."""
    page.run(START, f"/ws/live-chat/{room}/", options)
    page.event("latency")


def status(page: Page, name: str) -> Any:
    """The details of the next connectionStatus that is this one."""
    _, details = page.event("connectionStatus", lambda status, details: status == name)
    return details


def statuses(page: Page) -> list[str]:
    """All of them, up to now."""
    return [event[1] for event in page.events if event[0] == "connectionStatus"]


def received(page: Page) -> list[tuple[int, str]]:
    """The number and the text of each broadcast, up to now."""
    return [(event[1]["seq"], event[1]["data"]["text"]) for event in page.events if event[0] == "lineSent"]


def test_what_one_page_sends_another_shows(open_page: OpenPage, site: Process) -> None:
    pages = [open_page(url(site, "/live-chat/pages/")) for _ in range(2)]
    for page in pages:
        page.shows("Connected", "connection-status")
        page.shows(" ms", "connection-status")
    pages[0].run("() => document.querySelector('input').focus()")
    pages[0].type(f"hello{ENTER}")
    pages[0].shows("Done", "[data-action=send-line]")
    for page in pages:
        page.shows("Line sent", "[data-events]")
        page.shows("hello", "[data-events]")
        assert page.console == []


def test_modules_are_found_by_the_import_map_under_the_policy(open_page: OpenPage, site: Process) -> None:
    page = open_page(url(site, "/live-chat/modules/"))
    page.shows("Connected", "connection-status")
    loaded = page.run("() => performance.getEntriesByType('resource').map(({ name }) => name)")
    modules = [address for address in loaded if address.endswith(".js")]
    assert [address for address in modules if not re.search(r"/static/[\w/]+\.[0-9a-f]{12}\.js$", address)] == []
    assert {"websocket", "heartbeat", "connection_status"} <= {Path(address).name.split(".")[0] for address in modules}
    assert [event for event in page.events if event[0] == "violation"] == []
    assert page.console == []

    page.run("() => { document.head.append(Object.assign(document.createElement('script'), { text: 'x = 1' })); }")
    assert page.event("violation") == ["script-src-elem"]


def test_a_reconnect_waits_longer_each_time_and_misses_nothing(
    open_page: OpenPage, site: Process, own_site: Process
) -> None:
    page = open_page(url(own_site))
    start(page, "missed", minDelay=100, maxDelay=400, maxAttempts=1_000)
    publish(site, "missed", "before")
    page.event("lineSent")

    own_site.stop()
    failures = [status(page, "disconnected") for _ in range(4)]
    publish(site, "missed", "one", "two", "three")
    own_site.start()
    status(page, "connected")
    publish(site, "missed", "after")
    page.event("lineSent", lambda message: message["data"]["text"] == "after")

    assert {failure["code"] for failure in failures} == {1006}
    assert [failure["attempt"] for failure in failures] == [1, 2, 3, 4]
    for failure, longest in zip(failures, [100, 200, 400, 400], strict=True):
        assert longest / 2 <= failure["delay"] <= longest
    assert received(page) == [(1, "before"), (2, "one"), (3, "two"), (4, "three"), (5, "after")]
    assert "resync" not in [event[0] for event in page.events]


@pytest.mark.parametrize(("feature", "code"), [("orders", 4401), ("audit", 4403)])
def test_after_a_final_code_it_does_not_reconnect(open_page: OpenPage, site: Process, feature: str, code: int) -> None:
    page = open_page(url(site))
    if code == 4403:
        sign_in(page, site, "ann")
    page.run(START, f"/ws/{feature}/1/", PATIENT)
    assert status(page, "error")["code"] == code
    assert page.event("error") == [{"code": code}]
    page.shows("Connection failed", "connection-status")

    page.run("() => { dispatchEvent(new Event('online')); dispatchEvent(new Event('pageshow')); }")
    assert statuses(page) == ["connecting", "connected", "error"]


def test_after_too_many_messages_it_reconnects(open_page: OpenPage, site: Process) -> None:
    page = open_page(url(site))
    start(page, "limit", **PATIENT)
    page.run("() => { for (let i = 0; i < 1_000; i += 1) service.send({ type: 'unknown' }); }")
    assert status(page, "disconnected")["code"] == 4429
    status(page, "connected")


def test_after_another_user_has_signed_in_the_page_says_so(open_page: OpenPage, site: Process) -> None:
    page = open_page(url(site))
    sign_in(page, site, "ann")
    page.open(url(site, "/orders/1/"))
    page.shows("Connected", "connection-status")
    page.run(OBSERVE)
    sign_in(open_page(url(site)), site, "bob")

    assert status(page, "error")["code"] == 4409
    page.shows("This page was opened by another user.", "connection-status")
    page.run(CLICK)
    page.event("load")
    page.shows("bob", "header")
    page.shows("Connected", "connection-status")


def test_finds_a_server_that_is_silent_and_one_that_answers_again(open_page: OpenPage, own_site: Process) -> None:
    page = open_page(url(own_site))
    # Long enough for a server that answers, on a busy machine too.
    start(page, "silent", **PATIENT, pongTimeout=2_000, connectTimeout=2_000)
    own_site.signal(signal.SIGSTOP)
    page.run("() => dispatchEvent(new Event('online'))")  # on which it sends a ping
    details = status(page, "disconnected")
    assert (details["code"], details["reason"]) == (1006, "The server is silent.")
    assert status(page, "disconnected")["reason"] == "No connection in time."
    own_site.signal(signal.SIGCONT)
    status(page, "connected")


def test_unsent_messages_arrive_once_and_in_order_and_no_more_than_may_wait(
    open_page: OpenPage, own_site: Process
) -> None:
    page = open_page(url(own_site))
    start(page, "unsent", **PATIENT, queueLimit=3)
    own_site.stop()
    status(page, "disconnected")
    page.run("""() => {
        for (const text of ['one', 'two', 'three', 'four']) service.send({ type: 'send_line', data: { text } });
    }""")
    assert page.event("error") == [{"code": "queue_full"}]
    own_site.start()
    page.event("lineSent", lambda message: message["data"]["text"] == "three")
    assert received(page) == [(1, "one"), (2, "two"), (3, "three")]


def test_a_page_restored_from_the_back_forward_cache_reconnects_at_once_and_misses_nothing(
    open_page: OpenPage, site: Process, own_site: Process
) -> None:
    """Firefox keeps no page that is left with an open connection, and loads it again; this one is disconnected."""
    page = open_page(url(own_site))
    start(page, "restored", minDelay=60_000, maxDelay=60_000)
    own_site.stop()
    status(page, "disconnected")
    # In the page, since a page that was restored sends no more events to a test.
    page.run("""() => {
        window.restored = new Promise((resolve) => addEventListener('pageshow', ({ persisted }) => resolve(persisted)));
        window.received = new Promise((resolve) => service.on('lineSent', resolve));
    }""")
    page.open("about:blank")
    own_site.start()
    publish(site, "restored", "hello")
    page.back()

    assert page.run("() => window.restored") is True
    assert page.run("() => window.received.then(({ seq, data }) => [seq, data.text])") == [1, "hello"]


def test_a_reload_shows_no_error_and_the_page_connects_again(open_page: OpenPage, site: Process) -> None:
    page = open_page(url(site, "/live-chat/reload/"))
    page.shows("Connected", "connection-status")
    page.run(OBSERVE)
    page.run("() => addEventListener('pagehide', () => onEvent('pagehide'))")
    page.reload()
    page.shows("Connected", "connection-status")
    assert "pagehide" in [event[0] for event in page.events]
    assert "error" not in [event[0] for event in page.events]
    assert "error" not in statuses(page)
    assert page.console == []


def test_offline_it_gives_up_and_online_it_starts_afresh(open_page: OpenPage, own_site: Process) -> None:
    page = open_page(url(own_site))
    start(page, "offline", maxAttempts=0)
    page.set_offline(True)
    own_site.stop()
    assert status(page, "error")["code"] == 1006
    own_site.start()
    page.set_offline(False)
    assert status(page, "connected") == {"attempt": 0}


def test_when_the_attempts_are_exhausted_it_probes(open_page: OpenPage, own_site: Process) -> None:
    page = open_page(url(own_site))
    start(page, "probe", minDelay=2, maxDelay=4, maxAttempts=2, probeDelay=200)
    own_site.stop()
    for _ in range(2):
        _, details = page.event("connectionStatus", lambda status, details: details.get("delay", 0) >= 100)
        assert details["attempt"] == 2
    own_site.start()
    assert status(page, "connected") == {"attempt": 2}
    assert "error" not in statuses(page)


def test_when_the_attempts_are_exhausted_a_button_starts_afresh(open_page: OpenPage, own_site: Process) -> None:
    page = open_page(url(own_site))
    start(page, "button", minDelay=2, maxDelay=4, maxAttempts=2)
    own_site.stop()
    assert page.event("error") == [{"code": "gave_up"}]
    page.shows("Connection failed", "connection-status")
    own_site.start()
    for _ in range(20):
        page.type(TAB)
        if page.run("() => document.querySelector('connection-status').shadowRoot.activeElement !== null"):
            break
    page.type(ENTER)
    assert status(page, "connected") == {"attempt": 0}
    page.shows("Connected", "connection-status")


def test_a_page_reloads_after_lost_broadcasts_and_never_over_a_text_that_was_typed(
    open_page: OpenPage, forgetful_site: Process
) -> None:
    pages = [open_page(url(forgetful_site, "/live-chat/text/")) for _ in range(2)]
    typed, other = pages
    for page in pages:
        page.shows("Connected", "connection-status")
        page.run("() => { Math.random = () => 0; }")  # reloads are spread over five seconds
        page.run("() => document.querySelector('input').focus()")
    typed.type("half a sentence")
    forgetful_site.stop()  # with all that it kept
    forgetful_site.start()

    other.event("load")
    typed.shows("This page is out of date.", "connection-status")
    typed.shows("Connected", "connection-status")
    assert typed.run("() => document.querySelector('input').value") == "half a sentence"
    typed.run(CLICK)
    typed.event("load")
