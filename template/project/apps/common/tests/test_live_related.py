"""Writes that Django makes for related rows, or without a signal, and pages that come while something is written."""

import os
from uuid import uuid4

import pytest
from django.db import models, transaction

from apps.common.live import publishing
from apps.common.live.declaration import LiveModel
from apps.common.live.messages import Related
from apps.common.live.queryset import LiveQuerySet
from apps.common.testing import connect
from apps.common.websockets.messages import Message
from apps.common.websockets.streams.memory import MemoryStreams

from .live_rows import EntriesConsumer, apart, connected, tables
from .serving import PATH, serve

pytestmark = pytest.mark.django_db(transaction=True)

STATE = ("a state", lambda message: message["type"] == "state")


class Board(models.Model):  # noqa: DJ008
    id = models.UUIDField(primary_key=True, default=uuid4)
    objects = LiveQuerySet.as_manager()

    class Meta:
        app_label = "admin"


class Card(models.Model):  # noqa: DJ008
    name = models.CharField(max_length=9, unique=True)
    hint = models.ForeignKey(Board, models.SET_NULL, null=True, related_name="+")
    board = models.ForeignKey(Board, models.CASCADE, null=True, related_name="cards")
    objects = LiveQuerySet.as_manager()

    class Meta:
        app_label = "admin"
        base_manager_name = "objects"


class CardRow(Message):
    id: int
    name: str
    hint: Related | None


class CardSaved(CardRow):
    after: int | None


class CardDeleted(Message):
    id: int


class BoardRow(Message):
    id: int


@apart
class LiveCard(LiveModel):
    model = Card
    row, saved, deleted = CardRow, CardSaved, CardDeleted


@apart
class LiveCardOfBoard(LiveCard):
    scope = "board"


@apart
class LiveBoard(LiveModel):
    model = Board
    row = saved = deleted = BoardRow


class CardsConsumer(EntriesConsumer):
    live = LiveCard


class BoardConsumer(EntriesConsumer):
    live = LiveCardOfBoard

    async def connect(self):
        self.live_scope = self.scope["url_route"]["kwargs"]["room"]
        await super().connect()


@pytest.fixture(autouse=True)
def _tables(transactional_db):
    with tables(Board, Card), connected(LiveCard, LiveCardOfBoard, LiveBoard):
        yield


async def test_a_foreign_key_that_is_set_to_null(user):
    board = await Board.objects.acreate()
    await Card.objects.acreate(name="a", hint=board)
    async with connect(PATH, user, application=serve(CardsConsumer)) as client:
        await client.next_message(*STATE)
        await board.adelete()
        await client.assert_broadcast("card_saved", hint=None)


async def test_a_key_that_is_no_number(user):
    board = await Board.objects.acreate()
    await Card.objects.acreate(name="a", hint=board)
    async with connect(PATH, user, application=serve(CardsConsumer)) as client:
        state = await client.next_message(*STATE)
        assert state["data"]["messages"][0]["data"]["hint"] == {"key": str(board.pk), "label": ""}


async def test_a_row_that_is_added_to_a_related_one(user):
    board, card = await Board.objects.acreate(), await Card.objects.acreate(name="a")
    async with connect(f"/ws/{board.pk.hex}/", user, application=serve(BoardConsumer)) as client:
        await client.next_message(*STATE)
        await board.cards.aadd(card)
        await client.assert_broadcast("card_saved", id=card.pk)


async def test_rows_whose_keys_the_database_does_not_return(user):
    board = await Board.objects.acreate()
    async with connect(f"/ws/{board.pk.hex}/", user, application=serve(BoardConsumer)) as client:
        await client.next_message(*STATE)
        await Card.objects.abulk_create([Card(name="a", board=board)], ignore_conflicts=True)
        await client.assert_broadcast("card_saved", name="a")


@pytest.mark.parametrize("boards", [3, 300])
async def test_rows_that_are_deleted_with_another(boards, user):
    first, *_ = await Board.objects.abulk_create(Board() for _ in range(boards))
    await Card.objects.acreate(name="a", board=first)
    async with connect(PATH, user, application=serve(CardsConsumer)) as client:
        await client.next_message(*STATE)
        await Board.objects.all().adelete()
        await client.next_message("a deletion", lambda message: message["type"] == "card_deleted")


def test_a_page_that_comes_before_the_commit_is_notified(monkeypatch):
    published, followed = [], []
    monkeypatch.setattr(publishing, "publish", lambda group, body: published.append(group))
    monkeypatch.setattr(MemoryStreams, "is_followed", lambda self, group: bool(followed))
    monkeypatch.setattr(publishing._windows, "_last", {})
    with transaction.atomic():
        Card.objects.create(name="a")
        followed.append("from now on")
    assert published == [publishing.topic(Card)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_a_process_that_was_forked_publishes_too(monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setattr(MemoryStreams, "is_followed", lambda self, group: True)
    monkeypatch.setattr(publishing._windows, "_last", {})
    monkeypatch.setattr(publishing, "publish", lambda group, body: os.write(writer, b"%d " % os.getpid()))
    for _ in range(2):  # the second one waits for its time
        publishing.live_reload(Card)
    if not (child := os.fork()):
        publishing.live_reload(Card)
        os._exit(0)
    os.waitpid(child, 0)
    written: list[str] = []
    while written.count(str(os.getpid())) < 2:  # its second one comes when it is due
        written += os.read(reader, 1_000).decode().split()
    assert str(child) in written
    os.close(writer)
    os.close(reader)
