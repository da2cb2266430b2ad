"""The truth test fails without any one of the mechanisms by which a page stays equal to the database.

Each has a directed run, in which it alone decides what the page shows in the end. The headings are the five mechanisms
of a design that sends the changed rows themselves; below each is its counterpart where a query is read again.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.served.faults import valkey
from tests.served.truth.conftest import SITE
from tests.served.truth.pages import RowsPage
from tests.served.truth.stage import Stage, Steps


@dataclass(frozen=True)
class Case:
    """Steps of a page, the writer and the server, after which the page shows the wrong items if there is a defect."""

    steps: Steps
    defect: str  # of site/orders/defects.py
    wrong: str

    def __str__(self) -> str:
        return self.defect


CASES: list[Case] = []


def reveals(defect: str, wrong: str) -> Callable[[Steps], None]:
    """A case of the steps below."""
    return lambda steps: CASES.append(Case(steps, defect, wrong))


# The hook after the commit, and what ensures that a commit is published


@reveals("no_after_commit", wrong="")
async def a_read_between_the_write_and_its_commit(stage: Stage) -> RowsPage:
    page = stage.page()
    await stage.rest()
    stage.write("begin")
    stage.write("save", "a")
    await stage.rest()
    stage.write("commit")
    return page


@reveals("no_second_check", wrong="")
async def a_first_page_between_the_write_and_its_commit(stage: Stage) -> RowsPage:
    await stage.flush()
    stage.write("begin")
    stage.write("save", "a")
    page = stage.page()
    await stage.rest()
    stage.write("commit")
    return page


@reveals("no_marks", wrong="")
async def a_writer_killed_between_its_commit_and_its_notification(stage: Stage) -> RowsPage:
    page = stage.page()
    await stage.rest()
    stage.write("save_and_die", "a")
    await stage.serve("end_marks")
    return page


# Numbering before reading: a view has its position in the numbered notifications before it reads, one that comes during
# a read counts for the next read, and a gap in the numbers for all that may be missing


@reveals("no_join_before_reading", wrong="")
async def a_write_during_the_first_read(stage: Stage) -> RowsPage:
    await stage.serve("reading.hold")
    page = stage.page()
    await stage.serve("reading.reached")
    stage.write("save", "a")
    await stage.serve("reading.open")
    return page


@reveals("no_clear_before_reading", wrong="a")
async def a_write_during_a_read(stage: Stage) -> RowsPage:
    page = stage.page()
    await stage.rest()
    await stage.serve("reading.hold")
    stage.write("save", "a")
    await stage.serve("reading.reached")
    stage.write("save", "b")
    await stage.serve("receive")
    await stage.serve("reading.open")
    return page


@reveals("no_notice_while_reading", wrong="a")
async def a_row_that_is_deleted_while_it_is_read(stage: Stage) -> RowsPage:
    page = stage.page()
    await stage.rest()
    await stage.serve("reading.hold")
    stage.write("save", "a")
    await stage.serve("reading.reached")
    stage.write("delete", "a")
    await stage.serve("receive")
    await stage.serve("reading.open")
    return page


@reveals("no_resync", wrong="")
async def a_notification_that_the_store_has_lost(stage: Stage) -> RowsPage:
    page = stage.page()
    await stage.rest()
    await stage.flush()
    stage.write("save", "a")
    return page


# The snapshot's clock: which version of the rows a page has, and so which differences follow


@reveals("no_version", wrong="a")
async def a_write_while_the_page_is_disconnected(stage: Stage) -> RowsPage:
    stage.write("save", "a")
    page = stage.page()
    await stage.rest()
    await stage.disconnect(page)
    await stage.rest()
    stage.write("save", "b")
    stage.connect(page)
    return page


@reveals("no_revision", wrong="a")
async def a_write_while_the_page_is_sent_the_rows(stage: Stage) -> RowsPage:
    stage.write("save", "a")
    await stage.serve("sending.hold")
    page = stage.page()
    await stage.serve("sending.reached")
    stage.write("save", "b")
    await stage.serve("settle")
    await stage.serve("sending.open")
    return page


# The numbers of removed keys: a notification names rows that are no longer there, and where the others are by now


@reveals("no_removed_keys", wrong="cba")
async def a_row_that_is_deleted_and_one_that_moves_to_another_page(stage: Stage) -> RowsPage:
    for item in "abc":
        stage.write("save", item)
    page = stage.page()
    await stage.rest()
    stage.write("delete", "a")
    stage.write("move", "b", "max")
    return page


@reveals("no_scopes", wrong="")
async def a_row_that_moves_to_the_page(stage: Stage) -> RowsPage:
    stage.write("save", "a")
    page = stage.page("max")
    await stage.rest()
    stage.write("move", "a", "max")
    return page


# The order


@reveals("no_places", wrong="bca")
async def a_row_between_two_others(stage: Stage) -> RowsPage:
    stage.write("save", "a")
    stage.write("save", "c")
    page = stage.page()
    await stage.rest()
    stage.write("save", "b")
    return page


# The visibility filter


@reveals("no_filter", wrong="a")
async def a_row_that_the_user_may_not_see(stage: Stage) -> RowsPage:
    page = stage.page()
    await stage.rest()
    stage.write("save", "a", "ann", "paid")
    return page


Play = Callable[..., tuple[RowsPage, str]]


@pytest.fixture(scope="module")
def play(project: Path, tools: Tools, valkey_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Stage.play()"""
    folder = tmp_path_factory.mktemp("stage")
    shutil.copytree(SITE / "steps", project / "apps/steps")
    store = valkey(valkey_program, folder)
    store.start()
    stage = Stage(project, tools.home / ".venv/bin/python", store, f"sqlite:///{folder}/db.sqlite3")
    with asyncio.Runner() as runner:
        try:
            runner.run(stage.start())
            yield lambda *arguments: runner.run(stage.play(*arguments))
        finally:
            stage.stop()
            store.stop()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_page_ends_equal_to_the_database_unless_a_mechanism_is_off(play: Play, case: Case) -> None:
    page, expected = play(case.steps)
    assert page.items == expected
    assert page.too_much == []
    page, expected = play(case.steps, case.defect)
    assert page.items == case.wrong != expected
    assert bool(page.too_much) == (case.defect == "no_filter")
