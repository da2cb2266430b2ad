from django.core.management.base import BaseCommand, CommandError

from apps.shop.models import Order


class Command(BaseCommand):
    help = "Marks the new orders of a product as paid."

    def add_arguments(self, parser):
        parser.add_argument("product")

    def handle(self, *args, **options):
        orders = Order.objects.filter(product__name=options["product"], status=Order.Status.NEW)
        if not orders:
            raise CommandError(f"There is no new order of {options['product']!r}.")
        count = orders.update(status=Order.Status.PAID)
        self.stdout.write(self.style.SUCCESS(f"{count} paid"))
