"""The WebSocket infrastructure. `__all__` is what a feature uses; the packages behind it serve these names."""

from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.broadcast import abroadcast, broadcast, stream_position, user_group
from apps.common.websockets.messages import Message, MessageError
from apps.common.websockets.page_data import page_data

__all__ = [
    "BaseWebSocketConsumer",
    "Message",
    "MessageError",
    "abroadcast",
    "broadcast",
    "page_data",
    "stream_position",
    "user_group",
]
