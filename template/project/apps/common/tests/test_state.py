"""A consumer with a state sends it where a client would have to reload the page."""

import asyncio
import gc
import json
from contextvars import Context

import pytest
from django.contrib.auth import get_user_model

from apps.common.testing import Client, connect
from apps.common.websockets import protocol
from apps.common.websockets.broadcast import abroadcast
from apps.common.websockets.messages import Message
from apps.common.websockets.page_data import page_data
from apps.common.websockets.process import metrics, snapshots
from apps.common.websockets.process.events import Resync
from apps.common.websockets.process.hub import get_hub
from apps.common.websockets.process.snapshots import Snapshots
from apps.common.websockets.protocol import MAX_STATE_BYTES, Position
from apps.common.websockets.streams import get_streams

from .serving import PATH, PublicConsumer, connections, consumers, serve
from .test_access import recheck_all
from .test_outage import store as valkey_store
from .test_outbox import Anonymous
from .wire import CONNECT, DISCONNECT, Wire, until

__all__ = ["recheck_all", "valkey_store"]  # fixtures


class Number(Message):
    n: int
    text: str = ""


class CountingConsumer(PublicConsumer):
    """Its state is what the test has written into `numbers`."""

    numbers: list[int] = []
    calls = 0

    def snapshot_key(self):
        return None

    async def snapshot(self):
        type(self).calls += 1
        return [Number(n=n) for n in self.numbers]


class WaitingConsumer(CountingConsumer):
    """Reads at once, and returns what it read when the test lets it."""

    may_return: asyncio.Event
    began: asyncio.Event

    async def snapshot(self):
        numbers = await super().snapshot()
        self.began.set()
        await self.may_return.wait()
        return numbers


def counting(base=CountingConsumer, **attributes):
    return type(base.__name__, (base,), {"numbers": [], "calls": 0, **attributes})


def waiting(**attributes):
    return counting(WaitingConsumer, may_return=asyncio.Event(), began=asyncio.Event(), **attributes)


@pytest.fixture(autouse=True)
def _greeted_clients(monkeypatch):
    monkeypatch.setattr(Client, "waits_for_state", False)  # a test decides when the state is sent


@pytest.fixture(params=["memory", "valkey"])
def store(request):
    """Every test that asks for it runs over both stores."""
    return request.getfixturevalue("valkey_store") if request.param == "valkey" else None


def page(consumer, query="", user=None, **options):
    return connect(PATH + query, user, application=serve(consumer), **options)


async def welcome(client: Client):
    return (await client.next_message("a welcome", lambda message: message["type"] == "welcome"))["data"]


async def parts(client: Client):
    """The parts of the next state."""
    found = []
    while not found or not found[-1]["complete"]:
        message = await client.next_message("a state", lambda message: message["type"] in ("state", "number"))
        assert message["type"] == "state", f"{message} came before the state"
        found.append(message["data"])
    return found


async def state(client: Client):
    """The numbers of the next state."""
    return [message["data"]["n"] for part in await parts(client) for message in part["messages"]]


async def numbers(client: Client, count: int):
    return [(await client.assert_broadcast("number"))["data"]["n"] for _ in range(count)]


async def lose_history():
    """As when the store was flushed."""
    for member in list(get_hub()._groups["room"].members):
        member.deliver("room", Resync(Position("another", 7)))


# ---------------------------------------------------------------------------------------------------------------------
# When it is sent
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_client_without_a_position_receives_it_after_the_welcome(store):
    async with page(counting(numbers=[1, 2])) as client:
        await parts(client)
        greeting, sent = client.received
        assert (greeting["data"]["recovered"], greeting["data"]["state"]) == (None, True)
        position = {name: greeting["data"][name] for name in ("epoch", "seq")}
        assert sent == {
            "type": "state",
            "data": {**position, "messages": [Number(n=n).to_wire() for n in (1, 2)], "complete": True},
        }


async def test_a_client_whose_missed_broadcasts_are_replayed_receives_none():
    consumer = counting(numbers=[1])
    async with page(consumer) as client:
        await welcome(client)
        await state(client)
        await client.drop()
        await abroadcast("room", Number(n=2))
        await client.open()
        greeting = await welcome(client)
        assert (greeting["recovered"], greeting.get("state")) == (True, None)
        assert await numbers(client, 1) == [2]
        await client.assert_silent()


@pytest.mark.django_db(transaction=True)
async def test_a_refused_replay_is_replaced_by_it(store):
    consumer = counting(numbers=[1])
    async with page(consumer, "?epoch=gone&seq=3") as client:
        greeting = await welcome(client)
        assert (greeting["recovered"], greeting["state"]) == (False, True)
        assert await state(client) == [1]
        await client.assert_silent()


async def test_a_resync_is_replaced_by_it_and_the_position_comes_with_it():
    consumer = counting(numbers=[1])
    async with page(consumer) as client:
        await state(client)
        consumer.numbers.append(2)
        await lose_history()
        [part] = await parts(client)
        assert (part["epoch"], part["seq"], len(part["messages"])) == ("another", 7, 2)
        assert client.position == {"epoch": "another", "seq": 7}
        assert not [message for message in client.received if message["type"] == "resync"]


async def test_without_replay_it_is_sent_at_each_connect_and_after_each_loss():
    async with page(counting(numbers=[1], replay=False)) as client:
        for _ in range(2):
            assert ((await welcome(client))["recovered"], await state(client)) == (None, [1])
            await client.reconnect()
        assert await state(client) == [1]
        await lose_history()
        assert await state(client) == [1]


async def test_a_lost_epoch_is_replaced_by_it():
    async with page(counting(numbers=[1])) as client:
        await state(client)
        get_streams()._streams["room"].epoch = "another"
        await abroadcast("room", Number(n=2))
        assert await state(client) == [1]
        await abroadcast("room", Number(n=3))
        assert await numbers(client, 1) == [3]


@pytest.mark.django_db(transaction=True)
async def test_an_outage_of_the_store_ends_with_it(valkey_store):
    consumer = counting(numbers=[1])
    async with page(consumer) as client:
        await state(client)
        valkey_store.suspend()
        consumer.numbers.append(2)
        await abroadcast("room", Number(n=2))  # fails
        valkey_store.resume()
        assert await state(client) == [1, 2]
        await until(lambda: not get_streams()._failures._counts)
        await abroadcast("room", Number(n=3))
        assert await numbers(client, 1) == [3]


async def test_a_consumer_without_a_snapshot_sends_none():
    async with page(PublicConsumer) as client:
        assert "state" not in await welcome(client)
        await client.assert_silent()
        await lose_history()
        await client.next_message("a resync", lambda message: message["type"] == "resync")


async def test_a_consumer_without_a_group_sends_it_without_a_position():
    async def connect_alone(self):
        await super(PublicConsumer, self).connect()

    async with page(counting(numbers=[1], connect=connect_alone)) as client:
        [part] = await parts(client)
        assert part == {"messages": [Number(n=1).to_wire()], "complete": True}


async def test_a_page_that_is_rendered_without_a_group_receives_it():
    async with page(counting(numbers=[1]), page_data=page_data(None)) as client:
        assert await state(client) == [1]


async def test_an_overridden_send_state_sends_what_it_likes():
    async def send_state(self, position):
        await self.send_text(protocol.state(position, ["[]"], "k3x.4")[0])

    async with page(type("Own", (PublicConsumer,), {"send_state": send_state})) as client:
        assert (await welcome(client))["state"] is True
        [part] = await parts(client)
        assert (part["view"], part["messages"]) == ("k3x.4", [])
        await client.reconnect()
        [consumer] = consumers()
        assert protocol.parse_view(consumer.scope["query_string"]) == "k3x.4"


# ---------------------------------------------------------------------------------------------------------------------
# Order
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_broadcasts_while_it_is_read_follow_it_once_and_in_order(store):
    consumer = waiting(numbers=[1])
    async with page(consumer) as client:
        await consumer.began.wait()
        for n in range(2, 5):
            await abroadcast("room", Number(n=n))
        consumer.may_return.set()
        assert await state(client) == [1]
        assert await numbers(client, 3) == [2, 3, 4]
        assert client.position["seq"] == 3
        await client.assert_silent()


@pytest.mark.parametrize("filters", [True, False])
async def test_broadcasts_while_it_is_read_again_follow_it_once_and_in_order(filters):
    async def broadcast_message(self, event):
        await self.send_json(event["data"])

    consumer = waiting(**({"broadcast_message": broadcast_message} if filters else {}))
    consumer.may_return.set()
    async with page(consumer) as client:
        await state(client)
        await abroadcast("room", Number(n=1))
        assert await numbers(client, 1) == [1]
        consumer.began.clear()
        consumer.may_return.clear()
        top = await get_streams().atop("room")
        for connection in connections():
            connection.subscriptions.deliver("room", Resync(Position(top.epoch, top.seq + 1)))
        await consumer.began.wait()
        for n in range(2, 6):  # the first of them is part of the state, by its number
            await abroadcast("room", Number(n=n))
        await client.assert_silent()
        consumer.may_return.set()
        assert await state(client) == []
        assert await numbers(client, 3) == [3, 4, 5]
        await client.assert_silent()


async def test_two_losses_in_a_row_send_two_states_that_do_not_mix(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_STATE_BYTES", 60)
    consumer = counting(numbers=[1, 2, 3])
    async with page(consumer) as client:
        assert await state(client) == [1, 2, 3]
        for seq in (7, 8):
            for connection in connections():
                connection.subscriptions.deliver("room", Resync(Position("another", seq)))
        assert [
            (part["seq"], part["messages"][0]["data"]["n"]) for part in await parts(client) + await parts(client)
        ] == [(seq, n) for seq in (7, 8) for n in (1, 2, 3)]


# ---------------------------------------------------------------------------------------------------------------------
# Sharing
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_thousand_clients_after_an_outage_share_a_few_calls():
    consumer = waiting(numbers=[1], max_connections_per_address=2_000, recheck_seconds=3_600)
    served = serve(consumer)
    clients = [Client(PATH, "", "http://testserver", served) for _ in range(1_000)]
    await clients[0].open()
    await consumer.began.wait()
    for number in range(1, 1_000, 50):
        await asyncio.gather(*(client.open() for client in clients[number : number + 50]))
    await until(lambda: sum(call.clients for call in snapshots.get_snapshots()._next.values()) == 999)
    consumer.may_return.set()
    assert [await state(client) for client in clients] == [[1]] * 1_000
    assert consumer.calls == 2
    await lose_history()
    assert [await state(client) for client in clients] == [[1]] * 1_000
    assert consumer.calls <= 5
    for client in clients:
        await client.drop()


async def test_a_client_that_arrives_during_a_call_waits_for_the_next():
    consumer = waiting(numbers=[1])
    async with page(consumer) as early:
        await consumer.began.wait()
        consumer.numbers = [1, 2]
        async with page(consumer) as late:
            await welcome(late)
            consumer.may_return.set()
            assert (await state(early), await state(late), consumer.calls) == ([1], [1, 2], 2)


@pytest.mark.parametrize(("path", "query"), [(PATH, "group=hall"), (PATH, "role=staff"), ("/ws/2/", "")])
async def test_clients_that_see_another_state_share_no_call(path, query):
    async def connect_as_asked(self):
        self.group_name = "hall" if b"hall" in self.scope["query_string"] else "room"
        await self.accept()

    consumer = waiting(connect=connect_as_asked, snapshot_key=lambda self: b"staff" in self.scope["query_string"])
    served = serve(consumer)
    async with connect(PATH, application=served) as one, connect(f"{path}?{query}", application=served) as two:
        await until(lambda: consumer.calls == 2)  # at the same time
        consumer.may_return.set()
        assert [await state(one), await state(two)] == [[], []]


@pytest.mark.django_db(transaction=True)
async def test_nothing_is_shared_by_default_but_by_the_tabs_of_one_user(user, other_user):
    consumer = type("Own", (PublicConsumer,), {"snapshot": CountingConsumer.snapshot, "numbers": [], "calls": 0})
    keys = []
    for visitor in (user, user, other_user, None, None):
        async with page(consumer, user=visitor) as client:
            await state(client)
            keys.append(consumers()[0].snapshot_key())
    assert len({*keys}) == 4


async def test_a_failure_is_logged_once_and_closes_all_for_a_retry(caplog):
    async def snapshot(self):
        raise RuntimeError("no such table")

    served = serve(counting(snapshot=snapshot))
    clients = [Client(PATH, "", "http://testserver", served, raise_exceptions=False) for _ in range(5)]
    before = metrics.counts()["snapshots"]
    await asyncio.gather(*(client.open() for client in clients))
    await asyncio.gather(*(client.assert_closed(1011) for client in clients))
    calls = metrics.counts()["snapshots"] - before
    assert [record.exc_info[1].args for record in caplog.records] == [("no such table",)] * calls
    assert calls < 5
    for client in clients:
        await client.drop()


async def test_a_failure_while_connected_closes_for_a_retry():
    async def send_state(self, position):
        if position.epoch == "another":
            raise RuntimeError("no such table")

    async with page(counting(send_state=send_state), raise_exceptions=False) as client:
        await client.assert_silent()
        await lose_history()
        await client.assert_closed(1011)


async def test_a_call_that_never_returns_is_ended(monkeypatch):
    monkeypatch.setattr(snapshots, "CALL_SECONDS", 0.01)
    async with page(waiting(), raise_exceptions=False) as client:
        await client.assert_closed(1011)


async def test_a_client_that_leaves_ends_no_call_of_others():
    consumer = waiting(numbers=[1], linger_seconds=0.01)
    async with page(consumer) as early:
        await consumer.began.wait()
        wire = Wire(CONNECT)
        scope = {"path": PATH, "query_string": b"", "headers": [], "user": Anonymous()}
        leaving = asyncio.create_task(consumer()(scope, wire.receive, wire.send))
        await wire.until_sent(2)
        async with page(consumer) as staying:
            await welcome(staying)
            wire.push(DISCONNECT)
            await asyncio.wait_for(leaving, 5)  # while it waits for the next call
            consumer.may_return.set()
            assert [await state(early), await state(staying)] == [[1], [1]]
    assert len(wire.sent) == 2


async def test_nothing_is_kept_after_the_last_client():
    async with page(counting(numbers=[1])) as client:
        await state(client)
        calls = snapshots.get_snapshots()
        await until(lambda: not calls._tasks)
        assert not calls._next


async def test_the_end_of_the_loop_ends_the_calls():
    calls, began = Snapshots(), asyncio.Event()

    async def snapshot():
        began.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(calls.take("key", snapshot, Context()))
    await began.wait()
    await calls.close()
    with pytest.raises(snapshots.SnapshotFailed):
        await waiting


# ---------------------------------------------------------------------------------------------------------------------
# Parts and slow clients
# ---------------------------------------------------------------------------------------------------------------------


def test_a_large_state_has_parts_of_a_bounded_size():
    texts = [Number(n=n, text="ü" * 1_000).encode() for n in range(100)]
    sent = protocol.state(Position("k3x", 4), protocol.join_messages(texts))
    assert all(len(text.encode()) < MAX_STATE_BYTES + 100 for text in sent)
    found = [json.loads(text)["data"] for text in sent]
    assert [message["data"]["n"] for part in found for message in part["messages"]] == list(range(100))
    assert [part["complete"] for part in found] == [False] * (len(found) - 1) + [True]
    assert 4 < len(found) < 8


def test_a_message_larger_than_a_part_is_a_part():
    texts = [Number(n=n, text="x" * size).encode() for n, size in enumerate((1, MAX_STATE_BYTES, 1))]
    assert [len(json.loads(part)) for part in protocol.join_messages(texts)] == [1, 1, 1]


def test_an_empty_state_has_one_part():
    assert protocol.join_messages([]) == ["[]"]
    [text] = protocol.state(protocol.UNKNOWN_POSITION, ["[]"])
    assert json.loads(text) == {"type": "state", "data": {"messages": [], "complete": True}}


def test_changes_carry_the_view():
    text = protocol.changes([Number(n=1).encode(), Number(n=2).encode()], "k3x.18")
    assert json.loads(text) == {
        "type": "changes",
        "data": {"view": "k3x.18", "messages": [Number(n=n).to_wire() for n in (1, 2)]},
    }


@pytest.mark.parametrize(("query", "view"), [(b"", ""), (b"view=k3x.18&seq=1", "k3x.18"), (b"review=1", "")])
def test_the_view_is_read_from_the_address(query, view):
    assert protocol.parse_view(query) == view


class StallingWire(Wire):
    """Its client does not read after the accept, until it is resumed."""

    async def send(self, message):
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.stall()


async def test_a_state_larger_than_the_outbox_waits_for_a_slow_client():
    async def snapshot(self):
        read.set()
        return [Number(n=n, text="x" * 40_000) for n in range(20)]

    read, wire = asyncio.Event(), StallingWire(CONNECT)
    consumer = counting(snapshot=snapshot, outbox_bytes=1_000)()
    scope = {"path": PATH, "query_string": b"", "headers": [], "user": Anonymous()}
    running = asyncio.create_task(consumer(scope, wire.receive, wire.send))
    await wire.until_sent(1)
    await until(lambda: read.is_set() and not snapshots.get_snapshots()._tasks)
    wire.resume()
    sent = await wire.until_sent(2 + 20)
    assert [event["type"] for event in sent[2:]] == ["websocket.send"] * 20
    assert json.loads(sent[-1]["text"])["data"]["complete"]
    wire.push(DISCONNECT)
    await asyncio.wait_for(running, 5)


# ---------------------------------------------------------------------------------------------------------------------
# Re-checks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_user_who_sees_another_state_after_a_recheck_receives_it(recheck_all, user):
    async def snapshot(self):
        return [Number(n=1, text=self.user.first_name)]

    consumer = counting(snapshot=snapshot, snapshot_key=lambda self: self.user.first_name)
    async with page(consumer, user=user) as client:
        [part] = await parts(client)
        await get_user_model().objects.filter(pk=user.pk).aupdate(first_name="Ann")
        recheck_all()
        [part] = await parts(client)
        assert part["messages"][0]["data"]["text"] == "Ann"
        recheck_all()
        await until(lambda: all(each.check_at for each in connections()))
        await client.assert_silent()


@pytest.mark.django_db(transaction=True)
async def test_a_key_that_cannot_be_read_after_a_recheck_closes_recoverably(recheck_all, user):
    consumer = counting()
    async with page(consumer, user=user, raise_exceptions=False) as client:
        await state(client)
        consumer.snapshot_key = lambda self: 1 / 0
        recheck_all()
        await client.assert_closed(1011)


# ---------------------------------------------------------------------------------------------------------------------
# Memory, names
# ---------------------------------------------------------------------------------------------------------------------


async def test_an_idle_connection_holds_nothing_of_it():
    async with page(counting(numbers=list(range(100)))) as client:
        await state(client)
        await lose_history()
        await state(client)
        await client.assert_alive()
        [connection] = connections()
        await until(lambda: connection.subscriptions._events.is_idle)
        assert connection.subscriptions._held is None
        assert connection.subscriptions._events._items is None
        await until(lambda: not snapshots.get_snapshots()._tasks)
        gc.collect()
        assert not [each for each in gc.get_objects() if type(each) in (Number, snapshots.State, snapshots._Call)]


def test_which_consumers_have_a_state():
    assert [each.has_state for each in (PublicConsumer, CountingConsumer, WaitingConsumer)] == [False, True, True]


@pytest.mark.parametrize("name", ["state", "changes", "fragment"])
def test_messages_of_the_protocol_are_reserved(name):
    with pytest.raises(TypeError, match="reserved"):
        type(name.capitalize(), (Message,), {"__module__": __name__})
