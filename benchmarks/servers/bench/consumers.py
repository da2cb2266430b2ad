"""The measured consumers of a generated project: an echo that is validated, and a broadcast to a group."""

import time

from asgiref.sync import sync_to_async

from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.messages import Message


class Echo(Message):
    text: str


class EchoResult(Message):
    text: str


class Block(Message):
    pass


class Publish(Message):
    text: str
    times: int = 1


class News(Message):
    text: str


class Unlimited(BaseWebSocketConsumer):
    # A benchmark is a flood. Everything else is as a project has it.
    rate_per_second = 1_000_000
    burst = 1_000_000
    max_connections = max_connections_per_address = 1_000_000


class EchoConsumer(Unlimited):
    async def is_allowed(self) -> bool:
        return True

    async def handle_echo(self, data: Echo) -> EchoResult:
        return EchoResult(text=data.text)

    async def handle_block(self, data: Block) -> None:
        await sync_to_async(time.sleep)(0.5)  # in the one thread that ORM work shares


class IdleConsumer(Unlimited):
    """For those who are signed in, as a generated feature is."""


class FanoutConsumer(Unlimited):
    group_name = "fanout"

    async def is_allowed(self) -> bool:
        return True

    async def handle_publish(self, data: Publish) -> None:
        for _ in range(data.times):
            await self.broadcast(News(text=data.text))


class RoomConsumer(FanoutConsumer):
    async def connect(self) -> None:
        self.group_name = f"room.{self.scope['url_route']['kwargs']['room']}"
        await super().connect()


class FanoutWithoutReplayConsumer(FanoutConsumer):
    replay = False
