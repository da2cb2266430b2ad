"""Nothing is lost silently, whatever fails: a run with seeded faults, and the judge's own test.

`make test` runs one seed, `make chaos SEED=… SECONDS=…` any.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.conftest import Tools
from tests.served.chaos.judge import Verdict
from tests.served.chaos.schedule import REPLICATION, Planned, plan
from tests.served.chaos.world import Shape, World
from tests.template import ROOT, run

pytestmark = pytest.mark.turn(2)

SEED = int(os.environ.get("CHAOS_SEED") or 1)
SECONDS = float(os.environ.get("CHAOS_SECONDS") or 60)
SETTLE_SECONDS = 60.0  # at most, until each client knows each publish or should have


@pytest.fixture(scope="module")
def project(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Path(shutil.copytree(plain, tmp_path_factory.mktemp("chaos") / "project"))
    shutil.copytree(ROOT / "tests/served/chaos/site", made / "apps/chaos")
    return made


@pytest.fixture(scope="module")
def programs(tools: Tools) -> tuple[Path, str]:
    """Python with all packages, and Valkey."""
    find = "from apps.common.tests.valkey import find; print(find())"
    valkey = run(tools.home, ".venv/bin/python", "-c", find).strip().splitlines()[-1]
    return tools.home / ".venv/bin/python", valkey


Run = Callable[..., Verdict]


@pytest.fixture
def chaos(project: Path, programs: tuple[Path, str], tmp_path: Path) -> Run:
    """Runs a world with a schedule of faults, until each client knows each publish or should have."""

    def run_chaos(shape: Shape, faults: Sequence[Planned], seed: int = 0, seconds: float = 0.0) -> Verdict:
        async def scenario() -> Verdict:
            folder = Path(mkdtemp(dir=tmp_path))
            world = World(project, *programs, folder, shape, seed)
            try:
                await world.start()
                start = time.monotonic()
                await world.run(faults)
                await asyncio.sleep(start + seconds - time.monotonic())
                await world.stop_publishers()
                until = time.monotonic() + SETTLE_SECONDS
                # In a thread: the clients and the network continue meanwhile.
                while (verdict := await asyncio.to_thread(world.verdict)).undecided and time.monotonic() < until:
                    await asyncio.sleep(1)
            finally:
                await world.stop()
            return verdict

        verdict = asyncio.run(scenario())
        others = [fault for fault in faults if not fault.target.startswith("client")]
        print(f"seed {seed} in {tmp_path}, {len(faults) - len(others)} events of clients and:", *others, sep="\n")
        print(verdict, verdict.evidence(), sep="\n")
        return verdict

    return run_chaos


def test_a_seed_loses_nothing_and_nothing_is_twice_unordered_or_late(chaos: Run) -> None:
    shape = Shape()
    faults = plan(SEED, SECONDS, shape.servers, shape.publishers, shape.clients)
    verdict = chaos(shape, faults, SEED, SECONDS)
    assert not any([*verdict.figures.values(), verdict.undecided]), f"CHAOS_SEED={SEED}: {verdict}"


SMALL = Shape(servers=1, clients=20, groups=1, brief=0, per_second=20)
OUTSIDE = replace(SMALL, handlers=False)


@dataclass(frozen=True)
class Case:
    """A mechanism of the product, and a few seconds in which the judge must report that it is switched off."""

    defect: str  # of site/defects.py
    figures: tuple[str, ...]
    faults: Sequence[Planned]
    shape: Shape = SMALL
    seconds: float = 5.0

    def __str__(self) -> str:
        return self.defect


RETURNS = [  # while the store answers slowly: between joining the group and the replay others publish
    Planned(1, "server 0: store", "delay", 3),
    *(Planned(2 + number / 10, f"client {number}", "drop", 0) for number in range(10)),
]
CASES = [
    Case("no_deduplication", ("twice",), RETURNS),
    Case("no_holding", ("lost",), RETURNS),
    Case("no_publish_ids", ("twice",), [Planned(1, "publisher 0: store", "stall down", 1.4)]),
    Case("no_lag_check", ("lost",), [Planned(1, "store", "replace", 0)], replace(OUTSIDE, steady=0, brief=1)),
    Case("no_deadline", ("unordered",), [Planned(1, "publisher 0: store", "stall up", 3.5)]),
    Case(
        "no_after_commit",
        ("uncommitted",),
        [Planned(1 + number / 2, "store", "flush", 0) for number in range(6)],
        OUTSIDE,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_judge_reports_what_a_missing_mechanism_causes(chaos: Run, case: Case) -> None:
    complete = chaos(case.shape, case.faults, seconds=case.seconds)
    assert not any(complete.figures.values()), complete
    defective = chaos(replace(case.shape, defect=case.defect), case.faults, seconds=case.seconds)
    assert all(defective.figures[figure] for figure in case.figures), defective


def test_a_primary_that_returns_with_its_old_data_replays_none_of_it(chaos: Run) -> None:
    faults = [
        Planned(1, "client 0", "leave", 6),
        Planned(1.3, REPLICATION, "cut", 4),
        Planned(2, "store", "fail over", 0.3),
        Planned(3.5, "store", "fail over", 0.3),
    ]
    verdict = chaos(SMALL, faults, seconds=8)
    assert not any(verdict.figures.values()), verdict
