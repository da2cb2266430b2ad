"""A consumer whose clients follow a group, and one whose clients make this process publish."""

from apps.common.websockets.base_consumer import BaseWebSocketConsumer

from .journal import publish_in_loop
from .messages import Publish


class Unlimited(BaseWebSocketConsumer):
    # All clients come from one address, and reconnect often.
    rate_per_second = 1_000_000
    burst = 1_000_000
    max_connections = 1_000_000
    heartbeat_seconds = 3

    async def is_allowed(self) -> bool:
        return True


class NewsConsumer(Unlimited):
    async def connect(self) -> None:
        self.group_name = f"chaos.{self.scope['url_route']['kwargs']['group']}"
        await super().connect()


class PublishConsumer(Unlimited):
    async def handle_publish(self, data: Publish) -> None:
        await publish_in_loop(data.publisher, data.group, data.number)
