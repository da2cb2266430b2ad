"""The object that all rows of a page belong to, as the page shows it."""

import json

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from apps.common.live import checks, publishing
from apps.common.live.declaration import LiveModel
from apps.common.live.messages import Related
from apps.common.live.queryset import LiveQuerySet
from apps.common.live.view import Views
from apps.common.testing import connect
from apps.common.websockets.messages import Message

from .live_rows import EntriesConsumer, apart, connected, tables
from .serving import serve
from .wire import until

pytestmark = pytest.mark.django_db(transaction=True)

STATE = ("a state", lambda message: message["type"] == "state")


class Vase(models.Model):
    name = models.CharField(max_length=9)
    reserve = models.DecimalField(max_digits=6, decimal_places=2, default=5)
    similar = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")
    objects = LiveQuerySet.as_manager()

    class Meta:
        app_label = "admin"
        base_manager_name = "objects"

    def __str__(self):
        return f"the {self.name}"

    def highest(self):
        return self.bids.aggregate(highest=models.Max("amount"))["highest"]


class Bid(models.Model):  # noqa: DJ008
    vase = models.ForeignKey(Vase, models.CASCADE, related_name="bids")
    amount = models.IntegerField()
    objects = LiveQuerySet.as_manager()

    class Meta:
        app_label = "admin"
        base_manager_name = "objects"


class BidRow(Message):
    id: int
    amount: int


class BidSaved(BidRow):
    after: int | None


class BidDeleted(Message):
    id: int


class BidParent(Message):
    label: str
    reserve: str | None
    similar: Related | None
    highest: int | None


@apart
class LiveBid(LiveModel):
    model = Bid
    row, saved, deleted, parent = BidRow, BidSaved, BidDeleted, BidParent
    scope = "vase"
    reads: list[int] = []

    @classmethod
    def page(cls, scope, audience):
        cls.reads.append(scope)
        return super().page(scope, audience)

    @classmethod
    def audience(cls, user):
        return user.is_staff

    @classmethod
    def hidden(cls, audience):
        return () if audience else ("reserve",)


class BidsConsumer(EntriesConsumer):
    live = LiveBid

    async def connect(self):
        self.live_scope = self.scope["url_route"]["kwargs"]["room"]
        await super().connect()


@pytest.fixture(autouse=True)
def _tables(transactional_db):
    LiveBid.reads.clear()
    with tables(Vase, Bid), connected(LiveBid):
        yield


@pytest.fixture
def vase(transactional_db):
    return Vase.objects.create(name="urn")


def page_of(vase, user):
    return connect(f"/ws/{vase.pk}/", user, application=serve(BidsConsumer))


async def test_a_state_begins_with_it(vase, staff_user):
    await Bid.objects.acreate(vase=vase, amount=7)
    vase.similar = await Vase.objects.acreate(name="jar")
    await vase.asave()
    async with page_of(vase, staff_user) as client:
        parent, row = (await client.next_message(*STATE))["data"]["messages"]
    similar = {"key": vase.similar.pk, "label": "the jar"}
    data = {"label": "the urn", "reserve": "5.00", "similar": similar, "highest": 7}
    assert parent == {"type": "bid_parent", "data": data}
    assert row == {"type": "bid_row", "data": {"id": row["data"]["id"], "amount": 7}}


async def test_its_change_is_sent_alone(vase, staff_user):
    await Bid.objects.acreate(vase=vase, amount=7)
    async with page_of(vase, staff_user) as client:
        await client.next_message(*STATE)
        vase.name = "jar"
        await vase.asave()
        await client.assert_broadcast("bid_parent", label="the jar")
        await Vase.objects.filter(pk=vase.pk).aupdate(name="pot")
        await client.assert_broadcast("bid_parent", label="the pot")
        changes = [message["data"]["messages"] for message in client.received if message["type"] == "changes"]
    assert [[change["type"] for change in messages] for messages in changes] == [["bid_parent"]] * 2


async def test_what_it_computes_of_the_rows_follows_them(vase, user):
    async with page_of(vase, user) as client:
        await client.next_message(*STATE)
        await Bid.objects.acreate(vase=vase, amount=9)
        await client.assert_broadcast("bid_parent", highest=9)


async def test_what_it_computes_of_rows_that_are_not_shown_follows_them(vase, user, monkeypatch):
    monkeypatch.setattr(LiveBid, "limit", 1)
    shown, hidden = [await Bid.objects.acreate(vase=vase, amount=amount) for amount in (1, 9)]
    async with page_of(vase, user) as client:
        state = await client.next_message(*STATE)
        assert [each["data"].get("id") for each in state["data"]["messages"]] == [None, shown.pk]
        await hidden.adelete()
        await client.assert_broadcast("bid_parent", highest=1)


async def test_who_may_not_see_a_field_does_not_get_it(vase, user):
    async with page_of(vase, user) as client:
        parent = (await client.next_message(*STATE))["data"]["messages"][0]
        assert parent["data"].keys() == {"label", "similar", "highest"}


async def test_other_pages_do_not_read_again(vase, user):
    other = await Vase.objects.acreate(name="jar")
    async with page_of(vase, user) as client, page_of(other, user) as other_client:
        await client.next_message(*STATE)
        await other_client.next_message(*STATE)
        LiveBid.reads.clear()
        await other.asave()  # without a change: its page is sent nothing
        other.name = "pot"
        await other.asave()
        await other_client.assert_broadcast("bid_parent", label="the pot")
        vase.name = "pot"
        await vase.asave()
        await client.assert_broadcast("bid_parent", label="the pot")
    assert LiveBid.reads[-1] == vase.pk
    assert set(LiveBid.reads[:-1]) == {other.pk}


async def test_a_page_of_what_is_deleted_ends(vase, user):
    async with page_of(vase, user) as client:
        await client.next_message(*STATE)
        await vase.adelete()
        await client.assert_closed(4404)
    async with page_of(vase, user) as client:
        await client.assert_closed(4404)


async def test_a_page_that_joins_while_it_is_deleted_ends(vase, user, monkeypatch):
    join = Views.join

    async def join_late(views, query, page):
        await vase.adelete()
        await until(lambda: not views._views[query].parent)
        return await join(views, query, page)

    async with page_of(vase, user) as client:
        await client.next_message(*STATE)
        monkeypatch.setattr(Views, "join", join_late)
        async with page_of(vase, user) as late_client:
            await late_client.assert_closed(4404)
            assert [message["type"] for message in late_client.received] == ["welcome"]


def test_many_at_once_are_all():
    change = publishing._Change(set())
    change.add(set(), {"live": {f"{number}" for number in range(publishing.MAX_KEYS)}})
    assert json.loads(change.text())["data"]["keys"] == []
    change.add(set(), {"live": {"one more"}})
    assert json.loads(change.text())["data"] == {"all": True}


def test_a_parent_without_a_scope():
    with pytest.raises(ImproperlyConfigured, match="a parent needs a scope"):

        class LiveAlone(LiveModel):
            model = Bid
            row, saved, deleted, parent = BidRow, BidSaved, BidDeleted, BidParent


def test_a_field_that_it_does_not_have(monkeypatch):
    class StrangeParent(Message):
        label: str
        weight: int

    monkeypatch.setattr(LiveBid, "parent", StrangeParent)
    (found,) = checks.check_live_models()
    assert found.id == "common.E019"
    assert found.msg.endswith("StrangeParent.weight is no attribute of admin.Vase.")


def test_a_manager_that_does_not_publish(monkeypatch):
    monkeypatch.setattr(checks, "publishes_all", lambda model: model is not Vase)
    monkeypatch.setattr(Vase._meta.app_config, "path", "/site/apps/shop")
    (found,) = checks.check_live_models()
    assert (found.id, found.obj) == ("common.W008", Vase)
