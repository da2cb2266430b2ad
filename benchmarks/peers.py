"""The servers that are measured: how each is started and addressed, its version, and what it does with a broadcast."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from client import Client, SocketIOClient, masked

HERE = Path(__file__).resolve().parent
UVICORN = "-m uvicorn --ws websockets-sansio --ws-per-message-deflate false --log-level warning --no-access-log --port"


@dataclass(frozen=True)
class Dialect:
    """How a client addresses a server: a request has a ref, which its answer repeats."""

    encode: Callable[[str, int | None, dict[str, object]], str]
    client: type[Client] = Client


def _message(kind: str, ref: int | None, data: dict[str, object]) -> str:
    return json.dumps({"type": kind, **({} if ref is None else {"ref": ref}), "data": data})


def _chanx(kind: str, ref: int | None, data: dict[str, object]) -> str:
    return json.dumps({**({} if ref is None else {"ref": str(ref)}), "action": kind, "payload": data})


def _action(kind: str, ref: int | None, data: dict[str, object]) -> str:
    return json.dumps({"action": kind, "request_id": ref, **data})


def _event(kind: str, ref: int | None, data: dict[str, object]) -> str:
    return f"42{'' if ref is None else ref}{json.dumps([kind, data])}"


MESSAGES = Dialect(_message)
CHANX = Dialect(_chanx)
ACTIONS = Dialect(_action)
SOCKET_IO = Dialect(_event, SocketIOClient)


@dataclass(frozen=True)
class Peer:
    """A server under measurement. Its command is arguments of the project's Python, or a program of Node.js."""

    command: str
    packages: tuple[str, ...]  # whose versions the table names
    dialect: Dialect = MESSAGES
    replays: bool = False  # numbers its broadcasts, and sends those that a client missed
    validates: bool = False  # the types of a message's fields
    sessions: bool = False  # has Django's users and sessions

    @property
    def is_node(self) -> bool:
        return self.command.startswith("node")

    def version(self, python: Path) -> str:
        """The packages' versions, as installed."""
        if self.is_node:
            folder = HERE / "node_modules"
            found = [json.loads((folder / name / "package.json").read_text())["version"] for name in self.packages]
        else:
            script = f"from importlib.metadata import version; print(*map(version, {self.packages}))"
            found = subprocess.run([python, "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        return ", ".join(f"{name} {each}" for name, each in zip(self.packages, found, strict=True))

    def frame(self, kind: str, ref: int | None = None, **data: object) -> bytes:
        """A message as the client sends it."""
        return masked(self.dialect.encode(kind, ref, data).encode())


PEERS = {
    "project": Peer("-m apps.common.server", ("uvicorn", "channels"), replays=True, validates=True, sessions=True),
    # As another server than its own would run it.
    "project, by ASGI": Peer(
        f"{UVICORN} PORT config.asgi:application", ("uvicorn",), replays=True, validates=True, sessions=True
    ),
    "stock Channels": Peer(f"{UVICORN} PORT stock:application", ("channels",), sessions=True),
    "chanx": Peer(f"{UVICORN} PORT chanx_server:application", ("chanx",), dialect=CHANX, validates=True, sessions=True),
    "djangochannelsrestframework": Peer(
        f"{UVICORN} PORT dcrf:application", ("djangochannelsrestframework",), dialect=ACTIONS, sessions=True
    ),
    "plain ASGI": Peer(f"{UVICORN} PORT plain:application", ("uvicorn", "uvloop")),
    "Starlette": Peer(f"{UVICORN} PORT starlette_server:application", ("starlette",)),
    "python-socketio": Peer(f"{UVICORN} PORT python_socketio:application", ("python-socketio",), dialect=SOCKET_IO),
    "websockets": Peer(f"{HERE}/servers/websockets_server.py", ("websockets",)),
    "picows": Peer(f"{HERE}/servers/picows_server.py", ("picows",)),
    "Node ws": Peer(f"node {HERE}/servers/node_ws.js", ("ws", "bufferutil")),
    "Node socket.io": Peer(f"node {HERE}/servers/node_socketio.js", ("socket.io",), dialect=SOCKET_IO),
    "uWebSockets.js": Peer(f"node {HERE}/servers/uwebsockets_js.js", ("@trufflesuite/uws-js-unofficial",)),
}
