from channels.routing import URLRouter
from django.urls import re_path

from apps.common.testing import connect
from apps.common.websockets.access.sessions import SessionAuth
from apps.common.websockets.base_consumer import BaseWebSocketConsumer


# fmt: off
class YourFeatureConsumer(BaseWebSocketConsumer):
    async def connect(self):
        # Get ID from URL route
        self.feature_id = self.scope['url_route']['kwargs']['feature_id']
        # Set unique group name for this feature instance
        self.group_name = f"feature_{self.feature_id}"
        await super().connect()

    async def handle_message(self, data):
        """Handle incoming messages"""
        message_type = data.get('type')
        if message_type == 'your_action':
            # Handle your specific action
            await self.handle_your_action(data)

    async def handle_your_action(self, data):
        # Process the action
        result = await self.process_action(data)
        # Send response back to client
        await self.send_json({
            'type': 'action_result',
            'data': result
        })

    async def broadcast_update(self, data):
        await self.channel_layer.group_send(
            self.group_name,
            {
                'type': 'broadcast_message',
                'data': data
            }
        )

    async def broadcast_message(self, event):
        """Handle messages from group_send"""
        await self.send_json(event['data'])
# fmt: on

    # Left to the reader by the guide.
    async def process_action(self, data):
        await self.broadcast_update({"type": "status_update", "data": {"by": self.user.get_username()}})
        return {"done": data["data"]}


class WithoutBroadcastMessage(YourFeatureConsumer):
    broadcast_message = BaseWebSocketConsumer.broadcast_message


def application(consumer=YourFeatureConsumer):
    return SessionAuth(URLRouter([re_path(r"ws/your-feature/(?P<feature_id>\w+)/$", consumer.as_asgi())]))


async def test_an_action_is_answered(user):
    async with connect("/ws/your-feature/7/", user, application=application()) as client:
        await client.send("your_action", text="tea")
        await client.assert_broadcast("action_result", done={"text": "tea"})


async def test_an_update_reaches_the_group_and_no_other(user, other_user):
    served = application()
    async with (
        connect("/ws/your-feature/7/", user, application=served) as client,
        connect("/ws/your-feature/7/", other_user, application=served) as neighbour,
        connect("/ws/your-feature/8/", other_user, application=served) as stranger,
    ):
        await client.send("your_action", text="tea")
        await client.assert_broadcast("status_update", by="ann")
        await neighbour.assert_broadcast("status_update", by="ann")
        await stranger.assert_silent()


async def test_the_base_brings_broadcast_message_along(user):
    async with connect("/ws/your-feature/7/", user, application=application(WithoutBroadcastMessage)) as client:
        await client.send("your_action", text="tea")
        await client.assert_broadcast("status_update", by="ann")


async def test_a_frame_that_it_does_not_know_changes_nothing(user):
    async with connect("/ws/your-feature/7/", user, application=application()) as client:
        await client.send("unheard_of")
        await client.assert_silent()
