"""Log records as lines of a terminal or a file, in which a client's text cannot pass for another record."""

import logging

# Control characters, line separators and changes of direction, as Python writes them in a string.
CONTROLS = [*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
ESCAPES = {code: ascii(chr(code))[1:-1] for code in CONTROLS}
MAX_MESSAGE = 4_096  # characters; a traceback is longer, and whole


class LineFormatter(logging.Formatter):
    """One record is one line, its traceback included."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record)[:MAX_MESSAGE]

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(ESCAPES)


class DeveloperFormatter(logging.Formatter):
    """The message is one line, and a traceback follows in several, without a terminal's control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record)[:MAX_MESSAGE].translate(ESCAPES)

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(line.translate(ESCAPES) for line in super().format(record).split("\n"))
