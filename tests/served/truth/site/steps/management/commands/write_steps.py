"""Writes as a test directs them: each line of the input is a command, and is answered when that is done."""

import json
import os
import signal
import sys

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connections, transaction
from django.test import Client

from apps.common.live import publishing
from apps.orders.defects import DEFECTS
from apps.orders.live import LiveOrder
from apps.orders.models import Order
from apps.users.models import User


class Writer:
    def __init__(self) -> None:
        self.transaction = transaction.atomic()

    def sign_in(self, name, is_staff):
        """Answers the cookie of a new user."""
        client = Client()
        client.force_login(User.objects.create_user(name, is_staff=is_staff == "staff"))
        return client.cookies["sessionid"].OutputString(attrs=[])

    def begin(self):
        self.transaction.__enter__()

    def commit(self):
        self.transaction.__exit__(None, None, None)

    def save(self, item, owner="ann", status="new"):
        Order.objects.create(item=item, owner=User.objects.get(username=owner), status=status, quantity=1, price=1)

    def move(self, item, owner):
        order = Order.objects.get(item=item)
        order.owner = User.objects.get(username=owner)
        order.save()

    def delete(self, item):
        Order.objects.get(item=item).delete()

    def save_and_die(self, item):
        """In a process that is killed between its commit and its notification."""
        connections.close_all()
        if child := os.fork():
            os.waitpid(child, 0)
            return
        publishing._windows.add = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
        self.save(item)

    def delete_all(self):
        Order.objects.all().delete()

    def items(self, owner):
        """Answers the items that a page of the user should show."""
        user = User.objects.get(username=owner)
        rows = [json.loads(text) for text in LiveOrder.page(user.pk, user.is_staff).values()]
        return "".join(row["item"] for row in rows)

    def switch_off(self, defect):
        DEFECTS[defect].start()

    def switch_on(self, defect):
        DEFECTS[defect].stop()


class Command(BaseCommand):
    def handle(self, *args, **options):
        call_command("migrate", verbosity=0)
        writer = Writer()
        for line in sys.stdin:
            method, *arguments = line.split()
            answer = getattr(writer, method)(*arguments)
            publishing._windows.flush()
            print(answer or "", flush=True)
