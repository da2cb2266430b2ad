from decimal import Decimal

from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import TestCase

from apps.shop.models import Order, Product


class OrderTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.tea = Product.objects.create(name="Tea", price=Decimal("4.00"))
        cls.order = Order.objects.create(product=cls.tea, options={"milk": True})

    def test_order_says_product_and_status(self):
        self.assertEqual(str(self.order), "Tea (New)")

    def test_price_is_not_negative(self):
        with self.assertRaises(IntegrityError), transaction.atomic():
            Product.objects.create(name="Coffee", price=-1)

    def test_command_pays_orders(self):
        call_command("pay_orders", "Tea", verbosity=0)
        self.order.refresh_from_db()
        self.assertEqual(self.order.status, Order.Status.PAID)

    def test_command_refuses_an_unknown_product(self):
        with self.assertRaises(CommandError):
            call_command("pay_orders", "Coffee")
