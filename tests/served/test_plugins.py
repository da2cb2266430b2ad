"""A generated project's tests hold in several processes, in a random order, and in a database that is kept."""

from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.served.faults import Process
from tests.served.test_generated import copy, results
from tests.template import run

pytestmark = pytest.mark.turn(3)

# Tests of servers, databases, histories and a browser.
NAMES = ["browser_replay", "database", "processes", "redis", "registry"]
BASE = [f"apps/common/tests/test_{name}.py" for name in NAMES]
FEATURES = ["apps/orders", "apps/live_chat"]
# Each copy would receive what another copy sends, or one before it sent.
ALONE = """
import pytest

from apps.common.testing import connect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("copy", range(20))
async def test_receives_its_own_broadcasts_alone(copy, user):
    async with connect("/ws/orders/1/", user) as client:
        await client.request("place_order", item=str(copy), quantity=1)
        event = await client.assert_broadcast("order_placed", item=str(copy))
        assert event["seq"] == 1
        await client.assert_silent()
"""


@pytest.fixture(scope="module")
def plugins(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plugins that an owner may add to the project."""
    folder = tmp_path_factory.mktemp("plugins")
    packages = ["pytest-xdist>=3.8", "execnet", "pytest-randomly>=4"]
    python = tools.home / ".venv/bin/python"
    run(folder, "uv", "pip", "install", "--quiet", "--python", python, "--target", folder, "--no-deps", *packages)
    return folder


def test_tests_hold_with_xdist_randomly_and_a_database_that_is_kept(
    cafe: Path, tools: Tools, plugins: Path, postgres: str, store: Process, tmp_path: Path
) -> None:
    project = copy(cafe, tmp_path)
    (project / "apps/orders/tests/test_alone.py").write_text(ALONE)
    redis = f"redis://127.0.0.1:{store.port}/0"
    for seed, tests in enumerate([[*FEATURES, *BASE], FEATURES]):
        report = tmp_path / f"report-{seed}.xml"
        options = ["-n", "2", f"--randomly-seed={seed}", "--reuse-db", f"--junit-xml={report}", *tests]
        command: list[str | Path] = [tools.home / ".venv/bin/python", "-m", "pytest", *options]
        printed = run(project, *command, PYTHONPATH=str(plugins), DATABASE_URL=postgres, REDIS_URL=redis)
        assert "2 workers" in printed
        assert f"Using --randomly-seed={seed}" in printed
        passed, others = results(report)
        assert others == set()
        assert passed["apps.orders.tests.test_alone"] == 20
        assert {test.replace("/", ".").removesuffix(".py") for test in tests if test in BASE} <= set(passed)
