"""Publishes to groups until it is ended: `python -m apps.chaos.publisher steady|brief PER_SECOND SEED GROUP…`.

A steady publisher is one process; a brief one is a new process for every few broadcasts, as a command or a cron job is.
"""

import os
import random
import sys
import time
from collections import Counter

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from apps.chaos.journal import PROCESS, publish  # noqa: E402

ROLLED_BACK = 0.1  # of all
LONGEST = 0.05  # seconds of a transaction after its broadcast


def publish_some(count: int | None, groups: list[str], per_second: float) -> None:
    """count: None for no end."""
    numbers: Counter[str] = Counter()
    while count is None or sum(numbers.values()) < count:
        group = random.choice(groups)  # noqa: S311
        numbers[group] += 1
        rolls_back, seconds = random.random() < ROLLED_BACK, random.uniform(0, LONGEST)  # noqa: S311
        try:
            publish(f"{PROCESS}/{os.getpid()}", group, numbers[group], rolls_back=rolls_back, seconds=seconds)
        except Exception as error:  # as a worker continues after a task that failed
            print(repr(error), file=sys.stderr)
        time.sleep(random.uniform(0, 2 / per_second))  # noqa: S311


def publish_in_brief_processes(groups: list[str], per_second: float) -> None:
    while True:
        seed = random.random()  # noqa: S311
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            random.seed(seed)
            publish_some(random.randint(1, 3), groups, per_second)  # noqa: S311
            sys.exit()


if __name__ == "__main__":
    mode, rate, seed, *groups = sys.argv[1:]
    random.seed(seed)
    if mode == "brief":
        publish_in_brief_processes(groups, float(rate))
    else:
        publish_some(None, groups, float(rate))
