"""Log lines and metrics contain what clients can name, and are not broken by it."""

import logging

import pytest

from apps.common.log import MAX_MESSAGE, DeveloperFormatter, LineFormatter
from apps.common.testing import connect
from apps.common.websockets.process import metrics

from .serving import PublicConsumer, serve

EVIL = [
    "two\nlines",
    "carriage\rreturn",
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "next\u2028line",
    "\u202egnp.exe",
    "\x00",
    "\x85",
]


def record(message, *arguments, exc_info=None):
    return logging.LogRecord("app", logging.ERROR, "x.py", 1, message, arguments, exc_info)


@pytest.mark.parametrize("formatter", [LineFormatter("{levelname} {message}", style="{"), DeveloperFormatter()])
@pytest.mark.parametrize("text", EVIL)
def test_a_record_is_one_line_whatever_a_client_writes(formatter, text):
    line = formatter.format(record("Refused %s", text))
    assert line.splitlines() == [line]
    assert line.isprintable()


def test_text_of_any_language_stays_readable():
    assert LineFormatter().format(record("Zoë naïve 東京 🎉 a\\b")) == "Zoë naïve 東京 🎉 a\\b"


def test_a_traceback_is_a_part_of_the_line_in_production():
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))
    line = LineFormatter().format(failed)
    assert line.startswith("failed\\nTraceback (most recent call last):\\n")
    assert line.endswith("ValueError: first\\nsecond")
    assert len(line.splitlines()) == 1
    assert len(DeveloperFormatter().format(failed).splitlines()) > 3


@pytest.mark.parametrize("formatter", [LineFormatter(), DeveloperFormatter()])
def test_what_a_client_writes_into_an_exception_moves_no_cursor(formatter):
    failed = record("failed", exc_info=(ValueError, ValueError("\x1b[2J\rgone"), None))
    lines = formatter.format(failed).split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[-1].endswith("ValueError: \\x1b[2J\\rgone")


@pytest.mark.parametrize("formatter", [LineFormatter(), DeveloperFormatter()])
def test_a_message_is_bounded(formatter):
    assert len(formatter.format(record("%s", "x" * 100_000))) == MAX_MESSAGE


@pytest.mark.django_db(transaction=True)
async def test_a_path_is_logged_in_one_line_and_shortened(caplog):
    async with connect("/ws/x%0AERROR%1B[31m/" + "y" * 5_000 + "/", application=serve(PublicConsumer)) as client:
        await client.assert_closed(4404)
    [message] = [each.getMessage() for each in caplog.records if "No consumer" in each.getMessage()]
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 300


def test_labels_are_escaped():
    text = metrics.prometheus({'a"b\\c\nd': 1}, 1)
    assert 'group="a\\"b\\\\c\\nd"} 1\n' in text


def test_series_are_bounded():
    members = {f"visited.{number}": 1 for number in range(5_000)} | {"busy": 40}
    lines = metrics.prometheus(members, 5_040).splitlines()
    series = [line for line in lines if line.startswith("websockets_members{")]
    assert len(series) == metrics.MAX_GROUPS + 1
    assert series[0].endswith('group="busy"} 40')
    assert series[-1].endswith(f'group="(others)"}} {5_001 - metrics.MAX_GROUPS}')
    assert any(line.startswith("websockets_groups{") and line.endswith(" 5001") for line in lines)
