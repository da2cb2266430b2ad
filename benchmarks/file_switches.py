"""How many files one thing passes through: an incoming message, a connect, a broadcast.

    cd my-project && uv run python path/to/benchmarks/file_switches.py

In a warm process with another client in the group, `sys.setprofile` sees every call, also the resumption of a
coroutine; each call into another file of apps/ than the one before counts as one. Packages and the test kit are left
out. `--route` prints the files. The project needs a feature `orders` with an action `place_order`, and a user, as
`make demo` makes them.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from itertools import groupby
from pathlib import Path
from typing import Any

PROJECT = Path.cwd()
KIT = "testing"  # the client's side
PATH = "/ws/orders/1/"


class Trace:
    """The project's files in the order in which the code went through them."""

    def __init__(self) -> None:
        self._files: list[str] = []

    def __enter__(self) -> "Trace":
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)

    def _on_event(self, frame: Any, event: str, argument: Any) -> None:
        if event != "call":
            return
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PROJECT / "apps") and KIT not in path.relative_to(PROJECT).with_suffix("").parts:
            self._files.append(path.relative_to(PROJECT / "apps").as_posix())

    @property
    def route(self) -> list[str]:
        return [name for name, _ in groupby(self._files)]


async def measure(title: str, act: Callable[[], Awaitable[object]]) -> None:
    for _ in range(3):
        await act()
    with Trace() as trace:
        await act()
    print(f"{title}: {len(trace.route)}")
    if "--route" in sys.argv:
        print("  " + "\n  ".join(trace.route))


async def main() -> None:
    from channels.routing import get_default_application
    from django.contrib.auth import get_user_model

    from apps.common.testing import Client, connect
    from apps.common.websockets import abroadcast
    from apps.orders.consumers import OrdersConsumer, group_of
    from apps.orders.messages import OrderPlaced, PlaceOrder

    async def answer(self: Any, data: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(text=data.text)

    user = await get_user_model()._default_manager.alast()
    assert user, "Make a user first: manage.py createsuperuser"
    OrdersConsumer.handlers["place_order"] = type(OrdersConsumer.handlers["place_order"])(
        answer, PlaceOrder, PlaceOrder.__pydantic_validator__.validate_python
    )

    async with connect(PATH, user) as client:
        await client.next_message("the welcome")
        await measure("an incoming message and its answer", lambda: client.request("place_order", text="tea"))

        async def broadcast() -> None:
            await abroadcast(group_of("1"), OrderPlaced(text="tea"))
            await client.assert_broadcast("order_placed", text="tea")

        await measure("a broadcast to a client", broadcast)
        clients = []

        async def open_client() -> None:
            newcomer = Client(PATH, client.cookie, "http://testserver", get_default_application())
            clients.append(newcomer)
            await newcomer.open()
            await newcomer.next_message("the welcome")

        await measure("a connect, up to the welcome", open_client)
        for each in clients:
            await each.drop()


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    os.environ["ALLOWED_HOSTS"] = "testserver"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    asyncio.run(main())
