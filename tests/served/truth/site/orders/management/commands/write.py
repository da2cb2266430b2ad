"""Writes of every kind until it is killed: manage.py write SEED SECONDS. Prints how many there were."""

import random
import time

from django.core.management.base import BaseCommand
from django.db import DatabaseError, IntegrityError, OperationalError, transaction

from apps.common.live import publishing
from apps.orders.models import Order
from apps.users.models import User

ITEMS = "abcdefghijkl"
GAP_SECONDS = 0.02  # between a commit and its notification, in which a writer may be killed


class Writer:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.owners = list(User.objects.values_list("pk", flat=True))
        self.kinds = [self.save, self.change, self.update, self.bulk_create, self.bulk_update, self.delete, self.again]
        self.kinds += [self.save, self.change, self.delete, self.delete_many, self.update_or_create]

    def write(self) -> None:
        kinds = [*self.kinds, self.in_transaction, self.in_transaction]
        self.chance.choice(kinds)()

    def values(self):
        status = self.chance.choice(["new", "paid"])
        return {
            "item": self.chance.choice(ITEMS),
            "quantity": self.chance.randint(1, 9),
            "price": "1.5",
            "status": status,
            "owner_id": self.chance.choice(self.owners),
        }

    def one(self):
        keys = list(Order.objects.values_list("pk", flat=True)[:60])
        return Order.objects.filter(pk=self.chance.choice(keys)).first() if keys else None

    def save(self):
        Order.objects.create(**self.values())

    def change(self):
        if order := self.one():
            for name, value in self.values().items():
                setattr(order, name, value)
            order.save(update_fields=self.chance.choice([None, ["item"], ["quantity", "status"], ["owner"]]))

    def update(self):
        changed = self.chance.choice(["quantity", "owner_id"])
        Order.objects.filter(item=self.chance.choice(ITEMS)).update(**{changed: self.values()[changed]})

    def bulk_create(self):
        Order.objects.bulk_create([Order(**self.values()) for _ in range(self.chance.randint(1, 5))])

    def bulk_update(self):
        orders = list(Order.objects.all()[:3])
        for order in orders:
            order.item, order.owner_id = self.chance.choice(ITEMS), self.chance.choice(self.owners)
        Order.objects.bulk_update(orders, ["item", "owner"])

    def delete(self):
        if order := self.one():
            order.delete()

    def again(self):
        """Another row with the key of one that is deleted."""
        if order := self.one():
            key = order.pk
            order.delete()
            order.pk = key
            order.save(force_insert=True)

    def delete_many(self):
        Order.objects.filter(item__gt="h").delete()

    def update_or_create(self):
        Order.objects.update_or_create(item="z", defaults=self.values() | {"item": "z"})

    def in_transaction(self):
        try:
            with transaction.atomic():
                for _ in range(self.chance.randint(1, 3)):
                    self.in_savepoint()
                if self.chance.random() < 0.3:
                    raise DatabaseError("roll back")
        except OperationalError:
            raise
        except DatabaseError:
            pass

    def in_savepoint(self):
        try:
            with transaction.atomic():
                self.chance.choice(self.kinds)()
                if self.chance.random() < 0.3:
                    raise IntegrityError("roll back")
        except IntegrityError:
            pass


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("seed", type=int)
        parser.add_argument("seconds", type=float)

    def handle(self, *args, seed, seconds, **options):
        publishing._windows.add = _late(publishing._windows.add)
        writer, until, count = Writer(seed), time.monotonic() + seconds, 0
        while time.monotonic() < until:
            try:
                writer.write()
                count += 1
            except (DatabaseError, Order.MultipleObjectsReturned):
                pass  # a deadlock, a locked database, a row that exists or is gone: as an application meets them
            time.sleep(writer.chance.uniform(0, 0.06))
        self.stdout.write(str(count))


def _late(add):
    def add_late(*arguments):
        time.sleep(GAP_SECONDS)
        add(*arguments)

    return add_late
