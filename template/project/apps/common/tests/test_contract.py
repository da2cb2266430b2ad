import pytest

from apps.common.testing import connect
from apps.common.websockets.base_consumer import BaseWebSocketConsumer
from apps.common.websockets.connection.handlers import find_handlers
from apps.common.websockets.messages import RESERVED_TYPES, Message, MessageError

from .serving import PATH, PublicConsumer, serve


class PlaceOrder(Message):
    text: str
    count: int = 1


class PlaceOrderResult(Message):
    number: int


class Forget(Message):
    pass


class Priced(Message, abstract=True):
    price: int


class BuyTea(Priced):
    pass


class ShopConsumer(PublicConsumer):
    async def handle_place_order(self, data: PlaceOrder) -> PlaceOrderResult:
        if data.text == "coffee":
            raise MessageError("sold_out", "no coffee today", retry_after=3600)
        return PlaceOrderResult(number=await self.handle_helper(data.count))

    async def handle_forget(self, data: Forget) -> None:
        pass

    async def handle_buy_tea(self, data: BuyTea) -> PlaceOrderResult:
        return PlaceOrderResult(number=data.price)

    async def handle_helper(self, data: int) -> int:
        return data

    def handle_nothing(self):
        raise AssertionError("reached from outside")

    handle_limit = 5


def page():
    return connect(PATH, application=serve(ShopConsumer))


def consumer_with(**methods):
    return type("FaultyConsumer", (BaseWebSocketConsumer,), methods)


async def handle_order(self, data: PlaceOrder): ...


async def handle_priced(self, data: Priced): ...


async def handle_two(self, data: PlaceOrder, other: int): ...


async def handle_optional(self, data: PlaceOrder | None): ...


async def handle_unknown(self, data: "Unheard"): ...  # noqa: F821


def handle_forget(self, data: Forget): ...


@pytest.mark.parametrize(
    ("method", "fix"),
    [
        (handle_order, "handle_order(PlaceOrder) must be called handle_place_order"),
        (handle_priced, "Priced is abstract and has no type; annotate it with a subclass"),
        (handle_two, "handle_two must take self and one message; call it otherwise if it is a helper"),
        (handle_optional, "handle_optional must take self and one message"),
        (handle_unknown, "name 'Unheard' is not defined; import its annotation at run time too"),
        (handle_forget, "handle_forget(Forget) must be an `async def`"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_handler_that_cannot_work_fails_with_its_class(method, fix):
    with pytest.raises(TypeError) as failure:
        consumer_with(**{method.__name__: method})
    assert fix in str(failure.value)


def test_handlers_are_found_by_their_message():
    assert sorted(find_handlers(ShopConsumer)) == ["buy_tea", "forget", "place_order"]


def test_a_subclass_inherits_handlers():
    assert type("Corner", (ShopConsumer,), {}).handlers == ShopConsumer.handlers


@pytest.mark.parametrize("reserved", sorted(RESERVED_TYPES))
def test_a_message_cannot_take_a_type_of_the_protocol(reserved):
    with pytest.raises(TypeError, match=f"{reserved!r}, which is reserved; rename it"):
        type(reserved.capitalize(), (Message,), {})


def test_a_type_is_the_class_name_in_snake_case():
    assert (PlaceOrder.message_type, Priced.message_type, BuyTea.message_type) == ("place_order", "", "buy_tea")


async def test_an_answer_has_the_ref_of_its_request():
    async with page() as one:
        await one.send_text('{"type": "place_order", "ref": "a-1", "data": {"text": "tea", "count": 2}}')
        frame = await one.next_message("the answer")
        frame = frame if frame["type"] != "welcome" else await one.next_message("the answer")
        assert frame == {"type": "place_order_result", "ref": "a-1", "data": {"number": 2}}


async def test_an_answer_without_a_request_has_no_ref():
    async with page() as one:
        await one.send("place_order", text="tea")
        assert "ref" not in await one.assert_broadcast("place_order_result", number=1)


async def test_a_handler_that_returns_nothing_is_answered_all_the_same():
    async with page() as one:
        answer = await one.request("forget")
        assert (answer["type"], answer["data"]) == ("forget_result", {})


async def test_a_handler_that_returns_nothing_is_silent_to_what_is_no_request():
    async with page() as one:
        await one.send("forget")
        await one.assert_silent()


async def test_a_refusal_says_why_and_when_to_try_again():
    async with page() as one:
        answer = await one.request("place_order", text="coffee")
        assert answer["type"] == "error"
        assert answer["data"] == {"code": "sold_out", "message": "no coffee today", "retry_after": 3600}


async def test_an_unknown_field_is_refused_by_name():
    async with page() as one:
        answer = await one.request("place_order", text="tea", sugar=1)
        assert answer["data"]["code"] == "invalid_message"
        assert answer["data"]["fields"].keys() == {"sugar"}


async def test_an_inherited_field_is_checked():
    async with page() as one:
        assert (await one.request("buy_tea", price=3))["data"] == {"number": 3}
        assert (await one.request("buy_tea", price="much"))["data"]["code"] == "invalid_message"


@pytest.mark.parametrize("name", ["helper", "nothing", "limit", "message", "priced"])
async def test_only_a_handler_of_a_message_can_be_reached(name):
    async with page() as one:
        answer = await one.request(name)
        assert answer["data"]["code"] == "unknown_type"
        assert "known are: buy_tea, forget, place_order" in answer["data"]["message"]
