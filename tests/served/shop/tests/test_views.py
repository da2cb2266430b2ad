import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from apps.shop.models import Order, Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def order():
    return Order.objects.create(product=Product.objects.create(name="Tea", price=4), note="For Ann")


@pytest.fixture
def customer():
    model = get_user_model()
    return model.objects.create_user(**{model.USERNAME_FIELD: "ann@example.com"}, password="ann-password")


def test_list_shows_orders(client, order):
    page = client.get(reverse("shop:orders")).content.decode()
    assert "Tea" in page
    assert "<b class='new'>New</b>" in page


def test_detail_shows_the_note(client, order):
    assert "For Ann" in client.get(order.get_absolute_url()).content.decode()


def test_form_makes_an_order_of_who_is_signed_in(client, customer, order):
    client.force_login(customer)
    response = client.post(reverse("shop:new"), {"product": order.product.pk, "note": " Hello "})
    made = Order.objects.get(customer=customer)
    assert made.note == "Hello"
    assert response["Location"] == made.get_absolute_url()


def test_mine_counts_my_orders(client, customer):
    assert client.get(reverse("shop:mine")).status_code == 403
    client.force_login(customer)
    assert client.get(reverse("shop:mine")).content == b"ann@example.com: 0"


def test_api_lists_orders(client, order):
    [found] = client.get(reverse("shop:order-list")).json()
    assert found["product"] == order.product.pk


def test_admin_lists_orders(admin_client, order):
    assert "Tea" in admin_client.get(reverse("admin:shop_order_changelist")).content.decode()
