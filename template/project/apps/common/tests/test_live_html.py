"""Rows that the server draws by a template."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.utils import timezone, translation

from apps.common.live import checks
from apps.common.live.messages import Related
from apps.common.testing import connect

from .live_rows import EntriesConsumer, EntryRow, LiveEntry, apart, connected
from .serving import PATH, serve

pytestmark = pytest.mark.django_db(transaction=True)

STATE = ("a state", lambda message: message["type"] == "state")
ROW = "<li data-key='{{ row.pk }}'>{{ row.object_repr }} {{ row.user.username }} {{ audience }}</li>"


class DrawnRow(EntryRow):
    user: Related | None
    html: str


class DrawnSaved(DrawnRow):
    after: int | None


@apart
class LiveDrawn(LiveEntry):
    row, saved = DrawnRow, DrawnSaved
    template = "entry.html"

    @classmethod
    def hidden(cls, audience):
        return () if audience else ("user",)


class DrawnConsumer(EntriesConsumer):
    live = LiveDrawn


def templates(row):
    loaders = [("django.template.loaders.locmem.Loader", {"entry.html": row})]
    return [{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {"loaders": loaders}}]


@pytest.fixture(autouse=True)
def _template(settings):
    settings.TEMPLATES = templates(ROW)
    with connected(LiveDrawn):
        yield


@pytest.fixture
def make_entry(make_user):
    author = make_user("author")
    return lambda **values: LogEntry.objects.create(user=author, action_flag=1, **values)


async def test_a_row_comes_with_its_html_escaped_by_django(user, make_entry):
    entry = await sync_to_async(make_entry)(object_repr="<b>")
    async with connect(PATH, user, application=serve(DrawnConsumer)) as client:
        (row,) = (await client.next_message(*STATE))["data"]["messages"]
        entry.object_repr = "<i>"
        await entry.asave()
        changed = await client.assert_broadcast("drawn_saved", id=entry.pk)
    assert row["data"]["html"] == f"<li data-key='{entry.pk}'>&lt;b&gt;  False</li>"
    assert changed["data"]["html"] == f"<li data-key='{entry.pk}'>&lt;i&gt;  False</li>"


async def test_an_audience_that_sees_a_field(staff_user, make_entry):
    entry = await sync_to_async(make_entry)(object_repr="a")
    async with connect(PATH, staff_user, application=serve(DrawnConsumer)) as client:
        (row,) = (await client.next_message(*STATE))["data"]["messages"]
    assert row["data"]["html"] == f"<li data-key='{entry.pk}'>a {entry.user.username} True</li>"


def test_a_page_is_rendered_with_the_same(make_entry):
    first, second = make_entry(object_repr="a"), make_entry(object_repr="b")
    html = LiveDrawn.page_html(None, False)
    assert html == f"<li data-key='{second.pk}'>b  False</li><li data-key='{first.pk}'>a  False</li>"


def test_it_is_drawn_alike_whatever_language_and_zone_the_page_has(make_entry, settings):
    entry = make_entry(object_repr="a")
    template = "<li data-key='{{ row.pk }}'>{{ row.pk|yesno }} {{ row.action_time }}</li>"
    settings.TEMPLATES = templates(template)
    drawn = LiveDrawn.draw(entry, True)
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        assert LiveDrawn.draw(entry, True) == drawn


def test_a_template_that_cannot_draw_is_an_error(monkeypatch):
    monkeypatch.setattr(checks, "publishes_all", lambda model: True)
    assert checks.check_live_models() == []
    monkeypatch.setattr(LiveDrawn, "template", "absent.html")
    assert [each.id for each in checks.check_live_models()] == ["common.E020"]
    monkeypatch.setattr(LiveDrawn, "template", "entry.html")
    monkeypatch.setattr(LiveDrawn, "row", EntryRow)
    assert [each.msg.split(": ")[1] for each in checks.check_live_models()] == ["EntryRow has no field html"]
