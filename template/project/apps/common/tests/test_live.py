"""Pages with live rows: whatever is written, each ends equal to the query of its own audience."""

import asyncio
import contextlib
import json
import random

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from apps.common.live import publishing, view
from apps.common.live.checks import check_live_models
from apps.common.live.declaration import LiveModel
from apps.common.live.messages import Related
from apps.common.live.view import Query, get_views
from apps.common.testing import connect
from apps.common.testing.users import make_row
from apps.common.websockets.fields import Json
from apps.common.websockets.messages import Message, MessageError
from apps.common.websockets.process.registry import get_registry
from apps.common.websockets.streams import get_streams, redis_lag_check
from apps.common.websockets.streams.memory import MemoryStreams

from .live_rows import (
    ENTRIES,
    EntriesConsumer,
    EntryDeleted,
    EntryRow,
    EntrySaved,
    LiveEntry,
    apart,
    connected,
    rows_in_database,
    rows_of,
)
from .serving import PATH, connections, serve
from .wire import until

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC = publishing.topic(LogEntry)
STATE = ("a state", lambda message: message["type"] == "state")


@pytest.fixture(autouse=True)
def _declared():
    with connected(LiveEntry):
        yield


@pytest.fixture
def published(monkeypatch):
    """The notifications so far, of a topic that is followed."""
    found = []
    monkeypatch.setattr(publishing, "publish", lambda group, body: found.append(body) or True)
    monkeypatch.setattr(MemoryStreams, "is_followed", lambda self, group: group == TOPIC)
    monkeypatch.setattr(publishing._windows, "_last", {})
    return found


def save(user, name="a", flag=1, **values):
    return make_row(LogEntry, user=user, object_repr=name, action_flag=flag, **values)


def save_and_roll_back(user):
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        save(user)
        raise ZeroDivisionError


async def settled(client, audience=False):
    """Wait until the page is equal to the database."""
    while rows_of(client) != (expected := await sync_to_async(rows_in_database)(LiveEntry, None, audience)):
        await client._receive(f"rows equal to {expected}, not {rows_of(client)}")


# ---------------------------------------------------------------------------------------------------------------------
# A page
# ---------------------------------------------------------------------------------------------------------------------


class Chance:
    """Random writes of every kind."""

    def __init__(self, seed, users):
        self.chance = random.Random(seed)  # noqa: S311
        self.users = users

    def write(self):
        kinds = [self.save, self.save, self.change, self.change, self.update, self.bulk, self.delete, self.delete_many]
        kinds += [self.rename, self.transaction, self.again]
        self.chance.choice(kinds)()

    def values(self):
        return {"object_repr": self.chance.choice("abcdefgh"), "action_flag": self.chance.randint(1, 3)}

    def one(self):
        rows = list(LogEntry.objects.all())
        return self.chance.choice(rows) if rows else None

    def save(self):
        make_row(LogEntry, user=self.chance.choice(self.users), **self.values())

    def change(self):
        if row := self.one():
            for name, value in self.values().items():
                setattr(row, name, value)
            row.save(update_fields=self.chance.choice([None, ["object_repr"], ["action_flag"]]))

    def update(self):
        ENTRIES.filter(action_flag=self.chance.randint(1, 3)).update(**self.values())

    def bulk(self):
        user = self.chance.choice(self.users)
        ENTRIES.bulk_create(LogEntry(user=user, **self.values()) for _ in range(self.chance.randint(0, 4)))

    def delete(self):
        if row := self.one():
            row.delete()

    def again(self):
        if row := self.one():
            key = row.pk
            row.delete()
            row.pk = key
            row.save()

    def delete_many(self):
        ENTRIES.filter(object_repr__gt="e").delete()

    def rename(self):
        user = self.chance.choice(self.users)
        user.username = f"{user.username[:3]}{self.chance.randint(1, 9)}"
        user.save()

    def transaction(self):
        try:
            with transaction.atomic():
                for _ in range(self.chance.randint(1, 3)):
                    try:
                        with transaction.atomic():
                            self.chance.choice([self.save, self.change, self.update, self.bulk, self.delete])()
                            if self.chance.random() < 0.3:
                                raise IntegrityError
                    except IntegrityError:
                        pass
                if self.chance.random() < 0.3:
                    raise DatabaseError
        except DatabaseError:
            pass


@pytest.mark.parametrize("seed", range(12))
async def test_each_page_ends_equal_to_the_query_of_its_audience(seed, user, staff_user):
    chance = Chance(seed, [user, staff_user])
    application = serve(EntriesConsumer)
    async with (
        connect(PATH, user, application=application) as one,
        connect(PATH, staff_user, application=application) as two,
    ):
        for number in range(20):
            await sync_to_async(chance.write)()
            if number % 4 == 3:
                await settled(one, False)
                await settled(two, True)
        seen = [row for message in one.received for row in message["data"].get("messages", ())]
    assert not [row for row in seen if row["data"].get("action_flag") in (2, 3)]


async def test_a_page_gets_the_rows_first_and_then_the_differences_alone(user):
    rows = [await sync_to_async(save)(user, name) for name in "abc"]
    async with connect(PATH, user, application=serve(EntriesConsumer)) as client:
        state = await client.next_message(*STATE)
        assert [message["data"]["object_repr"] for message in state["data"]["messages"]] == ["c", "b", "a"]
        assert state["data"]["messages"][0]["data"]["user"] == {"key": user.pk, "label": "ann"}
        rows[0].object_repr = "d"
        await rows[0].asave()
        moved = await client.next_message("a row", lambda message: message["type"] == "entry_saved")
        assert (moved["data"]["id"], moved["data"]["after"]) == (rows[0].pk, None)
        key = rows[1].pk
        await rows[1].adelete()
        await client.assert_broadcast("entry_deleted", id=key)
        await client.assert_silent()


async def test_a_row_follows_what_it_shows_of_a_related_object(user):
    await sync_to_async(save)(user)
    async with connect(PATH, user, application=serve(EntriesConsumer)) as client:
        await client.next_message(*STATE)
        user.username = "anna"
        await user.asave()
        await client.assert_broadcast("entry_saved", user={"key": user.pk, "label": "anna"})


async def test_who_reconnects_and_has_missed_nothing_gets_no_state(user):
    async with (
        connect(PATH, user, application=serve(EntriesConsumer)) as client,
        connect(PATH, user, application=serve(EntriesConsumer)) as other,
    ):
        await client.next_message(*STATE)
        await other.next_message(*STATE)
        await client.reconnect()
        await client.assert_silent()
        assert not [message for message in client.received if message["type"] == "state"]
        await client.drop()
        await sync_to_async(save)(user)
        await other.next_message("a row", lambda message: message["type"] == "entry_saved")
        await client.open()
        await client.next_message(*STATE)
        await settled(client)


async def test_a_thousand_pages_share_one_read(user, monkeypatch):
    reads = []
    page = LiveEntry.page
    monkeypatch.setattr(LiveEntry, "page", lambda *query: reads.append(query) or page(*query))
    pages = [_Page() for _ in range(1_000)]
    views = get_views()
    joined = await asyncio.gather(*(views.join(Query(LiveEntry, None, False), each) for each in pages))
    assert len({*joined}) == len(reads) == 1
    for each in pages:
        each.revision = joined[0].revision
    await sync_to_async(save)(user)
    await until(lambda: all(len(each.sent) == 1 for each in pages))
    assert len(reads) == 2
    for each in pages:
        await views.leave(joined[0], each)
    assert not views._views
    assert not get_streams().is_followed(TOPIC)


class _Page:
    is_over = False
    revision = -1

    def __init__(self):
        self.sent = []

    def write(self, text):
        self.sent.append(text)


async def test_a_read_that_fails_is_repeated(user, monkeypatch, caplog):
    monkeypatch.setattr(view, "RETRY_SECONDS", 0.01)
    page = LiveEntry.page
    async with connect(PATH, user, application=serve(EntriesConsumer), raise_exceptions=False) as client:
        await client.next_message(*STATE)
        failures = iter([DatabaseError("gone"), DatabaseError("gone")])

        def fails(*query):
            for failure in failures:
                raise failure
            return page(*query)

        monkeypatch.setattr(LiveEntry, "page", fails)
        await sync_to_async(save)(user)
        await client.next_message("a row", lambda message: message["type"] == "entry_saved")
    assert caplog.text.count("could not be read") == 2


async def test_a_user_who_sees_more_after_a_check_gets_another_state(user):
    await sync_to_async(save)(user, "secret", 2)
    async with connect(PATH, user, application=serve(EntriesConsumer)) as client:
        assert not (await client.next_message(*STATE))["data"]["messages"]
        [one] = connections()
        user.is_staff = True
        await user.asave()
        await one.recheck(user)
        state = await client.next_message("another state", lambda message: message["type"] == "state")
        assert state["data"]["messages"][0]["data"]["object_repr"] == "secret"
        await sync_to_async(save)(user, "more", 2)
        await client.next_message("a row", lambda message: message["type"] == "entry_saved")
    assert not get_views()._views


async def test_a_query_that_changes_with_the_clock_is_read_again(user, monkeypatch):
    monkeypatch.setattr(LiveEntry, "reread_seconds", 0.02)
    monkeypatch.setattr(publishing, "publish", lambda group, body: None)
    async with connect(PATH, user, application=serve(EntriesConsumer)) as client:
        await client.next_message(*STATE)
        await sync_to_async(save)(user)
        await client.next_message("a row", lambda message: message["type"] == "entry_saved")


# ---------------------------------------------------------------------------------------------------------------------
# Scopes
# ---------------------------------------------------------------------------------------------------------------------


@apart
class LiveOwnEntry(LiveModel):
    model = LogEntry
    row, saved, deleted = EntryRow, EntrySaved, EntryDeleted
    scope = "user"


class OwnConsumer(EntriesConsumer):
    live = LiveOwnEntry

    async def connect(self):
        self.live_scope = self.scope["url_route"]["kwargs"]["room"]
        await super().connect()


async def test_a_page_shows_the_rows_of_its_scope_and_of_no_other(user, other_user):
    with connected(LiveOwnEntry):
        mine, other = f"/ws/{user.pk}/", f"/ws/{other_user.pk}/"
        application = serve(OwnConsumer)
        async with (
            connect(mine, user, application=application) as ann,
            connect(other, other_user, application=application) as bob,
        ):
            await ann.next_message(*STATE)
            await bob.next_message(*STATE)
            row = await sync_to_async(save)(user)
            await ann.assert_broadcast("entry_saved", id=row.pk)
            row.user = other_user
            await row.asave()
            await ann.assert_broadcast("entry_deleted", id=row.pk)
            await bob.assert_broadcast("entry_saved", id=row.pk)
            await ENTRIES.filter(pk=row.pk).aupdate(user=user)
            await bob.assert_broadcast("entry_deleted", id=row.pk)
            await ann.assert_broadcast("entry_saved", id=row.pk)
            await sync_to_async(save)(other_user)
            await bob.next_message("a row", lambda message: message["type"] == "entry_saved")
            await ann.assert_silent()


@pytest.mark.parametrize("path", ["/ws/999999/", "/ws/no_number/"])
async def test_a_scope_that_is_not_there_is_closed(path, user):
    with connected(LiveOwnEntry):
        async with connect(path, user, application=serve(OwnConsumer)) as client:
            await client.assert_closed(4404)


# ---------------------------------------------------------------------------------------------------------------------
# Publishing
# ---------------------------------------------------------------------------------------------------------------------


def test_what_is_rolled_back_is_not_published(user, published):
    save_and_roll_back(user)
    assert not published
    save(user)
    assert len(published) == 1


def test_a_transaction_is_one_notification_after_its_commit(user, published):
    with transaction.atomic():
        rows = [save(user) for _ in range(5)]
        rows[0].save()
        assert not published
    assert published == [f'{{"type":"live_changed","data":{{"keys":{_keys(rows)},"scopes":{{}}}}}}']


def _keys(rows):
    return str(sorted(str(row.pk) for row in rows)).replace("'", '"').replace(" ", "")


def test_a_savepoint_that_is_rolled_back_takes_no_other_change_with_it(user, published):
    with transaction.atomic():
        save_and_roll_back(user)
        row = save(user)
    assert len(published) == 1
    assert f'"{row.pk}"' in published[0]


def test_a_savepoint_after_a_change_takes_it_not_along(user, published):
    with transaction.atomic():
        row = save(user)
        save_and_roll_back(user)
    assert f'"{row.pk}"' in published[0]


def test_the_changes_of_a_moment_are_one_notification_at_its_end(user, published, monkeypatch):
    monkeypatch.setattr(publishing, "WINDOW_SECONDS", 60)  # which ends with flush(), however long the writes take
    for _ in range(50):
        save(user)
    publishing._windows.flush()
    first, others = (len(json.loads(text)["data"]["keys"]) for text in published)
    assert (first, others) == (1, 49)


def test_many_keys_are_all_rows(user, published):
    ENTRIES.bulk_create(LogEntry(user=user, object_repr="a", action_flag=1) for _ in range(publishing.MAX_KEYS + 1))
    assert published == ['{"type":"live_changed","data":{"all":true}}']


def test_an_update_is_one_notification_and_one_without_rows_is_none(user, published):
    ENTRIES.filter(object_repr="none").update(action_flag=2)
    assert not published
    save(user)
    publishing._windows.flush()
    published.clear()
    ENTRIES.update(action_flag=2)
    publishing._windows.flush()
    assert published == ['{"type":"live_changed","data":{"all":true}}']


def test_many_rows_are_deleted_by_one_statement(user, published):
    ENTRIES.bulk_create(LogEntry(user=user, object_repr="a", action_flag=1) for _ in range(300))
    with CaptureQueriesContext(connection) as queries:
        ENTRIES.all().delete()
    assert len([query for query in queries if query["sql"].startswith("DELETE")]) == 1
    publishing._windows.flush()
    assert len(published) == 2
    assert not LogEntry.objects.exists()


def test_what_is_not_followed_costs_no_query_and_no_notification(user, published, monkeypatch):
    monkeypatch.setattr(MemoryStreams, "is_followed", lambda self, group: False)
    with CaptureQueriesContext(connection) as queries:
        save(user).delete()
    assert [query["sql"].split()[0] for query in queries if query["sql"].split()[0] not in ("BEGIN", "COMMIT")] == [
        "INSERT",
        "DELETE",
    ]
    assert not published


async def test_what_django_cannot_see_is_shown_after_live_reload(user):
    async with connect(PATH, user, application=serve(EntriesConsumer)) as client:
        await client.next_message(*STATE)
        row = await sync_to_async(save)(user)
        await client.assert_broadcast("entry_saved", id=row.pk)

        def raw():
            with connection.cursor() as cursor:
                cursor.execute("UPDATE django_admin_log SET object_repr = 'raw'")
            call_command("live_reload", "admin.LogEntry")

        await sync_to_async(raw)()
        await client.assert_broadcast("entry_saved", id=row.pk, object_repr="raw")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("admin.Nothing", "admin.Nothing"), ("sessions.Session", "No feature"), ("users.User", "No feature")],
)
def test_live_reload_names_what_is_not_live(name, problem):
    with pytest.raises(CommandError, match=problem):
        call_command("live_reload", name)


async def test_a_writer_that_ends_before_it_has_published_is_noticed(valkey, settings, user, monkeypatch):
    monkeypatch.setattr(redis_lag_check, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(redis_lag_check, "ARRIVAL_SECONDS", 0.05)
    monkeypatch.setattr("apps.common.websockets.streams.base.MARK_SECONDS", 0.2)
    settings.REDIS_URL = valkey
    get_streams.cache_clear()
    try:
        async with connect(PATH, user, application=serve(EntriesConsumer)) as client:
            await client.next_message(*STATE)
            row = await sync_to_async(save)(user)
            await client.assert_broadcast("entry_saved", id=row.pk)
            assert not get_streams()._sync.exists(get_streams()._names.marks(TOPIC))
            monkeypatch.setattr(publishing._windows, "_publish", lambda name: None)
            lost = await sync_to_async(save)(user, "lost")
            await client.assert_broadcast("entry_saved", id=lost.pk)
            await until(lambda: not get_streams()._sync.exists(get_streams()._names.marks(TOPIC)))
        await get_registry().close()
    finally:
        get_streams.cache_clear()


# ---------------------------------------------------------------------------------------------------------------------
# Declarations
# ---------------------------------------------------------------------------------------------------------------------


class Unknown(Message):
    id: int
    missing: str


class Scoped(Message):
    id: int
    user: Related


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"row": Unknown}, "Unknown.missing is no column of admin.LogEntry"),
        ({"row": Scoped, "scope": "object_repr"}, "object_repr, which is no foreign key"),
    ],
)
def test_a_wrong_declaration_is_refused(values, problem):
    with pytest.raises(ImproperlyConfigured, match=problem):
        type("LiveWrong", (LiveModel,), {"model": LogEntry, **values})


def test_a_manager_whose_updates_are_not_seen_is_named():
    [warning] = check_live_models()
    assert warning.id == "common.W008"
    assert "admin.LogEntry is live in apps.common.tests.live_rows.LiveEntry" in warning.msg


def test_a_deletion_by_the_database_is_named(monkeypatch):
    by_database = getattr(models, "DB_CASCADE", object())  # Django 6.1 has it first
    monkeypatch.setattr(models, "DB_CASCADE", by_database, raising=False)
    monkeypatch.setattr(LogEntry._meta.get_field("user").remote_field, "on_delete", by_database)
    assert "common.E018" in {each.id for each in check_live_models()}


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------


class ChangeEntry(Message):
    id: int
    object_repr: str = "a"
    action_flag: int = 1
    opened: Json


class DeleteEntry(Message):
    id: int


class AddEntry(Message):
    object_repr: str


class MarkEntry(Message):
    id: int


@apart
class LiveWritable(LiveEntry):
    @classmethod
    def may(cls, user, action, row):
        if action == "add" and row and row.object_repr == "too much":
            raise MessageError("full", f"{row.user.username} has enough.")
        return action != "delete"

    @classmethod
    def hidden(cls, audience):
        return () if audience else ("object_repr",)


class WritingConsumer(EntriesConsumer):
    live = LiveWritable

    async def handle_change_entry(self, data: ChangeEntry) -> None:
        await self.change(data)

    async def handle_delete_entry(self, data: DeleteEntry) -> None:
        await self.delete(data)

    async def handle_add_entry(self, data: AddEntry) -> None:
        await self.add(data, user=self.user, action_flag=1)

    async def handle_mark_entry(self, data: MarkEntry) -> None:
        def mark_entry(row):
            LogEntry.objects.filter(pk=row.pk).update(change_message="written with it")
            if row.object_repr == "marked":
                raise MessageError("marked", "It is marked already.")
            row.object_repr = "marked" if row.object_repr == "a" else "x" * 201

        await self.change_row(data.id, "mark_entry", mark_entry)


async def test_a_field_that_the_user_does_not_see_is_neither_written_nor_found_out(user, staff_user):
    with connected(LiveWritable):
        row = await sync_to_async(save)(user, "secret")
        opened = {"object_repr": "a guess", "action_flag": 1}
        for each in (user, staff_user):
            async with connect(PATH, each, application=serve(WritingConsumer)) as client:
                change = {"id": row.pk, "object_repr": "mine", "action_flag": 1, "opened": opened}
                answer = await client.request("change_entry", **change)
                assert ("secret" in str(answer)) == (each is staff_user)
        await row.arefresh_from_db()
        assert row.object_repr == "secret"


async def test_what_may_not_be_done_and_rows_that_are_not_seen_are_refused(user):
    with connected(LiveWritable):
        seen, secret = [await sync_to_async(save)(user, "a", flag) for flag in (1, 2)]
        async with connect(PATH, user, application=serve(WritingConsumer)) as client:
            assert (await client.request("delete_entry", id=seen.pk))["data"]["code"] == "forbidden"
            for key in (secret.pk, 999_999):
                answer = await client.request("change_entry", id=key, opened={})
                assert answer["data"]["code"] == "not_found"


async def test_a_row_is_added_with_what_only_the_server_knows_and_refused_with_a_reason(staff_user):
    with connected(LiveWritable):
        async with connect(PATH, staff_user, application=serve(WritingConsumer)) as client:
            await client.request("add_entry", object_repr="a")
            row = await LogEntry.objects.aget()
            assert (row.object_repr, row.user_id, row.action_flag) == ("a", staff_user.pk, 1)
            answer = await client.request("add_entry", object_repr="too much")
            assert answer["data"] == {"code": "full", "message": "eve has enough."}
        assert await LogEntry.objects.acount() == 1


async def test_an_action_on_a_row_is_saved_whole_or_not_at_all(staff_user):
    with connected(LiveWritable):
        row = await sync_to_async(save)(staff_user, "a")
        other = await sync_to_async(save)(staff_user, "b")
        async with connect(PATH, staff_user, application=serve(WritingConsumer)) as client:
            assert (await client.request("mark_entry", id=row.pk))["type"] == "mark_entry_result"
            await row.arefresh_from_db()
            assert (row.object_repr, row.change_message) == ("marked", "")
            await LogEntry.objects.all().aupdate(change_message="")
            assert (await client.request("mark_entry", id=row.pk))["data"]["code"] == "marked"
            assert (await client.request("mark_entry", id=other.pk))["data"]["fields"].keys() == {"object_repr"}
            assert (await client.request("mark_entry", id=999_999))["data"]["code"] == "not_found"
        assert await LogEntry.objects.filter(change_message="written with it").acount() == 0


def test_a_snapshot_that_would_not_be_called_is_refused():
    with pytest.raises(TypeError, match=r"override send_state\(\)"):
        type("Consumer", (EntriesConsumer,), {"snapshot": lambda self: []})


@apart
class LiveConversation(LiveEntry):
    limit = 2
    shows_last = True

    @classmethod
    def queryset(cls):
        return LogEntry.objects.order_by("object_repr")


def test_a_page_may_show_the_last_rows_of_the_order(user):
    keys = [save(user, name).pk for name in "bca"]
    assert list(LiveConversation.page(None, None)) == [keys[0], keys[1]]
    LogEntry.objects.filter(pk=keys[1]).delete()
    assert list(LiveConversation.page(None, None)) == [keys[2], keys[0]]
