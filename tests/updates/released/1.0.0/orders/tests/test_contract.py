"""The page and the server of orders speak one contract, over one path."""

import re
from pathlib import Path

from apps.common.websockets.messages import Message

from .. import consumers, messages, routing

SERVICES = Path(consumers.__file__).parent / "static/orders/js/services"
SERVICE = SERVICES / "orders_websocket.js"


def test_the_service_connects_to_the_route():
    [endpoint] = re.findall(r"endpoint: `(.+?)`", SERVICE.read_text())
    path = re.sub(r"\$\{.+?\}", "1", endpoint).lstrip("/")
    matches = [pattern for pattern in routing.websocket_urlpatterns if pattern.pattern.match(path)]
    assert len(matches) == 1, f"{endpoint} is served by no route of routing.py"


def test_the_service_names_every_message():
    classes = [value for value in vars(messages).values() if isinstance(value, type) and issubclass(value, Message)]
    types = {message.message_type for message in classes} - {""}
    script = SERVICE.read_text()
    assert types
    assert {name for name in types if f"'{name}'" not in script} == set()
