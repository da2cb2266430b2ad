"""Send to every page of a group, from anywhere: a view, a signal, a task, a consumer."""

from functools import partial

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from apps.common.websockets.messages import Message


async def abroadcast(group: str, message: Message) -> None:
    """Send a message to every page of the group, now."""
    await get_channel_layer().group_send(group, {"type": "broadcast_message", "data": message.frame()})


def broadcast(group: str, message: Message) -> None:
    """The same from sync code, once the transaction under way is committed: no page hears of what was rolled back."""
    transaction.on_commit(partial(async_to_sync(abroadcast), group, message))
