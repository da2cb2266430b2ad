"""The generated project's server, which with SIGUSR1 writes its objects, by type, to the file OBJECTS."""

import gc
import json
import os
import signal
import sys
from collections import Counter
from types import ModuleType
from typing import Any

from apps.common.server import main


def write(*signal_and_frame: Any) -> None:
    """{type: [count, bytes]} of all that the garbage collector tracks, and of what that refers to."""
    gc.collect()
    seen: dict[int, object] = {}
    queue = gc.get_objects()
    own = {id(seen), id(queue)}
    while queue:
        each = queue.pop()
        if id(each) in own or id(each) in seen:
            continue
        seen[id(each)] = each
        if not isinstance(each, ModuleType):
            queue.extend(gc.get_referents(each))
    objects: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for each in seen.values():
        name = f"{type(each).__module__}.{type(each).__qualname__}".removeprefix("builtins.")
        objects[name] += 1
        sizes[name] += sys.getsizeof(each)
    path = os.environ["OBJECTS"]
    with open(f"{path}.part", "w") as file:
        json.dump({name: (objects[name], sizes[name]) for name in objects}, file)
    os.rename(f"{path}.part", path)


signal.signal(signal.SIGUSR1, write)
main()
