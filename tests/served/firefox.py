"""Firefox, driven over WebDriver BiDi, which needs no driver beside it: https://w3c.github.io/webdriver-bidi/"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.served.faults import Process, free_port
from tests.template import apt_install

DEADLINE_SECONDS = 30.0  # for one event on a busy machine
NAMES = ["firefox-esr", "firefox"]
MISSING = (
    "No Firefox was found, which these tests need. Install the system's package firefox-esr (or firefox), or set "
    "FIREFOX to the program's path."
)
# Connections to other machines, which Firefox opens by itself, go to a proxy that does not exist.
PREFERENCES = {
    "network.proxy.type": 1,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "services.settings.server": "data:,",
}
EVENTS = ["script.message", "log.entryAdded", "browsingContext.load"]
BEFORE_EACH_PAGE = """(channel) => {
    window.onEvent = (...event) => channel(JSON.stringify(event));
    document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => {
        onEvent('violation', violatedDirective);
    });
}"""

UNTIL_SHOWN = """(text, selector) => new Promise((resolve) => {
    const element = document.querySelector(selector);
    const root = element.shadowRoot ?? element;
    const look = () => root.textContent.includes(text) && resolve();
    new MutationObserver(look).observe(root, { childList: true, characterData: true, subtree: true });
    look();
})"""


def find_firefox() -> str:
    """Its path, searched in this order: the variable FIREFOX, a program of the system. As root on Debian it is
    installed, if it is missing.

    Playwright's Firefox has another protocol, and is not what visitors use.
    """
    if not (found := _find()):
        apt_install("firefox-esr")
        found = _find()
    assert found, MISSING
    return found


def _find() -> str | None:
    candidates = [os.environ.get("FIREFOX"), *map(shutil.which, NAMES)]
    return next((path for path in candidates if path and Path(path).is_file()), None)


class Firefox:
    """A browser without a window. Each visitor has cookies and a storage of their own."""

    def __init__(self, connection: ClientConnection) -> None:
        self.pages: dict[str, Page] = {}
        self._connection = connection
        self._count = 0
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=EVENTS)
        channel = {"type": "channel", "value": {"channel": "events"}}
        self.call("script.addPreloadScript", functionDeclaration=BEFORE_EACH_PAGE, arguments=[channel])

    def visitor(self) -> str:
        return str(self.call("browser.createUserContext")["userContext"])

    def forget(self, visitor: str) -> None:
        """Close the visitor's pages."""
        self.call("browser.removeUserContext", userContext=visitor)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command. Raises TimeoutError."""
        self._count += 1
        self._connection.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        deadline = time.monotonic() + DEADLINE_SECONDS
        try:
            while (answer := self.receive(deadline - time.monotonic())).get("id") != self._count:
                pass
        except TimeoutError:
            raise TimeoutError(f"waited {DEADLINE_SECONDS} s for {method}") from None
        assert answer["type"] == "success", f"{method}: {answer['error']}: {answer['message']}"
        return answer["result"]

    def receive(self, seconds: float) -> Any:
        """The next message. An event is added to its page. Raises TimeoutError."""
        message = json.loads(self._connection.recv(timeout=max(0.0, seconds)))
        if message["type"] == "event":
            parameters = message["params"]
            page = self.pages.get(parameters.get("context") or parameters.get("source", {}).get("context"))
            if page:
                page.add_event(message["method"], parameters)
        return message


class Page:
    """A tab. Events are waited for in their order: each wait begins where the last one ended. They are "load" with the
    address, "violation" of the policy, and what the page passes to onEvent()."""

    def __init__(self, firefox: Firefox, visitor: str) -> None:
        self.events: list[list[Any]] = []  # [name, *arguments]
        self.console: list[str] = []  # errors and warnings
        self._firefox = firefox
        self._seen = 0
        self._context = firefox.call("browsingContext.create", type="tab", userContext=visitor)["context"]
        firefox.pages[self._context] = self

    def open(self, url: str) -> None:
        self._firefox.call("browsingContext.navigate", context=self._context, url=url)
        self.event("load")

    def reload(self) -> None:
        self._firefox.call("browsingContext.reload", context=self._context)
        self.event("load")

    def back(self) -> None:
        """A page that is restored, and not loaded, sends no more events: observe it with run()."""
        self._firefox.call("browsingContext.traverseHistory", context=self._context, delta=-1)

    def set_offline(self, is_offline: bool) -> None:
        conditions = {"type": "offline"} if is_offline else None
        self._firefox.call("emulation.setNetworkConditions", contexts=[self._context], networkConditions=conditions)

    def run(self, function: str, *arguments: Any) -> Any:
        """The value that a function of the page returns, or its promise: `run("(n) => n + 1", 1)`."""
        result = self._firefox.call(
            "script.callFunction",
            functionDeclaration=f"async (given) => JSON.stringify(await ({function})(...JSON.parse(given)) ?? null)",
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self._context},
            awaitPromise=True,
        )
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return json.loads(result["result"]["value"])

    def shows(self, text: str, selector: str = "body") -> None:
        """Wait until an element, or the shadow root that it has, has this text."""
        try:
            self.run(UNTIL_SHOWN, text, selector)
        except TimeoutError:
            shown = self.run("(selector) => document.querySelector(selector).outerHTML", selector)
            raise AssertionError(f"waited {DEADLINE_SECONDS} s for {text!r} in {shown}; came: {self.events}") from None

    def type(self, keys: str) -> None:
        """Into the field that has the focus. "\\ue006" is the Enter key, "\\ue004" is Tab."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        self._firefox.call("input.performActions", context=self._context, actions=[keyboard])

    def event(self, name: str, fits: Callable[..., bool] = lambda *arguments: True) -> list[Any]:
        """The arguments of the next event of this name that fits."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        try:
            while True:
                while self._seen < len(self.events):
                    self._seen += 1
                    event, *arguments = self.events[self._seen - 1]
                    if event == name and fits(*arguments):
                        return arguments
                self._firefox.receive(deadline - time.monotonic())
        except TimeoutError:
            raise AssertionError(f"waited {DEADLINE_SECONDS} s for {name}; came: {self.events}") from None

    def add_event(self, method: str, parameters: Any) -> None:
        if method == "script.message":
            self.events.append(json.loads(parameters["data"]["value"]))
        elif method == "browsingContext.load":
            self.events.append(["load", parameters["url"]])
        elif parameters["level"] in ("error", "warn"):
            self.console.append(parameters["text"])


@contextmanager
def launch(folder: Path) -> Iterator[Firefox]:
    """A Firefox with an empty profile in this folder."""
    profile = folder / "profile"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines))
    port = free_port()
    command = [find_firefox(), "--headless", "--no-remote", "--profile", str(profile)]
    process = Process([*command, "--remote-debugging-port", str(port)], port, folder, HOME=str(folder))
    process.start()
    try:
        with connect(f"ws://127.0.0.1:{port}/session", max_size=None, compression=None, proxy=None) as connection:
            yield Firefox(connection)
    finally:
        process.stop()
