"""The connection of a page of orders: group, access, and handlers."""

from apps.common.websockets.base_consumer import BaseWebSocketConsumer

from . import messages


def group_of(orders_id: str) -> str:
    """The group of all connections with this id: broadcast(group_of("1"), …) reaches them from anywhere."""
    return f"orders.{orders_id}"


class OrdersConsumer(BaseWebSocketConsumer):
    async def connect(self) -> None:
        kwargs = self.scope["url_route"]["kwargs"]
        self.orders_id = kwargs["orders_id"]
        self.group_name = group_of(self.orders_id)
        await super().connect()

    async def is_allowed(self) -> bool:
        """Everyone who is signed in. Check here whether this user may see this one."""
        return self.user.is_authenticated

    async def handle_place_order(self, data: messages.PlaceOrder) -> None:
        await self.broadcast(messages.OrderPlaced(item=data.item, quantity=data.quantity))

    async def handle_cancel_order(self, data: messages.CancelOrder) -> None:
        await self.broadcast(messages.OrderCancelled(id=data.id))
