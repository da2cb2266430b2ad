"""The memory of an idle signed-in connection, by object: `python benchmarks/memory.py`, or with the number of them.

Counts the objects of a server's process before and after 1,000 connections: what the garbage collector tracks, what
those refer to, and their size by sys.getsizeof(). The rest of the resident memory is allocated in C (the event loop's
handles, the parser, the database driver), is the allocator's own, or is free space in its pages.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from client import connect_many, memory_of
from measures import ignore
from run import HERE, PROJECT, prepare, serving

TOP = 15
WARM = 50  # connections before, for what a process allocates once
# Read by Python before the server starts: with SIGUSR1 the process writes its objects to the file OBJECTS.
COUNT = '''\
import gc, json, os, signal, sys
from collections import Counter


def write(*_):
    gc.collect()
    seen, queue = {}, gc.get_objects()
    while queue:
        each = queue.pop()
        if id(each) not in seen and each is not queue and each is not seen:
            seen[id(each)] = each
            if not isinstance(each, type(sys)):
                queue += gc.get_referents(each)
    counts, sizes = Counter(), Counter()
    for each in seen.values():
        name = f"{type(each).__module__}.{type(each).__qualname__}".removeprefix("builtins.")
        counts[name] += 1
        sizes[name] += sys.getsizeof(each)
    with open(os.environ["OBJECTS"] + ".part", "w") as file:
        json.dump({name: (counts[name], sizes[name]) for name in counts}, file)
    os.rename(os.environ["OBJECTS"] + ".part", os.environ["OBJECTS"])


signal.signal(signal.SIGUSR1, write)
'''
