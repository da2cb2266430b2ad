"""The judge, on a few events in writing."""

import json

import pytest

from tests.served.chaos.judge import Fault, History, Publish, Received, Reloaded, Verdict, judge, publishes
from tests.served.chaos.schedule import plan

END = 100.0


def published(number: int, at: float, outcome: str = "accepted", **changes: object) -> Publish:
    values = {"publisher": "p/1", "process": "p", "group": "g", "number": number, "begun": at, "committed": at}
    return Publish(**{**values, "ended": at + 0.1, "outcome": outcome, **changes})  # type: ignore[arg-type]


def received(seq: int, at: float, number: int | None = None, epoch: str = "e", publisher: str = "p/1") -> Received:
    return Received(at, epoch, seq, publisher, number or seq)


def reloaded(seq: int, at: float, epoch: str = "e") -> Reloaded:
    return Reloaded(at, epoch, seq)


def judged(events: list[Received | Reloaded], *publishes: Publish, faults: tuple[Fault, ...] = ()) -> Verdict:
    """One client, which began at 0 with the first of server s."""
    history = History("client 1", "g", [reloaded(0, 0.0), *events], [(0.0, "server s")])
    return judge(publishes, [history], faults, END)


def found(verdict: Verdict) -> dict[str, int]:
    return {name: count for name, count in verdict.figures.items() if count}


TWO = [published(1, 1), published(2, 2)]


@pytest.mark.parametrize(
    ("events", "figures"),
    [
        pytest.param([received(1, 1), received(2, 2)], {}, id="complete"),
        pytest.param([received(1, 1)], {"lost": 1}, id="the last is missing"),
        pytest.param([received(1, 1), reloaded(2, 3)], {}, id="a reload replaces it"),
        pytest.param([received(2, 2), reloaded(2, 3)], {"lost": 1}, id="a gap, though the state is reloaded later"),
        pytest.param([received(1, 1), received(1, 1), received(2, 2)], {"twice": 1}, id="twice"),
        pytest.param([received(1, 1), received(2, 2, 1), received(3, 3, 2)], {"twice": 1}, id="twice, renumbered"),
        pytest.param([received(1, 1), reloaded(0, 1.5, "f"), received(1, 2, 1, "f"), received(2, 2, 2, "f")], {},
                     id="again after a reload"),
        pytest.param([received(1, 1, 2), received(2, 2, 1)], {"unordered": 2}, id="a publisher's second one first"),
        pytest.param([received(1, 1), received(2, 2, epoch="f")], {"unordered": 1}, id="another epoch, no reload"),
        pytest.param([received(1, 1), reloaded(2, 20)], {"late": 1}, id="known late"),
    ],
)  # fmt: skip
def test_judges_what_a_client_received(events: list[Received | Reloaded], figures: dict[str, int]) -> None:
    assert found(judged(events, *TWO)) == figures


def test_the_order_is_that_of_one_page() -> None:
    def order(*, is_new_page: bool) -> dict[str, int]:
        events: list[Received | Reloaded] = [received(1, 1, 2), Reloaded(3, "e", 1, is_new_page), received(2, 4, 1)]
        return found(judged(events, published(1, 1), published(2, 1)))

    assert order(is_new_page=False) == {"unordered": 1}
    assert order(is_new_page=True) == {}


def test_a_failed_publish_must_be_followed_by_a_reload() -> None:
    failed = published(1, 1, "failed")
    assert found(judged([], failed)) == {"lost": 1}
    assert found(judged([reloaded(0, 10)], failed)) == {}
    assert found(judged([reloaded(0, 12)], failed)) == {"late": 1}


def test_what_failed_in_a_process_that_is_killed_then_may_be_lost() -> None:
    failed, accepted = published(1, 1, "failed"), published(2, 1)
    for process, lost in (("p", 1), ("q", 2)):
        kill = Fault("", process, 3, 4, is_kill=True)
        assert found(judged([], failed, accepted, faults=(kill,))) == {"lost": lost}


def test_a_state_of_before_the_commit_does_not_have_it() -> None:
    assert found(judged([reloaded(1, 1.5)], published(1, 1, committed=2.0))) == {"lost": 1}


def test_a_publish_of_a_killed_process_may_be_lost() -> None:
    assert found(judged([], published(1, 1, "unknown", ended=None))) == {}
    assert found(judged([], published(1, 1, committed=None, ended=None))) == {}


def test_nothing_that_was_rolled_back_is_received() -> None:
    rolled_back = published(1, 1, "rolled back", committed=None)
    assert found(judged([received(1, 1)], rolled_back)) == {"uncommitted": 1}
    assert found(judged([], rolled_back)) == {}


def test_a_publish_takes_no_effect_after_it_was_given_up() -> None:
    given_up, other = published(1, 1, "failed"), published(1, 5, publisher="q/1")
    in_time: list[Received | Reloaded] = [received(1, 1), received(2, 5, 1, publisher="q/1"), reloaded(2, 6)]
    afterwards: list[Received | Reloaded] = [received(1, 5, 1, publisher="q/1"), received(2, 5, 1), reloaded(2, 6)]
    assert found(judged(in_time, given_up, other)) == {}
    assert found(judged(afterwards, given_up, other)) == {"unordered": 1}


def test_a_number_belongs_to_one_message() -> None:
    histories = [
        History("client 1", "g", [reloaded(0, 0), received(1, 1, 1), reloaded(1, 3)]),
        History("client 2", "g", [reloaded(0, 0), received(1, 1, 2), reloaded(1, 3)]),
    ]
    assert found(judge(TWO, histories, (), END)) == {"unordered": 1}


@pytest.mark.parametrize("party", ["store", "p", "client 1", "server s"])
def test_the_bound_begins_when_a_fault_has_ended(party: str) -> None:
    fault = Fault("", party, 0.5, 8)
    assert found(judged([reloaded(1, 17)], published(1, 1), faults=(fault,))) == {}
    assert found(judged([reloaded(1, 19)], published(1, 1), faults=(fault,))) == {"late": 1}


def test_a_fault_of_another_program_extends_no_bound() -> None:
    faults = tuple(Fault("", party, 0.5, 8) for party in ("q", "client 2", "server t"))
    assert found(judged([reloaded(1, 17)], published(1, 1), faults=faults)) == {"late": 1}


def test_what_is_not_due_yet_is_undecided() -> None:
    verdict = judged([], published(1, END - 5))
    assert (found(verdict), verdict.undecided) == ({}, 1)


def test_reads_the_journal() -> None:
    def line(number: int, step: str, at: float) -> str:
        key = {"publisher": "p/1", "process": "p", "group": "g", "number": number}
        return json.dumps({**key, "step": step, "at": at}) + "\n"

    steps = [line(1, "begun", 1), line(1, "committed", 2), line(2, "begun", 2), line(1, "accepted", 3)]
    steps += [line(2, "rolled back", 4), line(2, "accepted", 5), line(3, "begun", 6), '{"publisher": "p/']
    assert publishes(steps) == [
        Publish("p/1", "p", "g", 1, 1, 2, 3, "accepted"),
        Publish("p/1", "p", "g", 2, 2, None, 5, "rolled back"),
        Publish("p/1", "p", "g", 3, 6, None, None, "unknown"),
    ]


def test_a_seed_is_a_schedule() -> None:
    def planned(seed: int) -> list[object]:
        return list(plan(seed, 60, 3, ["publisher 0"], 100))

    assert planned(1) == planned(1)
    assert planned(1) != planned(2)
