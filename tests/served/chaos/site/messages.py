"""The messages of the chaos test."""

from apps.common.websockets.messages import Message


class Publish(Message):
    group: str
    publisher: str
    number: int


class News(Message):
    publisher: str
    number: int
