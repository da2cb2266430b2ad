"""The part of `make demo` that changes orders by itself."""

import re
import shutil
from pathlib import Path

from tests.conftest import Tools
from tests.template import ROOT, Template

TURNS = 60
SCRIPT = f"""
from django.apps import apps
from apps.orders.models import Order
config, states = apps.get_app_config("rush_hour"), []
for _ in range({TURNS}):
    config.change_one(Order)
    states.append(sorted(Order.objects.values_list("id", "status")))
print("CHANGES", sum(before != after for before, after in zip([[], *states], states)), Order.objects.count())
"""


def test_something_happens_on_the_board_in_each_turn(
    template: Template, plain: Path, tools: Tools, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    [model] = re.findall(r"^DEMO_MODEL = (.+)$", (ROOT / "Makefile").read_text(), re.M)
    template.feature("orders", project, model=model)
    shutil.copytree(ROOT / "demo/rush_hour", project / "apps/rush_hour")
    for command in ("makemigrations", "migrate"):
        tools.run(project, "python", "manage.py", command, "--verbosity", "0")
    printed = tools.run(project, "python", "manage.py", "shell", "--verbosity", "0", "--command", SCRIPT)
    [(changes, orders)] = re.findall(r"CHANGES (\d+) (\d+)", printed)
    assert int(changes) == TURNS
    assert 0 < int(orders) <= 13
